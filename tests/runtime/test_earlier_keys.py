"""Keys of earlier configurations are read under their present names, and `check` lists them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.errors import ConfigError
from edge_sim.runtime.config import WatchConfig, load_config, parse_config
from tests.golden.test_kept_files import KEPT, SECRETS

HEAD = "sources: {c: {uri: 'synthetic:lamp'}}\nwatches:\n  gate:\n    problems: "


def test_the_configuration_of_0_1_0_means_what_it_meant(tmp_path: Path) -> None:
    config = load_config(KEPT / "config.yaml", SECRETS)
    problems = config.watches["lamp"].problems
    assert len(problems.report) == 7
    assert (problems.raise_after_s, problems.clear_after_s, problems.min_interval_s) == (1, 2, 10)
    for key, line in (("tell", 35), ("after_s", 36), ("clear_s", 37), ("again_s", 38)):
        found = [hint for hint in config.hints if f":{line}: watches.lamp.problems.{key} " in hint]
        assert len(found) == 1


def test_check_names_the_present_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    folder = Path(shutil.copytree(KEPT, tmp_path / "edge_sim"))
    main(["check", "--offline", "-c", str(folder / "config.yaml")])
    printed = capsys.readouterr().out
    assert "watches.lamp.problems.tell is named report now" in printed
    assert "watches.lamp.problems.after_s is named raise_after_s now" in printed


def test_present_keys_give_no_hint() -> None:
    assert parse_config(HEAD + "{report: [dark], raise_after_s: 1}\n").hints == ()


def test_both_names_of_a_key_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r":4: watches.gate.problems.tell: report is given"):
        parse_config(HEAD + "{tell: [dark], report: []}\n", where="test")


def test_an_earlier_key_is_checked_as_the_present_one() -> None:
    with pytest.raises(ConfigError, match=r"problems.min_interval_s: needs a number of at least 0"):
        parse_config(HEAD + "{again_s: -1}\n", where="test")


def test_the_default_watch_reports_as_before() -> None:
    problems = WatchConfig().problems
    assert (problems.raise_after_s, problems.clear_after_s, problems.min_interval_s) == (
        10.0,
        30.0,
        600.0,
    )
