"""`install-service` writes what it says, and never over a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_sim.cli.daemon import CONFIG_TEXT, config_text
from edge_sim.cli.main import main
from edge_sim.core.resources import config_path
from edge_sim.runtime.config import parse_config

PROGRAM = ["--program", "/usr/local/bin/edge-sim"]


def install(root: Path, *more: str) -> int:
    return main(["install-service", "--root", str(root), *PROGRAM, *more])


def test_a_dry_run_prints_everything_and_writes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert install(tmp_path, "--dry-run") == 0
    out, err = capfd.readouterr()
    assert "ExecStart=/usr/local/bin/edge-sim daemon -c /etc/edge_sim/config.yaml" in out
    assert "systemctl enable --now edge_sim" in err
    assert str(config_path("default.yaml")) in err
    assert list(tmp_path.iterdir()) == []


def test_it_writes_unit_user_and_configuration_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert install(tmp_path, "--device", "/dev/dma_heap") == 0
    out = capfd.readouterr().out
    assert out.count("wrote ") == 3
    unit = (tmp_path / "etc/systemd/system/edge_sim.service").read_text()
    assert "DeviceAllow=/dev/dma_heap rw" in unit
    assert (tmp_path / "etc/sysusers.d/edge_sim.conf").read_text().startswith("u edge_sim ")
    assert install(tmp_path, "--device", "/dev/dma_heap") == 0
    assert capfd.readouterr().out.count("kept ") == 3


def test_a_configuration_is_never_written_over(tmp_path: Path) -> None:
    config = tmp_path / "etc/edge_sim/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("device: mine\n")
    assert install(tmp_path) == 0
    assert config.read_text() == "device: mine\n"


def test_the_configuration_that_it_writes_is_valid() -> None:
    config = parse_config(CONFIG_TEXT, where="test")
    assert config.web.address == ("127.0.0.1", 9713)
    assert config.gallery.path == "/var/lib/edge_sim/gallery.db"


def test_without_the_extra_it_listens_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_text() == CONFIG_TEXT
    monkeypatch.setattr("edge_sim.cli.daemon.find_spec", lambda name: None)
    config = parse_config(config_text(), where="test")
    assert config.web.address is None
    assert config.gallery.path == "/var/lib/edge_sim/gallery.db"


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
