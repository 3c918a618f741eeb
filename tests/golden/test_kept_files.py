"""Files that a device of version 0.1.0 keeps open, and say what they said.

`v0.1.0/` was the state directory of a device of that version: drawn pictures enrolled, tagged,
relabelled, removed and taken back by commands, a calibration and a learned head, an index, and what
`edge-sim daemon` left behind while its webhook could not be reached. Nothing in it is ever made
anew. Each test works on a copy.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge_sim
from edge_sim.cli.main import main
from edge_sim.core.events import StateChanged, tag_of
from edge_sim.gallery.calibrations import kept_calibrations
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.head import Head
from edge_sim.gallery.heads import kept_head
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.outbox.outbox import Outbox
from edge_sim.runtime.daemon.state_file import StateFile
from tests.conftest import REPOSITORY
from tests.golden.cases import edge_sim_prints

KEPT = Path(__file__).resolve().parent / "v0.1.0"
WEBHOOK = "webhook http://127.0.0.1:9 (583786)"
SECRETS = {
    "WEBHOOK_SECRET": "0123456789abcdef",
    "CAMERA_PASSWORD": "p",
    "MQTT_PASSWORD": "q",
    "HOOK_TOKEN": "r",
    "HEALTH_TOKEN": "0123456789abcdef0123",
}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A copy of the state directory."""
    return Path(shutil.copytree(KEPT, tmp_path / "edge_sim"))


def test_the_gallery_holds_its_references_with_states_and_tags(kept: Path) -> None:
    with GalleryStore.open(kept / "gallery.db") as store:
        records = store.records()
        assert store.check() == ()
        assert store.watches() == ("bowl", "lamp")
        gallery = store.gallery("lamp", model_id=edge_sim.open_embedder().model_id)
    assert {item.reference_id: item.state for item in records} == {
        **dict.fromkeys(("r1", "r2", "r3", "r4"), "off"),
        **dict.fromkeys(("r5", "r6", "r7", "r8"), "on"),
        "r10": "empty",
        "r11": "food",
    }
    tags = {item.reference_id: sorted(item.tags) for item in records if item.tags}
    assert tags == {"r1": ["night"], "r5": ["night", "rain"]}
    assert {item.condition for item in records} == {"day"}
    assert records[0].metadata == {"place": "porch", "from": "pictures/lamp/off/0.jpg"}
    assert len(gallery) == 8


def test_the_gallery_knows_its_history_and_goes_on_with_it(kept: Path) -> None:
    with GalleryStore.open(kept / "gallery.db") as store:
        verbs = [item.verb for item in reversed(store.log())]
        assert verbs == ["add", "add", "add", "tag", "tag", "relabel", "undo", "remove", "adapt"]
        assert {item.state for item in store.gallery("lamp", revision=1).references} == {"off"}
        relabelled = store.gallery("lamp", revision=6).references
        assert sum(item.state == "on" for item in relabelled) == 6
        store.rollback(7)
        assert "r9" in {item.reference_id for item in store.records()}
        assert store.revision == 10


def test_enrolled_pictures_give_the_embeddings_that_are_kept(kept: Path) -> None:
    embedder = edge_sim.open_embedder()
    with GalleryStore.open(kept / "gallery.db") as store:
        for reference in store.gallery("lamp").references:
            encoded = np.frombuffer(store.crop(reference.reference_id), np.uint8)
            pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
            assert pixels is not None
            embedding = embedder.embed(np.asarray(pixels, np.uint8))
            assert float(embedding.vector @ reference.embedding.vector) > 0.98


def test_calibrations_and_the_learned_head_are_in_force(kept: Path) -> None:
    scores = [item.score for item in kept_calibrations(kept / "gallery.db")]
    with GalleryStore.open(kept / "gallery.db") as store:
        gallery = store.gallery("lamp")
        head = kept_head(store, "lamp", gallery)
    assert scores == ["cosine", "state"]
    assert gallery.calibrated["off"].threshold == pytest.approx(0.9778, abs=1e-4)
    assert head is not None
    assert head.outdated is None
    assert _closeness(head.head, gallery, "r1", "r2") > _closeness(head.head, gallery, "r1", "r6")


def _closeness(head: Head, gallery: Gallery, one: str, other: str) -> float:
    """Return the cosine of two references by what the head has learned."""
    adapted = {
        item.reference_id: head.adapted(item.embedding).vector for item in gallery.references
    }
    return float(adapted[one] @ adapted[other])


def test_events_that_wait_are_all_there_in_order(kept: Path) -> None:
    outbox = Outbox.open(kept / "outbox.db", [WEBHOOK])
    waiting = [item.event for item in outbox.pending(WEBHOOK, 100)]
    latest = outbox.latest()
    outbox.close()
    logged = [json.loads(line) for line in (kept / "events.jsonl").read_bytes().splitlines()]
    assert [event.id for event in waiting] == [
        *(event["id"] for event in logged),
        *(f"00000000000000a{number}" for number in range(1, 8)),
    ]
    assert Counter(map(tag_of, waiting)) == {
        "state_changed": 10,
        "overdue": 2,
        "overdue_cleared": 2,
        "too_short": 1,
        "source_lost": 1,
        "source_restored": 1,
        "scene_impaired": 1,
        "scene_cleared": 1,
        "too_long": 1,
        "implausible_transition": 1,
        "drift": 1,
    }
    assert {watch: event.after for watch, event in latest.items()} == {
        "lamp": "off",
        "bowl": "empty",
    }


def test_the_configured_webhook_is_the_one_for_which_they_wait(kept: Path) -> None:
    config = edge_sim.load_config(kept / "config.yaml", SECRETS)
    with edge_sim.build(config) as device:
        assert WEBHOOK in [sink.name for sink in device.sinks]


def test_an_event_that_waits_is_read_whole(kept: Path) -> None:
    outbox = Outbox.open(kept / "outbox.db", [WEBHOOK])
    event = next(
        item.event
        for item in outbox.pending(WEBHOOK, 100)
        if isinstance(item.event, StateChanged) and item.event.before == "on"
    )
    outbox.close()
    assert (event.device, event.source, event.watch) == ("porch", "porch", "lamp")
    assert event.gallery_revision == 9
    assert {item.state for item in event.matches} == {"off", "on"}
    assert event.thresholds.keys() == {"off", "on"}


def test_the_state_file_says_what_was_said_and_learned(kept: Path) -> None:
    memory = StateFile(kept / "state.json").load()
    assert not (kept / "state.damaged").exists()
    lamp, bowl = memory.watches["lamp"], memory.watches["bowl"]
    assert (lamp.state, lamp.reason, bowl.state) == ("off", None, "empty")
    assert {(item.state, item.condition): item.observations for item in lamp.drifts} == {
        ("off", "day"): 4,
        ("on", "day"): 17,
    }
    assert lamp.rules is not None
    assert lamp.rules.state == "off"
    assert lamp.scores is not None
    assert len(lamp.scores.scores.tracks) == 3


def test_a_score_log_is_decided_again_exactly(kept: Path) -> None:
    printed = edge_sim_prints("replay", "--from-scores", kept / "scores.jsonl")
    lines = [line.split(": ", 1) for line in printed.splitlines()]
    assert [(watch, text.split()[0]) for watch, text in lines] == [("lamp", "7"), ("bowl", "3")]
    assert all(text.endswith("exactly the same") for _, text in lines)


def test_events_and_scores_are_summed_up(kept: Path) -> None:
    assert "lamp: 80 " in edge_sim_prints("stats", kept / "scores.jsonl")
    assert "7 changes" in edge_sim_prints("stats", kept / "events.jsonl")


def test_kept_explanations_explain(kept: Path) -> None:
    printed = edge_sim_prints("explain", "last", "--explanations", kept / "explanations.jsonl")
    assert printed.startswith("bowl: food -> empty\n")
    assert "event 1b304c58ee9bc8e1" in printed


def test_a_frame_kept_for_review_can_be_taught(kept: Path) -> None:
    frame = "lamp/20260101T120004.600Z-23-on"
    review = ("--review-folder", kept / "review")
    assert frame in edge_sim_prints("gallery", "review", *review)
    edge_sim_prints(
        *("gallery", "add", "--gallery", kept / "gallery.db", "--watch", "lamp", "--state", "on"),
        *("--force", "--from-review", *review, frame),
    )
    with GalleryStore.open(kept / "gallery.db") as store:
        assert len(store.gallery("lamp")) == 9


def test_an_index_is_sound_and_found_in(kept: Path) -> None:
    assert "sound" in edge_sim_prints("index", "verify", kept / "index")
    query = kept / "pictures" / "lamp" / "on" / "1.jpg"
    printed = edge_sim_prints("search", "--query", query, "--index", kept / "index", "--top-k", 8)
    rows = [line.split() for line in printed.splitlines()[1:]]
    assert rows[0][-1] == "on/1.jpg"
    assert float(rows[0][1]) > 0.99
    assert len(rows) == 8, "the ninth picture was left out by hand"
    assert {row[2] for row in rows[:5]} == {"on"}


@pytest.mark.parametrize("name", ["config.yaml", "sinks.yaml"])
def test_a_configuration_is_still_read(name: str, kept: Path) -> None:
    config = edge_sim.load_config(kept / name, SECRETS)
    assert config.device == {"config.yaml": "porch", "sinks.yaml": "line_3"}[name]


def test_values_of_a_configuration_arrive(kept: Path) -> None:
    config = edge_sim.load_config(kept / "config.yaml", SECRETS)
    lamp = config.watches["lamp"]
    assert lamp.states == ("off", "on")
    assert (lamp.confirm.matches, lamp.confirm.of, lamp.sensitivity) == (3, 5, 0.5)
    assert lamp.rules.min_duration_s == {"on": 7.0}
    assert config.watches["bowl"].mask == "mask.png"
    assert config.sources["kitchen"].uri.startswith("synthetic:bowl?seed=2")
    assert config.outbox.max_days == 7.0


def test_a_run_with_the_kept_files_decides_as_it_did(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRETS["WEBHOOK_SECRET"])
    before = (kept / "events.jsonl").read_bytes()
    text = (kept / "config.yaml").read_text(encoding="utf-8")
    begin, end = text.index("  - kind: webhook"), text.index("outbox:")
    (kept / "config.yaml").write_text(text[:begin] + text[end:], encoding="utf-8")
    (kept / "events.jsonl").unlink()
    assert main(["run", "-c", str(kept / "config.yaml")]) == 0
    after = (kept / "events.jsonl").read_bytes()
    assert decided(after) == decided(before)


def test_the_daemon_goes_on_where_that_of_then_ended(kept: Path) -> None:
    events = kept / "events.jsonl"
    then = len(events.read_bytes().splitlines())
    config = kept / "config.yaml"
    # A drawn scene stands in for a camera and plays for ever; here it ends, as it did then.
    text = config.read_text(encoding="utf-8")
    config.write_text(re.sub(r"(synthetic:\w+\?)", r"\1live=0&", text), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "edge_sim", "daemon", "-c", str(kept / "config.yaml")],
        cwd=REPOSITORY,
        env={**os.environ, **SECRETS},
        check=True,
        capture_output=True,
        timeout=60,
    )
    lines = [json.loads(line) for line in events.read_bytes().splitlines()[then:]]
    changes = [item for item in lines if item["type"] == "state_changed"]
    firsts = {item["watch"]: item for item in reversed(changes)}
    assert {watch: item["before"] for watch, item in firsts.items()} == {
        "lamp": "off",
        "bowl": "empty",
    }
    outbox = Outbox.open(kept / "outbox.db", [WEBHOOK])
    waiting = [item.event.id for item in outbox.pending(WEBHOOK, 1000)]
    outbox.close()
    assert len(waiting) == 22 + len(lines)
    assert waiting[21] == "00000000000000a7"


def decided(lines: bytes) -> set[tuple[object, ...]]:
    events = [json.loads(line) for line in lines.splitlines()]
    return {(item["watch"], item["frame"], item.get("after")) for item in events}


def test_the_kept_files_are_those_of_the_repository_and_small() -> None:
    assert KEPT.is_relative_to(REPOSITORY)
    sizes = [path.stat().st_size for path in KEPT.rglob("*")]
    assert 100_000 < int(np.sum(sizes)) < 900_000
