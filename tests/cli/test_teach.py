"""`teach` as its user meets it, with and without a daemon."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.web.server import open_server
from tests.runtime.daemon.cameras import LIMIT_S, Camera, Show, lamp_config, world_of
from tests.runtime.daemon.test_service import await_events, show
from tests.web.devices import serving_lamp
from tests.web.servers import TOKEN


def config_of(folder: Path, extra: str = "") -> str:
    lamp_config(folder, extra)
    return str(folder / "config.yaml")


def test_without_a_daemon_a_frame_is_taken_from_the_source(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["teach", "lamp", "flickering", "-c", config_of(tmp_path), "--json"]) == 0
    out, err = capfd.readouterr()
    taught = json.loads(out)
    assert (taught["watch"], taught["state"], taught["flips"]) == ("lamp", "flickering", [])
    assert "no daemon is running here" in err
    with GalleryStore.open(tmp_path / "gallery.db") as store:
        assert "flickering" in store.gallery("lamp").states
        store.undo()
        assert "flickering" not in store.gallery("lamp").states


@pytest.mark.parametrize(
    ("arguments", "extra", "message"),
    [
        (["lmap", "on"], "", "there is no watch 'lmap' (did you mean 'lamp'?)"),
        (["lamp", "on", "--event", "1"], "", "no picture of the event 1 is kept: "),
        (
            ["lamp", "on", "--event", "1"],
            "explanations: {path: null}\n",
            "explanations.path is null",
        ),
        (["lamp", "bad name"], "", "bad name"),
        (["lamp", "unknown"], "", "unknown"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    tmp_path: Path,
    arguments: list[str],
    extra: str,
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["teach", *arguments, "-c", config_of(tmp_path, extra)]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_running_daemon_is_asked_and_tells_which_decisions_would_flip(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    web = f"web: {{listen: '127.0.0.1:{port}', token: {TOKEN}}}\n"
    path = str(tmp_path / "config.yaml")
    with serving_lamp(tmp_path, web) as lamp:
        show(lamp.daemon, lamp.camera, lamp.frames, "on")
        (event,) = await_events(lamp.daemon, 1)
        assert main(["teach", "lamp", "broken", "-c", path, "--event", event.id]) == 0
        out = capfd.readouterr().out
        assert "lamp is broken" in out
        assert f"event {event.id} would be broken, not on" in out
        assert main(["teach", "lamp", "on", "-c", path, "--event", "nonsense"]) == 1
        assert "no picture of the event nonsense" in capfd.readouterr().err


def test_a_daemon_that_does_not_run_is_no_obstacle(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    extra = f"web: {{listen: '127.0.0.1:{free_port()}', token: {TOKEN}}}\n"
    assert main(["teach", "lamp", "dim", "-c", config_of(tmp_path, extra)]) == 0
    assert "revision" in capfd.readouterr().out


def told_by_a_former_daemon(folder: Path, extra: str) -> str:
    """Run a daemon that tells two changes, end it, and return the id of the first."""
    config = lamp_config(folder, extra)
    camera, frames = Camera(), Show()
    daemon = Daemon(
        config,
        reload=lambda: config,
        environment=world_of({"camera": camera}),
        open_web=open_server,
    )
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        show(daemon, camera, frames, "on")
        show(daemon, camera, frames, "off")
        return await_events(daemon, 2)[0].id
    finally:
        daemon.request_stop()
        thread.join(LIMIT_S)


def test_an_event_of_a_former_run_can_be_taught_without_a_daemon(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    event = told_by_a_former_daemon(tmp_path, "explanations: {pictures: true}\n")
    path = str(tmp_path / "config.yaml")
    assert main(["teach", "lamp", "glowing", "-c", path, "--event", event[:8], "--json"]) == 0
    out, err = capfd.readouterr()
    assert "kept of the event" in err
    with GalleryStore.open(tmp_path / "gallery.db") as store:
        (reference,) = store.gallery("lamp").of_state("glowing")
        assert reference.reference_id == json.loads(out)["reference_id"]
        (like,) = [item for item in store.records(state="glowing")]
        assert like.metadata["from"] == f"event {event}"


def test_the_picture_of_an_event_needs_no_mask_any_more(tmp_path: Path) -> None:
    event = told_by_a_former_daemon(tmp_path, "explanations: {pictures: true}\n")
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text().replace("{roi:", "{mask: gone.png, roi:"))
    assert main(["teach", "lamp", "glowing", "-c", str(path), "--event", event]) == 0


def test_an_event_whose_picture_was_not_kept_is_told_as_that(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    event = told_by_a_former_daemon(tmp_path, "")
    path = str(tmp_path / "config.yaml")
    assert main(["teach", "lamp", "glowing", "-c", path, "--event", event]) == 1
    assert "explanations.pictures: true for the next one" in capfd.readouterr().err


def test_a_correction_against_sure_evidence_is_asked_for_first(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    event = told_by_a_former_daemon(tmp_path, "explanations: {pictures: true}\n")
    wrong = ["teach", "lamp", "off", "-c", str(tmp_path / "config.yaml"), "--event", event]
    assert main(wrong) == 1
    err = capfd.readouterr().err
    assert "the gallery is sure that this is on" in err
    assert "nothing was taught, --force does it" in err
    assert main([*wrong, "--force", "--json"]) == 0
    taught = json.loads(capfd.readouterr().out)
    assert taught["against_evidence"]["state"] == "on"
    with GalleryStore.open(tmp_path / "gallery.db") as store:
        record = store.record(taught["reference_id"])
        state, probability = record.metadata["against_evidence"].split()
        assert (state, float(probability) >= 0.95) == ("on", True)


def test_the_daemon_answers_what_the_gallery_is_sure_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    web = f"web: {{listen: '127.0.0.1:{port}', token: {TOKEN}}}\n"
    path = str(tmp_path / "config.yaml")
    with serving_lamp(tmp_path, web) as lamp:
        show(lamp.daemon, lamp.camera, lamp.frames, "on")
        (event,) = await_events(lamp.daemon, 1)
        assert main(["teach", "lamp", "off", "-c", path, "--event", event.id]) == 1
        assert "sure that this is on" in capfd.readouterr().err
        assert main(["teach", "lamp", "off", "-c", path, "--event", event.id, "--force"]) == 0
        assert "against the evidence: the gallery was sure of on" in capfd.readouterr().err
