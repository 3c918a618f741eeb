"""References through the page: held, picked, dropped; how sure it will be; the gallery; review."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edge_sim.analysis.audit import ANY, PairFinding, Share
from edge_sim.analysis.calibration import wilson
from edge_sim.core.events import SourceLost
from edge_sim.core.images import decode
from edge_sim.core.types import BgrImage, Frame
from edge_sim.decision.pipeline import Outcome
from edge_sim.errors import DataError
from edge_sim.gallery.copies import back_up, restore
from edge_sim.gallery.enrolment import as_stored
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.records import REGION, region_text
from edge_sim.runtime.config import WatchConfig
from edge_sim.runtime.daemon.teaching import Flip
from edge_sim.runtime.loop import Step
from edge_sim.runtime.review_queue import ReviewFolder
from edge_sim.vision.probe import make_probe
from edge_sim.web import enrolments
from edge_sim.web.live import references_of
from edge_sim.web.readiness import audited, readiness_of
from tests.gallery.pictures import scene
from tests.runtime.daemon.test_doubts import TORN, looked
from tests.web.wizard_device import WizardBench, lamp_bench

WATCH = "/api/watches/lamp"


@pytest.fixture
def lamp(tmp_path: Path) -> Iterator[WizardBench]:
    with lamp_bench(tmp_path, "review: {path: review}\n") as bench:
        yield bench


def png(pixels: BgrImage) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def jpeg(pixels: BgrImage) -> bytes:
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def drawn(seed: int) -> BgrImage:
    """A picture of the proportions of the frame that shows neither state."""
    return scene(seed, shape=(480, 640))


def test_the_present_picture_becomes_a_reference_and_is_taken_back(lamp: WizardBench) -> None:
    lamp.device.frames["camera"] = Frame(drawn(5), 1.0, 1e9, 7, "camera")
    answer = lamp.post(f"{WATCH}/references", {"state": "on", "force": True})
    assert answer["kept"]
    assert answer["refused"] is None
    assert answer["count"] == 6
    assert decode(lamp.get(f"/{answer['picture']}")).ndim == 3
    with lamp.store() as store:
        record = store.record(answer["reference_id"])
        roi = lamp.device.picture("lamp")
        assert roi is not None
        assert record.metadata[REGION] == region_text(roi.region.roi)
        assert record.metadata["from"] == "camera#7"
    undone = lamp.post(f"{WATCH}/references/undo", {"reference_id": answer["reference_id"]})
    assert undone["count"] == 5
    assert sum(undone["references"]["on"].values()) == 5


def test_what_would_make_the_gallery_worse_is_refused_in_words(lamp: WizardBench) -> None:
    lamp.show("on")
    same = lamp.post(f"{WATCH}/references", {"state": "on"})
    assert not same["kept"]
    assert same["reason"] == "duplicate"
    assert same["refused"].startswith("it shows the same as a reference that is there (r")
    dark = lamp.show("on")
    lamp.device.frames["camera"] = Frame(np.zeros_like(dark.pixels), 1.0, 1e9, 9, "camera")
    assert lamp.post(f"{WATCH}/references", {"state": "on"})["reason"] == "dark"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("lamp/references", {"state": "unknown"}, 422, "reserved"),
        ("lamp/references", {"state": "<b>"}, 422, "expected"),
        ("lamp/references", {}, 422, "state"),
        ("nothing/references", {"state": "on"}, 404, "no watch"),
        ("lamp/references/undo", {"reference_id": "r999"}, 422, "r999"),
        ("lamp/proposals", {"id": "s1"}, 422, "pick 1"),
    ],
)
def test_nonsense_is_an_error_in_one_line(
    lamp: WizardBench, path: str, body: object, status: int, text: str
) -> None:
    lamp.show("on")
    error = lamp.post(f"/api/watches/{path}", body, status)["error"]
    assert text in error
    assert "\n" not in error


def test_a_camera_that_gives_nothing_is_named(lamp: WizardBench) -> None:
    assert "no frame yet" in lamp.post(f"{WATCH}/references", {"state": "on"}, 422)["error"]
    lamp.show("on")
    board = lamp.device.board
    board.describe(["camera"], (), model="thumbnail")
    board.add_event(SourceLost("e", "bench", "camera", "2026-01-01T00:00:00Z", "unplugged"))
    assert "unplugged" in lamp.post(f"{WATCH}/references", {"state": "on"}, 422)["error"]


def test_dropped_files_are_enrolled_one_by_one_as_one_revision(lamp: WizardBench) -> None:
    lamp.show("on")
    files = {
        "a.png": png(drawn(1)),
        "../../etc/b.jpg": jpeg(drawn(2)),
        "notes.txt": b"no picture",
        "again.png": png(drawn(1)),
    }
    found = lamp.post(f"{WATCH}/references/files?state=dim", files=files)
    assert [item["name"] for item in found] == ["a.png", "b.jpg", "notes.txt", "again.png"]
    assert [item["kept"] for item in found] == [True, True, False, False]
    assert "no picture" in found[2]["refused"]
    assert found[3]["reason"] == "duplicate"
    with lamp.store() as store:
        assert store.log(limit=1)[0].detail == "2 to lamp (dim)"
    again = lamp.post(
        f"{WATCH}/references/files?state=dim&force=1", files={"a.png": files["a.png"]}
    )
    assert again[0]["kept"]
    roi = lamp.device.picture("lamp")
    assert roi is not None
    stored = decode(lamp.get(f"/{found[0]['picture']}".replace(".jpg", ".png")))
    assert np.array_equal(stored, as_stored(roi.region.pixels_of(drawn(1)))), "cut to the region"
    lamp.post(f"{WATCH}/references/files?state=unknown", None, 422, files=files)
    assert lamp.post(f"{WATCH}/references/files?state=on", status=422)["error"]


def test_a_picture_of_too_many_pixels_is_not_decoded(
    lamp: WizardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lamp.show("on")
    monkeypatch.setattr(enrolments, "MAX_FILE_PIXELS", 1000)
    monkeypatch.setattr(enrolments, "decode", lambda _: pytest.fail("it was decoded"))
    (found,) = lamp.post(f"{WATCH}/references/files?state=on", files={"a.png": png(drawn(1))})
    assert "make it smaller" in found["refused"]


def fill_stills(lamp: WizardBench) -> None:
    embedder, frame = lamp.device.embedder, lamp.show("on")
    picture = lamp.device.picture("lamp")
    assert picture is not None
    for number in (1, 2):
        probe = make_probe(embedder, scene(number, shape=(96, 96)))
        watches: Any = {"lamp": picture}
        outcome = replace(outcome_of_lamp(), probe=probe)
        lamp.device.stills.note(watches, Step(frame, (outcome,), ()))


def test_proposed_stills_are_shown_and_picked(lamp: WizardBench) -> None:
    assert lamp.get(f"{WATCH}/proposals") == []
    fill_stills(lamp)
    second, first = lamp.get(f"{WATCH}/proposals")
    assert first["guess"] == "open"
    assert decode(lamp.get(f"/{first['picture']}")).ndim == 3
    picks = [{"id": first["id"], "state": "dim"}, {"id": "s99", "state": "dim"}]
    answer = lamp.post(f"{WATCH}/proposals", {"picks": picks})
    assert answer["kept"] == 1
    assert answer["refused"][0]["id"] == "s99"
    assert sum(answer["references"]["dim"].values()) == 1
    assert [item["id"] for item in lamp.get(f"{WATCH}/proposals")] == [second["id"]]


def test_a_still_is_picked_though_the_mask_is_gone(lamp: WizardBench) -> None:
    fill_stills(lamp)
    watch = msgspec.structs.replace(lamp.device.config.watches["lamp"], mask="gone.png")
    lamp.device.config = msgspec.structs.replace(lamp.device.config, watches={"lamp": watch})
    still = lamp.get(f"{WATCH}/proposals")[0]["id"]
    assert lamp.post(f"{WATCH}/proposals", {"id": still, "state": "dim"})["kept"] == 1


def test_pictures_of_a_private_watch_are_shown_to_nobody(lamp: WizardBench) -> None:
    fill_stills(lamp)
    keep_for_review(lamp, 1)
    lamp.send("PATCH", WATCH, {"private": True})
    view = lamp.get(f"{WATCH}/gallery")
    assert view["references"][0]["picture"] is None
    lamp.get(f"{WATCH}/gallery/{view['references'][0]['id']}.jpg", 403)
    lamp.get(f"{WATCH}/proposals", 403)
    (frame,) = lamp.get("/api/review")
    assert frame["picture"] is None
    lamp.get(f"/api/review/{frame['id']}.png", 403)
    answer = lamp.post(f"{WATCH}/references", {"state": "on", "force": True})
    assert answer["picture"] is None


def test_readiness_names_pairs_coverage_and_the_next_picture(lamp: WizardBench) -> None:
    found = lamp.get(f"{WATCH}/readiness")
    (pair,) = found["pairs"]
    assert {pair["a"], pair["b"]} == {"on", "off"}
    assert pair["level"] == "fair"
    assert pair["text"] == (
        f"off and on are so far always told apart: {pair['pictures']} of {pair['pictures']} "
        f"different pictures, which proves {pair['low']:.0%} at least"
    )
    assert set(found["coverage"]["states"]) == {"on", "off"}
    assert sum(map(sum, found["coverage"]["counts"])) == 10
    assert found["ready"]
    lamp.send("PATCH", WATCH, {"states": ["on", "off", "dim"]})
    found = lamp.get(f"{WATCH}/readiness")
    assert not found["ready"]
    assert found["next"] == "Take a picture of 'dim': there is none yet."
    assert found["next_step"] == {"kind": "missing", "text": found["next"], "state": "dim"}
    assert {pair["level"] for pair in found["pairs"]} == {"fair", "unknown"}
    assert found["region_moved"] is None
    lamp.send("PATCH", WATCH, {"region": [0.0, 0.0, 0.1, 0.1]})
    moved = lamp.get(f"{WATCH}/gallery")
    assert all(not item["region_moved"] for item in moved["references"] if not item["region"])


def test_the_gallery_says_what_is_wrong_with_which_picture(lamp: WizardBench) -> None:
    lamp.device.frames["camera"] = Frame(drawn(5), 1.0, 1e9, 7, "camera")
    for state in ("on", "off"):
        lamp.post(f"{WATCH}/references", {"state": state, "force": True})
    view = lamp.get(f"{WATCH}/gallery")
    wrong = [item for item in view["references"] if item["findings"]]
    kinds = {finding["kind"] for item in wrong for finding in item["findings"]}
    assert "contradiction" in kinds
    for item in wrong:
        for finding in item["findings"]:
            if finding["kind"] == "contradiction":
                assert finding["severity"] == "error"
                assert finding["other"] != item["id"]
    lamp.send("PATCH", WATCH, {"region": [0.0, 0.0, 0.1, 0.1]})
    view = lamp.get(f"{WATCH}/gallery")
    moved = [item for item in view["references"] if item["region_moved"]]
    assert moved
    assert all(item["region"] is not None for item in moved)
    assert view["findings"][0]["kind"] == "region_moved"


def test_references_are_moved_removed_tagged_and_brought_back(lamp: WizardBench) -> None:
    first = lamp.get(f"{WATCH}/gallery")["references"][0]
    change = {"ids": [first["id"]]}
    moved = lamp.post(f"{WATCH}/gallery", {**change, "op": "move", "state": "off"})
    tagged = lamp.post(f"{WATCH}/gallery", {**change, "op": "tag", "tag": "best"})
    assert tagged["revision"] == moved["revision"] + 1
    view = {item["id"]: item for item in lamp.get(f"{WATCH}/gallery")["references"]}
    assert (view[first["id"]]["state"], view[first["id"]]["tags"]) == ("off", ["best"])
    gone = lamp.post(f"{WATCH}/gallery", {**change, "op": "remove"})["revision"]
    lamp.get(f"{WATCH}/gallery/{first['id']}.jpg", 404)
    assert "any more" in lamp.post(f"{WATCH}/gallery/undo", {"revision": gone - 1}, 422)["error"]
    lamp.post(f"{WATCH}/gallery/undo", {"revision": gone})
    assert decode(lamp.get(f"{WATCH}/gallery/{first['id']}.jpg?w=32")).shape[1] == 32
    log = lamp.get(f"{WATCH}/revisions")
    assert [item["verb"] for item in log[:4]] == ["undo", "remove", "tag", "relabel"]
    lamp.post(f"{WATCH}/revisions/{moved['revision'] - 1}")
    view = {item["id"]: item for item in lamp.get(f"{WATCH}/gallery")["references"]}
    assert view[first["id"]]["state"] == first["state"]
    for body in (
        {"op": "remove", "ids": ["r999"]},
        {"op": "remove", "ids": []},
        {"op": "move", "ids": [first["id"]], "state": "../x"},
        {"op": "tag", "ids": [first["id"]]},
        {"op": "forget", "ids": [first["id"]]},
    ):
        assert lamp.post(f"{WATCH}/gallery", body, 422)["error"]
    lamp.post(f"{WATCH}/revisions/999", status=422)
    lamp.post(f"{WATCH}/revisions/x", status=422)


def test_another_gallery_of_the_same_revision_is_counted_anew(lamp: WizardBench) -> None:
    path, copy = lamp.folder / "gallery.db", lamp.folder / "copy.db"
    back_up(path, copy)
    counts = []
    for state in ("on", "off"):
        restore(path, copy)
        with lamp.store() as store:
            store.remove([store.records(state=state)[0].reference_id])
            revision = store.revision
        found = references_of(lamp.device.config, revision)["lamp"]
        counts.append((revision, sum(found["on"].values()), sum(found["off"].values())))
    (first, *on_removed), (second, *off_removed) = counts
    assert first == second
    assert (on_removed, off_removed) == ([4, 5], [5, 4])


def outcome_of_lamp(at_s: float = 0.0) -> Outcome:
    return replace(looked(TORN, at_s), watch="lamp")


def keep_for_review(lamp: WizardBench, count: int) -> list[str]:
    folder = ReviewFolder(lamp.folder / "review")
    return [
        folder.keep(outcome_of_lamp(number), scene(number, shape=(96, 96)))
        for number in range(count)
    ]


def test_many_frames_are_decided_at_once_and_taken_back(lamp: WizardBench) -> None:
    ids = keep_for_review(lamp, 4)
    flip = Flip("e1", "on", "dim", 1e9)
    lamp.device.flipped = (flip,)
    shown = lamp.get("/api/review?watch=lamp")
    assert [item["id"] for item in shown] == ids[::-1]
    assert shown[0]["scores"][0] == {"state": "open", "probability": 0.6}
    assert decode(lamp.get(f"/{shown[0]['picture']}")).shape == (96, 96, 3)
    decisions = [
        {"id": ids[0], "as": "dim"},
        {"id": ids[1], "as": "on"},
        {"id": ids[2], "as": "unknown"},
        {"id": ids[3], "as": "discard"},
    ]
    result = lamp.post("/api/review", {"decisions": decisions})
    assert (result["enrolled"], result["discarded"]) == (2, 2)
    assert result["changed"] == [
        {
            "watch": "lamp",
            "event": "e1",
            "at": "2001-09-09T01:46:40.000Z",
            "from": "on",
            "to": "dim",
        }
    ]
    assert lamp.get("/api/review") == []
    with lamp.store() as store:
        assert store.revision == result["revision"]
        assert len(store.records(state="dim")) == 1
    undone = lamp.post("/api/review/undo", {"undo": result["undo"]})
    assert undone["revision"] == result["revision"] + 1
    assert [item["id"] for item in lamp.get("/api/review")] == ids[::-1]
    with lamp.store() as store:
        assert store.records(state="dim") == ()
    assert lamp.post("/api/review/undo", {"undo": result["undo"]}, 422)["error"]


def test_duplicates_leave_the_queue_and_what_cannot_be_used_stays(lamp: WizardBench) -> None:
    ids = keep_for_review(lamp, 1)
    lamp.post("/api/review", {"decisions": [{"id": ids[0], "as": "dim"}]})
    (again,) = keep_for_review(lamp, 1)
    folder = ReviewFolder(lamp.folder / "review")
    dark = folder.keep(outcome_of_lamp(50.0), np.zeros((96, 96, 3), np.uint8))
    decisions = [{"id": again, "as": "dim"}, {"id": dark, "as": "dim"}]
    result = lamp.post("/api/review", {"decisions": decisions})
    assert [item["id"] for item in result["duplicates"]] == [again]
    assert [(item["id"], item["reason"]) for item in result["refused"]] == [(dark, "dark")]
    assert result["revision"] is None
    assert [item["id"] for item in lamp.get("/api/review")] == [dark]
    assert lamp.post("/api/review/undo", {"undo": result["undo"]})["revision"] is None


def test_an_undo_does_not_take_back_what_came_later(lamp: WizardBench) -> None:
    ids = keep_for_review(lamp, 1)
    result = lamp.post("/api/review", {"decisions": [{"id": ids[0], "as": "dim"}]})
    first = lamp.get(f"{WATCH}/gallery")["references"][0]["id"]
    lamp.post(f"{WATCH}/gallery", {"op": "remove", "ids": [first]})
    assert "changed since" in lamp.post("/api/review/undo", {"undo": result["undo"]}, 422)["error"]
    assert lamp.get("/api/review") == []


@pytest.mark.parametrize(
    "decisions",
    [
        [],
        [{"id": "lamp/../../etc/passwd", "as": "on"}],
        [{"id": "lamp/20260101T000000.000Z-1-on", "as": "on"}],
        [{"id": "A", "as": "on"}, {"id": "A", "as": "off"}],
        [{"id": "A"}],
    ],
)
def test_decisions_that_cannot_be_change_nothing(lamp: WizardBench, decisions: object) -> None:
    (known,) = keep_for_review(lamp, 1)
    body = json.loads(json.dumps({"decisions": decisions}).replace('"A"', f'"{known}"'))
    assert lamp.post("/api/review", body, 422)["error"]
    assert [item["id"] for item in lamp.get("/api/review")] == [known]


@pytest.fixture
def lamps(lamp: WizardBench) -> WizardBench:
    """Two watches with one frame each in the queue; the second knows the states `on` and `off`."""
    watch = lamp.device.config.watches["lamp"]
    second = msgspec.structs.replace(watch, states=("on", "off"))
    lamp.device.config = msgspec.structs.replace(
        lamp.device.config, watches={"lamp": watch, "second": second}
    )
    folder = ReviewFolder(lamp.folder / "review")
    for name in ("lamp", "second"):
        folder.keep(replace(outcome_of_lamp(), watch=name), scene(len(name), shape=(96, 96)))
    return lamp


def decisions_of(lamps: WizardBench, **states: str) -> dict[str, object]:
    ids = {item["watch"]: item["id"] for item in lamps.get("/api/review")}
    return {"decisions": [{"id": ids[watch], "as": state} for watch, state in states.items()]}


def test_a_state_that_the_second_watch_lacks_changes_nothing_of_the_first(
    lamps: WizardBench,
) -> None:
    with lamps.store() as store:
        before = store.revision
    wanted = decisions_of(lamps, lamp="dim", second="dim")
    assert "no state 'dim'" in lamps.post("/api/review", wanted, 422)["error"]
    assert len(lamps.get("/api/review")) == 2
    with lamps.store() as store:
        assert store.revision == before


@pytest.mark.parametrize("fails", ["second watch", "queue"])
def test_decisions_that_fail_half_way_are_taken_back(
    lamps: WizardBench, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    regions = enrolments.Enrolments.regions

    def full(*_: object) -> str:
        raise DataError("No space left on device")

    def some(self: enrolments.Enrolments, watch: str, batches: Any) -> Any:
        return full() if watch == "second" else regions(self, watch, batches)

    if fails == "queue":
        monkeypatch.setattr(ReviewFolder, "take_out", full)
    else:
        monkeypatch.setattr(enrolments.Enrolments, "regions", some)
    wanted = decisions_of(lamps, lamp="dim", second="on")
    assert "No space" in lamps.post("/api/review", wanted, 422)["error"]
    assert len(lamps.get("/api/review")) == 2
    with lamps.store() as store:
        assert store.records(state="dim") == ()
        assert len(store.records(watch="second")) == 0


def test_what_cannot_be_taken_back_without_a_later_change_is_named(
    lamps: WizardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions = enrolments.Enrolments.regions

    def changed(self: enrolments.Enrolments, watch: str, batches: Any) -> Any:
        if watch == "lamp":
            return regions(self, watch, batches)
        with lamps.store() as store:
            store.remove([store.records(state="on")[0].reference_id])
        raise DataError("No space left on device")

    monkeypatch.setattr(enrolments.Enrolments, "regions", changed)
    wanted = decisions_of(lamps, lamp="dim", second="on")
    assert "a part of the decisions" in lamps.post("/api/review", wanted, 422)["error"]
    with lamps.store() as store:
        assert len(store.records(state="dim")) == 1
        assert len(store.records(state="on")) == 4


def test_without_a_folder_nothing_waits(tmp_path: Path) -> None:
    with lamp_bench(tmp_path) as bench:
        assert bench.get("/api/review") == []
        answer = bench.post("/api/review", {"decisions": [{"id": "lamp/x", "as": "on"}]}, 422)
        assert "review.path" in answer["error"]


def test_words_follow_the_share_and_the_number_of_pictures() -> None:
    def words(right: int, number: int) -> tuple[str, str]:
        rate = wilson(right, number)
        share = Share(rate.value, rate.low, rate.high, number)
        gallery = Gallery()
        found = audited("gate", gallery)
        pair = PairFinding("open", "shut", ANY, share, None)
        ready = readiness_of(
            "gate", WatchConfig(), gallery, msgspec.structs.replace(found, pairs=(pair,))
        )
        return ready.pairs[0].level, ready.pairs[0].text

    assert words(40, 40)[0] == "sure"
    assert "are always told apart: 40 of 40" in words(40, 40)[1]
    assert "nearly always" in words(98, 100)[1]
    assert words(4, 4)[0] == "fair"
    assert "so far always" in words(4, 4)[1]
    assert "mostly" in words(19, 20)[1]
    assert words(5, 10) == (
        "weak",
        "open and shut are often not told apart: 5 of 10 different pictures, which proves 24% at "
        "least",
    )
