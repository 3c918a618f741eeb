"""From nothing to the address of the page, and what is there is kept."""

from __future__ import annotations

import io
import socket
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra `web` is not installed")

from edge_sim.cli.main import main
from edge_sim.cli.setup import page_of
from edge_sim.errors import ConfigError
from edge_sim.io.sources.cameras import Camera
from edge_sim.runtime.config import load_config, parse_config


def test_a_configuration_is_made_and_the_address_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    assert main(["setup", "-c", str(path), "--print-only"]) == 0
    assert capsys.readouterr().out == "http://127.0.0.1:9713/#/new\n"
    assert load_config(path).web.listen == "127.0.0.1:9713"


def test_what_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("# Mine.\ndevice: shed\n")
    assert main(["setup", "-c", str(path), "--print-only"]) == 0
    assert path.read_text() == "# Mine.\ndevice: shed\nweb:\n  listen: 127.0.0.1:9713\n"
    path.write_text("web: {listen: '127.0.0.1:9999'}\n")
    assert main(["setup", "-c", str(path), "--print-only"]) == 0
    assert path.read_text() == "web: {listen: '127.0.0.1:9999'}\n"
    assert "http://127.0.0.1:9999/#/new" in capsys.readouterr().out


def test_a_camera_that_is_named_is_added_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    arguments = ["setup", "-c", str(path), "--print-only", "--source", "synthetic:bowl"]
    assert main([*arguments, "--listen", "127.0.0.1:9800"]) == 0
    assert capsys.readouterr().out == "http://127.0.0.1:9800/#/new\n"
    assert main(arguments) == 0
    assert "is there already" in capsys.readouterr().err
    assert [source.uri for source in load_config(path).sources.values()] == ["synthetic:bowl"]


@pytest.mark.parametrize("answer", ["1", "/dev/video7", "", "9999"])
def test_the_cameras_that_are_found_are_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    found = (Camera("/dev/v4l/by-id/usb-cam", "/dev/video0", "Cam"),)
    monkeypatch.setattr("edge_sim.io.sources.cameras.list_cameras", lambda: found)
    monkeypatch.setattr("edge_sim.io.sources.discovery.discover", lambda login, wait_s: ())
    terminal = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    path = tmp_path / "config.yaml"
    code = main(["setup", "-c", str(path), "--print-only"])
    if answer == "9999":
        assert code == 78
        return
    expected = {"1": ["/dev/v4l/by-id/usb-cam"], "/dev/video7": ["/dev/video7"], "": []}
    assert [source.uri for source in load_config(path).sources.values()] == expected[answer]


def test_with_yes_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = (Camera("/dev/video0", "/dev/video0", ""),)
    monkeypatch.setattr("edge_sim.io.sources.cameras.list_cameras", lambda: found)
    path = tmp_path / "config.yaml"
    assert main(["setup", "-c", str(path), "--print-only", "--yes"]) == 0
    assert [source.uri for source in load_config(path).sources.values()] == ["/dev/video0"]


def test_a_daemon_that_answers_is_not_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    with closing(socket.create_server(("127.0.0.1", 0))) as answering:
        path.write_text(f"web: {{listen: '127.0.0.1:{answering.getsockname()[1]}'}}\n")
        assert main(["setup", "-c", str(path)]) == 0
    assert capsys.readouterr().out.endswith("/#/new\n")


def test_a_broken_configuration_is_an_error_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("device: a\nwatchs: {}\n")
    assert main(["setup", "-c", str(path)]) == 78
    assert "config.yaml:2: unknown key 'watchs'" in capsys.readouterr().err
    assert main(["setup", "-c", str(tmp_path / "no" / "config.yaml")]) == 78
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("web", "page"),
    [
        ("listen: '0.0.0.0:80', token: 0123456789abcdef", "http://127.0.0.1:80/"),
        ("listen: '[::]:80', token: 0123456789abcdef", "http://[::1]:80/"),
        ("listen: '[::1]:81'", "http://[::1]:81/"),
        ("listen: 'shed.local:82', certificate: a, key: b", "https://shed.local:82/"),
    ],
)
def test_the_address_is_one_that_a_browser_takes(web: str, page: str) -> None:
    assert page_of(parse_config(f"web: {{{web}}}\n")) == page


def test_without_a_server_there_is_no_address() -> None:
    with pytest.raises(ConfigError, match=r"web\.listen"):
        page_of(parse_config(""))


def test_a_new_configuration_keeps_scores_and_pictures_only_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = tmp_path / "config.yaml", tmp_path / "other.yaml"
    assert main(["setup", "-c", str(path), "--print-only"]) == 0
    config = load_config(path)
    assert config.score_log.path == "scores.jsonl"
    assert (config.explanations.pictures, config.review.path) == (False, None)
    assert main(["setup", "-c", str(other), "--print-only", "--keep-pictures"]) == 0
    config = load_config(other)
    assert (config.explanations.pictures, config.review.path) == (True, "review")
    before = path.read_text()
    assert main(["setup", "-c", str(path), "--print-only", "--keep-pictures"]) == 78
    assert "explanations.pictures: true" in capsys.readouterr().err
    assert path.read_text() == before
