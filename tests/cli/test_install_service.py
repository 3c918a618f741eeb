"""`install-service` writes what it says, and never over a configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_sim.cli.install_service import CONFIG_TEXT, _put
from edge_sim.cli.main import main
from edge_sim.cli.parser import UsageError
from edge_sim.errors import ConfigError
from edge_sim.runtime.config import parse_config
from edge_sim.runtime.service_files import NamedFile, copy_file

ENROLLED = Path(__file__).parents[1] / "golden" / "v0.1.0" / "gallery.db"
PROGRAM = ["--program", "/usr/local/bin/edge-sim"]


def install(root: Path, *more: str) -> int:
    return main(["install-service", "--root", str(root), *PROGRAM, *more])


def test_a_dry_run_prints_everything_and_writes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert install(tmp_path, "--dry-run") == 0
    out = capfd.readouterr().out
    assert "ExecStart=/usr/local/bin/edge-sim daemon -c /var/lib/edge_sim/config.yaml" in out
    assert f"would make the folder {tmp_path}/var/lib/edge_sim" in out
    assert "listen: 127.0.0.1:9713" in out
    assert list(tmp_path.iterdir()) == []


def test_it_writes_unit_user_and_configuration_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert install(tmp_path, "--device", "/dev/dma_heap") == 0
    assert capfd.readouterr().out.count("write ") == 4
    unit = (tmp_path / "etc/systemd/system/edge_sim.service").read_text()
    assert "DeviceAllow=/dev/dma_heap rw" in unit
    assert (tmp_path / "etc/sysusers.d/edge_sim.conf").read_text().startswith("u edge_sim ")
    assert (tmp_path / "etc/edge_sim/secrets.env").stat().st_mode & 0o777 == 0o600
    before = contents(tmp_path)
    assert install(tmp_path, "--device", "/dev/dma_heap") == 0
    assert "keep " in capfd.readouterr().out
    assert contents(tmp_path) == before


def test_what_is_left_to_do_is_a_line_each(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert install(tmp_path) == 0
    lines = capfd.readouterr().err.splitlines()
    assert lines[-1] == "the log: journalctl -u edge_sim -f"
    assert not [line for line in lines if "\\n" in line]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_configuration_is_copied_with_what_it_names(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "masks").mkdir(parents=True)
    shutil.copy(ENROLLED, mine / "gallery.db")
    (mine / "masks" / "lamp.png").write_bytes(b"picture")
    (mine / "config.yaml").write_text(
        "# Mine.\nsources: {yard: {uri: 'rtsp://u:${CAMERA}@10.0.0.2/'}}\n"
        "watches: {lamp: {states: ['on', 'off'], mask: masks/lamp.png}}\n"
    )
    root = tmp_path / "root"
    assert install(root, "--from", str(mine / "config.yaml")) == 0
    state = root / "var/lib/edge_sim"
    for name in ("config.yaml", "masks/lamp.png"):
        assert (state / name).read_bytes() == (mine / name).read_bytes()
    assert sorted(path.name for path in state.iterdir()) == ["config.yaml", "gallery.db", "masks"]
    assert install(root, "--from", str(mine / "config.yaml")) == 78


def test_a_file_that_the_service_cannot_read_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mask = tmp_path / "mask.png"
    mask.write_bytes(b"")
    config = tmp_path / "config.yaml"
    config.write_text(f"sources: {{a: {{uri: /dev/video0}}}}\nwatches: {{b: {{mask: {mask}}}}}\n")
    assert install(tmp_path / "root", "--from", str(config)) == 78
    assert "watches.b.mask: the service cannot read" in capfd.readouterr().err


def test_what_was_installed_is_removed_and_what_was_made_is_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert install(tmp_path) == 0
    assert install(tmp_path, "--uninstall") == 0
    assert not (tmp_path / "etc/systemd/system/edge_sim.service").exists()
    assert (tmp_path / "var/lib/edge_sim/config.yaml").exists()
    assert install(tmp_path, "--uninstall", "--purge") == 0
    assert contents(tmp_path) == {}
    assert "no service is installed" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [["--purge"], ["--uninstall", "--from", "a.yaml"]])
def test_flags_that_contradict_are_a_usage_error(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises((SystemExit, UsageError)):
        raise SystemExit(install(tmp_path, *arguments))
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_is_never_written_over(tmp_path: Path) -> None:
    config = tmp_path / "etc/edge_sim/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("device: mine\n")
    assert install(tmp_path) == 0
    unit = (tmp_path / "etc/systemd/system/edge_sim.service").read_text()
    assert "-c /etc/edge_sim/config.yaml" in unit
    assert config.read_text() == "device: mine\n"


def test_the_configuration_that_it_writes_is_valid() -> None:
    config = parse_config(CONFIG_TEXT, where="test")
    assert config.web.address == ("127.0.0.1", 9713)
    assert config.gallery.path == "/var/lib/edge_sim/gallery.db"


def test_without_its_extra_no_page_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise ConfigError("web.listen: uvicorn is missing")

    monkeypatch.setattr("edge_sim.cli.daemon.web_server_module", missing)
    monkeypatch.setattr(
        "edge_sim.cli.install_service._default_config", lambda root: tmp_path / "config.yaml"
    )
    assert main(["install-service", "--dry-run"]) == 78
    assert "uvicorn is missing; or name a configuration with --from" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--user", "no such user"], "is no user name"),
        (["--device", "/etc/shadow"], "is no device below /dev"),
        (["-c", "relative.yaml"], "absolute path"),
        (["-c", "/etc/a b.yaml"], "absolute path"),
        (["-c", "/etc/a\nExecStartPre=/bin/sh"], "absolute path"),
    ],
)
def test_what_would_break_the_unit_is_refused(
    tmp_path: Path, arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert install(tmp_path, *arguments) == 78
    assert message in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_root_follows_no_link_that_the_service_left_in_its_folder(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / ".config.yaml.new").symlink_to(victim)
    _put(folder / "config.yaml", "device: shed\n", 0o640)
    assert victim.read_text() == "as it was"
    assert (folder / "config.yaml").read_text() == "device: shed\n"
    assert (folder / "config.yaml").stat().st_mode & 0o777 == 0o640
    mask = tmp_path / "mask.png"
    mask.write_bytes(b"picture")
    (folder / "mask.png").symlink_to(tmp_path / "nothing-yet")
    with pytest.raises(ConfigError, match="cannot write"):
        copy_file(NamedFile("watches.w.mask", "mask.png", mask), folder)
    assert not (tmp_path / "nothing-yet").exists()
