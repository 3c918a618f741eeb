"""Settings through the page: the same file that a person edits, checked, and one archive of all."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge_sim.errors import EdgeSimError
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime.log_tail import LOG_TAIL
from edge_sim.web import archives, settings
from edge_sim.web.config_file import ConfigEdit, ConfigFile, edited_text
from tests.web.test_setup import half_mask
from tests.web.wizard_device import WizardBench, lamp_bench

EXTRA = "  # a note\n  - {kind: webhook, url: 'https://127.0.0.1:9/a', token: top-secret-word}\n"


@pytest.fixture
def lamp(tmp_path: Path) -> Iterator[WizardBench]:
    (tmp_path / "lamp").mkdir()
    with lamp_bench(tmp_path / "lamp", "device: bench\n") as bench:
        yield bench


def config_of(lamp: WizardBench) -> str:
    return (lamp.folder / "config.yaml").read_text()


def held_timers(monkeypatch: pytest.MonkeyPatch) -> list[threading.Timer]:
    """Timers that were started since, for the test to run."""
    timers: list[threading.Timer] = []
    monkeypatch.setattr(threading.Timer, "start", lambda timer: timers.append(timer))
    return timers


def run(timer: threading.Timer) -> None:
    timer.function(*timer.args, **timer.kwargs)


def test_the_schema_describes_every_key(lamp: WizardBench) -> None:
    parts = lamp.get("/api/schema")["$defs"]
    assert parts["WatchConfig"]["properties"]["interval_s"]["unit"] == "seconds"
    assert parts["Config"]["properties"]["watches"]["description"]


def test_values_show_no_secret_and_the_text_is_the_file(lamp: WizardBench) -> None:
    path = lamp.folder / "config.yaml"
    path.write_text(config_of(lamp).replace("events.jsonl}\n", "events.jsonl}\n" + EXTRA))
    found = lamp.get("/api/config")
    assert found["text"] == config_of(lamp)
    assert found["errors"] == []
    webhook = found["values"]["sinks"][1]
    assert (webhook["kind"], webhook["token"]) == ("webhook", "***")
    assert "top-secret-word" not in json.dumps(found["values"])
    path.write_text("watches: {lamp: {rio: 3}}\n")
    broken = lamp.get("/api/config")
    assert broken["errors"][0]["line"] == 1
    assert broken["values"]["device"] == "bench", "those in force"


def test_a_new_text_is_checked_line_by_line_before_it_is_written(lamp: WizardBench) -> None:
    found = lamp.get("/api/config")
    wrong = found["text"] + "score: {ssim_engine: x}\ndaemon:\n  nice: 99\n"
    answer = lamp.send("PUT", "/api/config", {"text": wrong}, 422)
    lines = found["text"].count("\n")
    assert [fault["line"] for fault in answer["errors"]] == [lines + 1, lines + 3]
    assert answer["errors"][1]["key"] == "daemon.nice"
    assert config_of(lamp) == found["text"]
    good = found["text"] + "daemon: {nice: 3}\n"
    assert lamp.send("PUT", "/api/config", {"text": good, "dry_run": True})["errors"] == []
    assert config_of(lamp) == found["text"]
    answer = lamp.send("PUT", "/api/config", {"text": good, "version": found["version"]})
    assert "+daemon: {nice: 3}" in answer["config_diff"]
    assert lamp.device.config.daemon.nice == 3
    stale = {"text": found["text"], "version": found["version"]}
    assert "meanwhile" in lamp.send("PUT", "/api/config", stale, 409)["error"]


def test_one_key_is_set_and_the_comments_stay(lamp: WizardBench) -> None:
    path = lamp.folder / "config.yaml"
    path.write_text("# Mine.\n" + config_of(lamp))
    lamp.send("PATCH", "/api/config", {"path": "watches.lamp.sensitivity", "value": 0.7})
    lamp.send("PATCH", "/api/config", {"path": "score_log.path", "value": "scores.jsonl"})
    assert config_of(lamp).startswith("# Mine.\n")
    assert lamp.device.config.watches["lamp"].sensitivity == 0.7
    assert lamp.device.config.score_log.path == "scores.jsonl"
    for body in (
        {"path": "watches.lamp.sensitivity", "value": 7},
        {"path": "nothing.at.all", "value": 1},
        {"path": "device.x", "value": 1},
        {"path": "", "value": 1},
        {"value": 1},
    ):
        assert lamp.send("PATCH", "/api/config", body, 422)["error"]


def test_a_change_at_the_same_time_is_not_lost(
    lamp: WizardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lamp.folder / "config.yaml"

    def edited_meanwhile(text: str, edit: ConfigEdit) -> str:
        path.write_text(text + "daemon: {nice: 3}\n")
        return edited_text(text, edit)

    monkeypatch.setattr(settings, "edited_text", edited_meanwhile)
    body = {"path": "watches.lamp.sensitivity", "value": 0.7}
    assert "somebody else" in lamp.send("PATCH", "/api/config", body, 422)["error"]
    assert config_of(lamp).endswith("daemon: {nice: 3}\n")


def test_other_settings_of_the_server_are_taken_over_after_the_answer(lamp: WizardBench) -> None:
    reloaded = threading.Event()
    plain = lamp.device.reload

    def reload(limit_s: float = 30.0) -> object:
        reloaded.set()
        return plain(limit_s)

    lamp.device.reload = reload  # type: ignore[assignment, method-assign]
    answer = lamp.send("PATCH", "/api/config", {"path": "web.requests_per_s", "value": 5000})
    assert answer["restarts"]
    assert reloaded.wait(10.0)


def test_no_program_is_configured_from_a_page(lamp: WizardBench) -> None:
    text = config_of(lamp) + "sinks:\n  - {kind: command, argv: [touch, /tmp/x]}\n"
    text = text.replace("sinks:\n  - {kind: file, path: events.jsonl}\n", "", 1)
    answer = lamp.send("PUT", "/api/config", {"text": text}, 422)
    assert "on the device" in answer["error"]
    value = [{"kind": "command", "argv": ["id"]}]
    assert lamp.send("PATCH", "/api/config", {"path": "sinks", "value": value}, 422)["error"]


def test_a_rejected_configuration_is_taken_back(lamp: WizardBench) -> None:
    before = config_of(lamp)
    lamp.device.rejects = "config.yaml:3: the mask cannot be read"
    answer = lamp.send("PUT", "/api/config", {"text": before + "daemon: {nice: 3}\n"}, 422)
    assert answer["errors"][0]["line"] == 3
    assert config_of(lamp) == before


def test_a_configuration_that_breaks_the_device_is_taken_back(
    lamp: WizardBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(limit_s: float = 30.0) -> object:
        raise KeyError("half way")

    monkeypatch.setattr(lamp.device, "reload", broken)
    before = config_of(lamp)
    lamp.send("PUT", "/api/config", {"text": before + "daemon: {nice: 3}\n"}, 500)
    assert config_of(lamp) == before
    timers = held_timers(monkeypatch)
    lamp.send("PATCH", "/api/config", {"path": "web.requests_per_s", "value": 5000})
    run(timers.pop())
    assert config_of(lamp) == before
    assert "taken back: 'half way'" in caplog.text


def test_checks_and_a_single_sink(lamp: WizardBench) -> None:
    lamp.show("on")
    lamp.device.board.describe(["camera"], (), model="thumbnail")
    found = lamp.post("/api/check")
    parts = {item["part"]: item for item in found["findings"]}
    assert parts["gallery of lamp"]["ok"]
    assert parts["gallery of lamp"]["coverage"]
    assert parts["source camera"]["ok"]
    assert parts["sink 1, file"]["ok"]
    assert found["problems"] == []
    assert any(line.startswith("sink 1, file: ") for line in found["lines"])
    assert lamp.get("/api/sinks") == [{"name": "1-file", "kind": "file"}]
    assert lamp.post("/api/sinks/1-file/test")["ok"]
    for name in ("2-file", "0", "x", "1"):
        lamp.post(f"/api/sinks/{name}/test", status=404)


def test_the_log_is_shown_the_newest_last(lamp: WizardBench) -> None:
    LOG_TAIL.emit(logging.makeLogRecord({"msg": "<b>first</b>", "levelname": "INFO"}))
    LOG_TAIL.emit(logging.makeLogRecord({"msg": "second", "levelname": "ERROR"}))
    lines = lamp.get("/api/log?lines=2")["lines"]
    assert [(line["level"], line["text"]) for line in lines] == [
        ("info", "<b>first</b>"),
        ("error", "second"),
    ]


def exported(lamp: WizardBench) -> bytes:
    content = lamp.get("/api/export")
    assert isinstance(content, bytes)
    return content


def test_everything_travels_in_one_archive_and_back(lamp: WizardBench, tmp_path: Path) -> None:
    lamp.send("PATCH", "/api/watches/lamp", {"mask_png": half_mask(), "sensitivity": 0.6})
    archive = exported(lamp)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        names = set(opened.namelist())
    assert {"manifest.json", "config.yaml", "gallery.db"} < names
    assert any(name.startswith("masks/lamp-") for name in names)
    left = [path.name for path in lamp.folder.iterdir() if path.name.startswith(".edge_sim")]
    assert left == []
    (tmp_path / "other").mkdir()
    with lamp_bench(tmp_path / "other", "device: bench\n") as other:
        first = other.get("/api/watches/lamp/gallery")["references"][0]["id"]
        other.post("/api/watches/lamp/gallery", {"op": "remove", "ids": [first]})
        answer = other.post("/api/import", files={"device.zip": archive})
        assert answer["watches"] == ["lamp"]
        assert other.device.config.watches["lamp"].sensitivity == 0.6
        assert len(other.get("/api/watches/lamp/gallery")["references"]) == 10
        assert other.get("/api/watches/lamp/mask.png")
        left = [path.name for path in other.folder.iterdir()]
        assert not any(name.startswith((".edge_sim", ".import")) for name in left)


def test_a_folder_that_takes_no_archive_is_one_line(
    lamp: WizardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(settings, "mkstemp", fail)
    for answer in (
        lamp.get("/api/export", 422),
        lamp.post("/api/import", files={"device.zip": b""}, status=422),
    ):
        assert answer["error"].endswith("(Read-only file system)")


def test_a_mask_of_two_watches_travels_once(lamp: WizardBench) -> None:
    lamp.send("PATCH", "/api/watches/lamp", {"mask_png": half_mask()})
    (mask,) = (lamp.folder / "masks").iterdir()
    text = config_of(lamp)
    shared = f"  second: {{roi: [0.0, 0.0, 1.0, 1.0], mask: ./masks/{mask.name}}}\n"
    text = text.replace("watches:\n", f"watches:\n{shared}")
    lamp.send("PUT", "/api/config", {"text": text})
    archive = exported(lamp)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.namelist().count(f"masks/{mask.name}") == 1
    mask.unlink()
    answer = lamp.post("/api/import", files={"device.zip": archive})
    assert set(answer["watches"]) == {"lamp", "second"}
    assert lamp.get("/api/watches/second/mask.png") == lamp.get("/api/watches/lamp/mask.png")


def repacked(archive: bytes, changes: dict[str, bytes | None], *, resum: bool = False) -> bytes:
    """An archive with files replaced, added, or left out; `resum` adjusts the manifest."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as opened, zipfile.ZipFile(target, "w") as made:
        contents: dict[str, bytes | None] = {name: opened.read(name) for name in opened.namelist()}
        contents.update(changes)
        if resum:
            manifest = json.loads(contents["manifest.json"] or b"")
            manifest["files"] = {
                name: hashlib.sha256(content).hexdigest()
                for name, content in contents.items()
                if content is not None
            }
            contents["manifest.json"] = json.dumps(manifest).encode()
        for name, content in contents.items():
            if content is not None:
                made.writestr(name, content)
    return target.getvalue()


@pytest.mark.parametrize(
    ("changes", "resum", "text"),
    [
        ({"config.yaml": b"device: other\n"}, False, "damaged"),
        ({"config.yaml": b"device: [\n"}, True, "config.yaml"),
        ({"config.yaml": None}, True, "no config.yaml"),
        ({"manifest.json": None}, False, "no manifest"),
        ({"manifest.json": b"{}"}, False, "no manifest"),
        ({"../evil.txt": b"x"}, True, "a file too many"),
        ({"masks/../../evil.png": b"x"}, True, "a file too many"),
        ({"masks/.hidden.png": b"x"}, True, "a file too many"),
        ({"/etc/evil": b"x"}, True, "a file too many"),
        ({"gallery.db": b"no gallery" * 100}, True, "gallery"),
        ({"config.yaml": b"device: caf\xe9\n"}, True, "not UTF-8 text"),
        (
            {"config.yaml": b"sinks: [{kind: command, argv: [id]}]\n"},
            True,
            "on the device",
        ),
    ],
)
def test_a_bad_archive_changes_nothing(
    lamp: WizardBench, changes: dict[str, bytes | None], resum: bool, text: str
) -> None:
    before = config_of(lamp)
    with lamp.store() as store:
        revision = store.revision
    archive = repacked(exported(lamp), changes, resum=resum)
    answer = lamp.post("/api/import", files={"device.zip": archive}, status=422)
    assert text in answer["error"]
    assert config_of(lamp) == before
    with lamp.store() as store:
        assert store.revision == revision
    assert lamp.device.reloads == 0
    assert not list(lamp.folder.parent.rglob("evil*"))


def test_what_is_no_archive_is_rejected(lamp: WizardBench) -> None:
    for content in (b"", b"no zip", b"PK\x03\x04" + b"\0" * 100):
        assert lamp.post("/api/import", files={"a.zip": content}, status=422)["error"]
    assert lamp.post("/api/import", files={"a": b"", "b": b""}, status=422)["error"]


def test_an_archive_that_unpacks_to_more_than_allowed_is_stopped(
    lamp: WizardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = exported(lamp)
    monkeypatch.setattr(archives, "MAX_GALLERY_BYTES", 1000)
    answer = lamp.post("/api/import", files={"a.zip": archive}, status=422)
    assert "too large" in answer["error"]


def test_an_import_that_the_device_rejects_is_taken_back_whole(lamp: WizardBench) -> None:
    archive = exported(lamp)
    first = lamp.get("/api/watches/lamp/gallery")["references"][0]["id"]
    lamp.post("/api/watches/lamp/gallery", {"op": "remove", "ids": [first]})
    lamp.device.rejects = "the model is not verified"
    answer = lamp.post("/api/import", files={"device.zip": archive}, status=422)
    assert "not verified" in answer["error"]
    with GalleryStore.open(lamp.folder / "gallery.db") as store:
        assert len(store.records()) == 9


def test_an_import_that_is_rejected_after_the_answer_is_taken_back_whole(
    lamp: WizardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lamp.send("PATCH", "/api/watches/lamp", {"mask_png": half_mask()})
    (mask,) = (lamp.folder / "masks").iterdir()
    before = mask.read_bytes()
    changes: dict[str, bytes | None] = {
        f"masks/{mask.name}": b"another picture",
        "config.yaml": config_of(lamp).replace("100000", "5000").encode(),
    }
    archive = repacked(exported(lamp), changes, resum=True)
    first = lamp.get("/api/watches/lamp/gallery")["references"][0]["id"]
    lamp.post("/api/watches/lamp/gallery", {"op": "remove", "ids": [first]})
    text, timers = config_of(lamp), held_timers(monkeypatch)
    lamp.device.rejects = "web.listen: cannot listen there"
    assert lamp.post("/api/import", files={"device.zip": archive})["restarts"]
    run(timers.pop())
    assert config_of(lamp) == text
    assert mask.read_bytes() == before
    with lamp.store() as store:
        assert len(store.records()) == 9


def test_an_import_stays_whole_under_a_later_change_of_the_file(
    lamp: WizardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = config_of(lamp).replace("100000", "5000")
    archive = repacked(exported(lamp), {"config.yaml": text.encode()}, resum=True)
    first = lamp.get("/api/watches/lamp/gallery")["references"][0]["id"]
    lamp.post("/api/watches/lamp/gallery", {"op": "remove", "ids": [first]})
    timers = held_timers(monkeypatch)
    lamp.post("/api/import", files={"device.zip": archive})
    later = text + "daemon: {nice: 99}\n"
    (lamp.folder / "config.yaml").write_text(later)
    lamp.device.rejects = "daemon.nice: must be 0 to 19"
    run(timers.pop())
    assert config_of(lamp) == later
    with lamp.store() as store:
        assert len(store.records()) == 10


@pytest.mark.parametrize("fault", ["gallery", "device"])
def test_masks_of_an_import_that_is_rejected_are_as_they_were(
    lamp: WizardBench, fault: str
) -> None:
    lamp.send("PATCH", "/api/watches/lamp", {"mask_png": half_mask()})
    (mask,) = (lamp.folder / "masks").iterdir()
    before = mask.read_bytes()
    changes: dict[str, bytes | None] = {
        f"masks/{mask.name}": b"another picture",
        "masks/new.png": b"one more",
    }
    if fault == "gallery":
        changes["gallery.db"] = b"no gallery" * 100
    else:
        lamp.device.rejects = "the model is not verified"
    archive = repacked(exported(lamp), changes, resum=True)
    lamp.post("/api/import", files={"device.zip": archive}, status=422)
    assert mask.read_bytes() == before
    assert list((lamp.folder / "masks").iterdir()) == [mask]


def test_an_archive_with_any_byte_changed_is_rejected_or_the_same(lamp: WizardBench) -> None:
    small: dict[str, bytes | None] = {"gallery.db": None, "model.json": None}
    archive = bytearray(repacked(exported(lamp), small, resum=True))
    config, file = lamp.device.config, ConfigFile(lamp.folder / "config.yaml")
    path = lamp.folder / "changed.zip"
    starts = [at for at in range(len(archive)) if archive[at : at + 2] == b"PK"]
    for start in starts:
        for at in range(start, min(start + 46, len(archive))):
            changed = archive.copy()
            changed[at] ^= 0xFF
            path.write_bytes(changed)
            with suppress(EdgeSimError):
                archives.import_from(path, config, file)
