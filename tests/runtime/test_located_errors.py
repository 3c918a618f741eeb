"""Mistakes that show when a configuration is used name the line, as those of its syntax do."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.errors import ConfigError, EdgeSimError
from edge_sim.runtime.assembly import build
from edge_sim.runtime.config import Config, parse_config
from tests.devices import make_device

HEAD = """\
model: {path: thumbnail}
sources:
  camera:
    uri: 'synthetic:lamp?seed=1&frames=20'
watches:
  lamp:
    interval_s: 1
"""
SINK = "sinks:\n  - kind: stdout\n"
CASES = {
    "mask": (HEAD + "    mask: hidden.png\n", 8, "watches.lamp.mask"),
    "state": (HEAD + "    states: ['on', 'off', broken]\n", 8, "watches.lamp.states"),
    "rule": (HEAD + "    rules: {max_duration_s: {broken: 3}}\n", 8, "watches.lamp.rules"),
    "scheme": (HEAD.replace("synthetic:lamp", "synthetical:lamp"), 4, "sources.camera"),
    "scene": (HEAD.replace("synthetic:lamp", "synthetic:lump"), 4, "sources.camera"),
    "file": (HEAD.replace("synthetic:lamp?seed=1&frames=20", "clip.mp4"), 4, "sources.camera"),
    "webhook": (HEAD + SINK + "  - kind: webhook\n    url: htp://x\n", 11, "sinks[1]"),
    "token": (
        HEAD + SINK + '  - kind: webhook\n    url: https://x/\n    token: "\u00fc"\n',
        12,
        "sinks[1]",
    ),
    "program": (HEAD + SINK + "  - kind: command\n    argv: [no_such_program]\n", 10, "sinks[1]"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("verb", ["run", "check"])
def test_a_mistake_in_a_value_names_file_and_line(
    verb: str, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, line, section = CASES[case]
    path = make_device(tmp_path, "lamp")
    path.write_text(text)
    assert main([verb, "-c", str(path)]) != 0
    out = capsys.readouterr()
    assert f"{path}:{line}: {section}" in out.out + out.err


def test_a_configuration_made_of_values_names_the_key(tmp_path: Path) -> None:
    text = HEAD + "    mask: hidden.png\n"
    make_device(tmp_path, "lamp")
    config = parse_config(text, folder=str(tmp_path))
    with pytest.raises(ConfigError, match=r"^configuration:8: watches\.lamp\.mask: "):
        build(config)
    assert str(Config().error("watches.lamp.mask", "no such file")) == "no such file"


def test_an_address_typed_on_the_command_line_has_no_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_device(tmp_path, "lamp")
    assert main(["run", "-c", str(path), "--source", "synthetic:lump"]) == 78
    assert f"{path}:" not in capsys.readouterr().err


def test_errors_that_are_no_mistake_of_the_file_pass_as_they_are() -> None:
    config = parse_config(HEAD)
    with (
        pytest.raises(EdgeSimError, match="gone"),
        config.located("sources.camera", kinds=(ConfigError,)),
    ):
        raise EdgeSimError("gone")
