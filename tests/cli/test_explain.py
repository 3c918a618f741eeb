"""`edge-sim explain`: why a watch changed what it says, from whatever was kept of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_sim.cli.main import main
from edge_sim.core.events import to_json_line
from edge_sim.gallery.store import GalleryStore
from tests.devices import make_device
from tests.drafts import overdue
from tests.io.outbox.events import told

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a device that has run, and everything that a run may keep."""
    folder = tmp_path_factory.mktemp("device")
    extra = (
        f"explanations: {{pictures: true}}\n"
        f"sinks: [{{kind: file, path: '{folder}/events.jsonl'}}]\n"
    )
    config = make_device(folder, extra=extra)
    log = ["--score-log", str(folder / "scores.jsonl"), "--score-every", "0"]
    assert main(["run", "-c", str(config), *log]) == 0
    return folder


def ids(device: Path) -> list[str]:
    events = map(json.loads, (device / "events.jsonl").read_text().splitlines())
    return [event["id"] for event in events if event["type"] == "state_changed"]


def explained(capsys: Captured, *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["explain", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_every_event_of_a_run_is_explained(device: Path, capsys: Captured) -> None:
    config = ["-c", str(device / "config.yaml")]
    assert len(ids(device)) >= 3
    for event_id in ids(device):
        assert main(["explain", event_id, *config]) == 0
        out = capsys.readouterr().out
        assert event_id in out
        for title in ("Why this", "Why then", "What would have changed it", "Decided with model"):
            assert title in out


def test_the_last_one_and_first_digits_are_found(device: Path, capsys: Captured) -> None:
    config = ["-c", str(device / "config.yaml")]
    last = explained(capsys, "last", *config)
    assert last["event"]["id"] == ids(device)[-1]
    first = explained(capsys, ids(device)[0][:8], *config)
    assert first["event"]["id"] == ids(device)[0]
    assert "picture" not in first


def test_a_score_log_tells_the_same_and_what_came_after(device: Path, capsys: Captured) -> None:
    event_id = ids(device)[1]
    log = ["--score-log", str(device / "scores.jsonl")]
    kept = explained(capsys, event_id, "-c", str(device / "config.yaml"))
    logged = explained(capsys, event_id, *log)
    for key in ("cause", "settings", "standing", "drifts", "account"):
        assert logged[key] == kept[key], key
    assert logged["looks"][-1]["at_s"] > 0.0
    assert kept["looks"][-1]["at_s"] == 0.0
    both = explained(capsys, event_id, "-c", str(device / "config.yaml"), *log)
    assert both["looks"] == logged["looks"]
    assert both["gallery"] == kept["gallery"] != ""


def test_an_event_file_alone_tells_less_and_says_so(device: Path, capsys: Captured) -> None:
    assert main(["explain", ids(device)[1], "--events", str(device / "events.jsonl")]) == 0
    assert "votes and evidence were not kept" in capsys.readouterr().out


def test_the_page_shows_pictures_words_and_scores(device: Path, tmp_path: Path) -> None:
    page = tmp_path / "event.html"
    config = ["-c", str(device / "config.yaml")]
    assert main(["explain", "last", *config, "--report", str(page)]) == 0
    text = page.read_text()
    assert text.count("data:image/jpeg") == 5  # the picture, two references, two maps
    assert '"kind":"timeline"' in text
    assert "Why then" in text


def test_a_page_without_kept_pictures_says_how_to_keep_them(
    device: Path, tmp_path: Path, capsys: Captured
) -> None:
    page = tmp_path / "event.html"
    events = ["--events", str(device / "events.jsonl")]
    assert main(["explain", "last", *events, "--report", str(page)]) == 0
    assert "explanations.pictures" in page.read_text()
    assert "data:image/jpeg;base64" not in page.read_text()
    gallery = ["--gallery", str(device / "gallery.db")]
    assert main(["explain", "last", *events, *gallery, "--report", str(page)]) == 0
    assert page.read_text().count("data:image/jpeg") == 2


def test_references_that_are_gone_are_shown_as_they_were(tmp_path: Path, capsys: Captured) -> None:
    config = make_device(tmp_path)
    assert main(["run", "-c", str(config), "--max-frames", "30"]) == 0
    with GalleryStore.open(tmp_path / "gallery.db") as store:
        store.remove([record.reference_id for record in store.records()])
    page = tmp_path / "event.html"
    assert main(["explain", "last", "-c", str(config), "--report", str(page)]) == 0
    assert page.read_text().count("data:image/jpeg") == 2


def test_an_unknown_id_names_the_nearest(device: Path, capsys: Captured) -> None:
    wanted = ids(device)[0][:-2] + "zz"
    assert main(["explain", wanted, "-c", str(device / "config.yaml")]) == 1
    err = capsys.readouterr().err
    assert (
        f"there is no event '{wanted}' among {len(ids(device))}; nearest: {ids(device)[0]}" in err
    )
    assert main(["explain", wanted, "--score-log", str(device / "scores.jsonl")]) == 1
    assert ids(device)[0] in capsys.readouterr().err


def test_an_event_that_is_no_change_of_state_says_what_it_is(
    tmp_path: Path, capsys: Captured
) -> None:
    late = told(overdue("open", 0.0, 600.0, 600.0))
    file = tmp_path / "events.jsonl"
    file.write_bytes(to_json_line(late))
    assert main(["explain", late.id, "--events", str(file)]) == 1
    assert f"the event {late.id} is overdue, which says itself why" in capsys.readouterr().err


def test_an_event_of_one_source_only_is_still_explained(device: Path, capsys: Captured) -> None:
    empty = device / "none.jsonl"
    empty.write_text("")
    log = ["--score-log", str(device / "scores.jsonl")]
    assert main(["explain", "last", "--explanations", str(empty), *log]) == 0
    captured = capsys.readouterr()
    assert "Why then" in captured.out
    assert "no event of a change of state is kept there" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the file that keeps the event"),
        (["--events", "no.jsonl"], "no.jsonl: cannot be read"),
        (["--explanations", "no.jsonl"], "nothing is kept there yet"),
        (["--score-log", "no.jsonl"], "no.jsonl: cannot be read"),
        (["--events", "config.yaml"], "no event of a change of state"),
        (["--score-log", "events.jsonl"], "no event of a change of state"),
        (["--report", "event.pdf"], "ends in .html"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    device: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.chdir(device)
    assert main(["explain", "last", *arguments]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_device_that_keeps_nothing_says_which_key(tmp_path: Path, capsys: Captured) -> None:
    config = make_device(tmp_path, extra="explanations: {path: null}\n")
    assert main(["run", "-c", str(config), "--max-frames", "20"]) == 0
    assert not (tmp_path / "explanations.jsonl").exists()
    assert main(["explain", "last", "-c", str(config)]) == 78
    assert "explanations.path is null" in capsys.readouterr().err


def test_with_the_outbox_in_memory_nothing_of_an_event_is_written(tmp_path: Path) -> None:
    config = make_device(tmp_path, extra="outbox: {storage: memory}\n")
    before = {item.name for item in tmp_path.iterdir()}
    assert main(["run", "-c", str(config), "--max-frames", "20"]) == 0
    after = {item.name for item in tmp_path.iterdir()}
    assert {name for name in after - before if not name.startswith("gallery.db")} == set()


def test_the_daemon_s_state_directory_is_where_it_is_looked_for(
    tmp_path: Path, capsys: Captured
) -> None:
    config = make_device(tmp_path, uri="synthetic:lamp?seed=1&frames=120&dwell_s=6&live=0")
    state = tmp_path / "state"
    state.mkdir()
    assert main(["daemon", "-c", str(config), "--state-dir", str(state)]) == 0
    assert (state / "explanations.jsonl").exists()
    assert main(["explain", "last", "-c", str(config), "--state-dir", str(state)]) == 0
    assert "Why this" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["event", "config", "explanation", "replay", "score-log"])
def test_what_is_written_has_a_schema(what: str, capsys: Captured) -> None:
    assert main(["schema", what]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$defs"]
