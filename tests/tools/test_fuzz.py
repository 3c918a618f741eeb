"""The fuzzing tool finds what it is there to find, and the targets withstand a short run of it."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))
fuzz = importlib.import_module("fuzz")
trial = importlib.import_module("fuzzing.trial")
archives = importlib.import_module("fuzzing.archives")


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_no_input_gives_a_traceback_a_hang_or_a_stray_file(target: str, tmp_path: Path) -> None:
    report = fuzz.report_of(target, tmp_path / "fuzz", 60, 7)
    assert report["failures"] == []
    assert report["inputs"] >= 60
    assert len(report["outcomes"]) >= 2, "inputs of one kind prove little"


def test_an_input_that_breaks_a_target_is_found_and_told() -> None:
    def once(number: int) -> str:
        return str(1 // (number - 3))

    tally = trial.feed(st.integers(0, 5), once, count=50, seed_of_all=1)
    assert "ZeroDivisionError" in tally.failures[0]
    assert "value=3" in tally.failures[0]


def test_an_input_that_never_ends_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "BUSY_S", 0.05)

    def once(number: int) -> str:
        while number == 3:
            pass
        return "done"

    tally = trial.feed(st.integers(0, 5), once, count=20, seed_of_all=1)
    assert "no answer within" in tally.failures[0]


def test_stray_files_and_tracebacks_in_logs_are_found(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.mkdir()
    with trial.watched(device) as found:
        (device / "fine").touch()
        (tmp_path / "stray").touch()
        try:
            raise ValueError("x")
        except ValueError:
            logging.getLogger("edge_sim").exception("broke")
    assert found[0] == "logged with a traceback: broke"
    assert found[1].endswith("stray")


def test_the_traps_are_in_the_zips(tmp_path: Path) -> None:
    entry = archives.Entry(f"{archives.OUTSIDE}/x.png", b"x")
    raw = archives.packed(archives.Parcel("in.zip", (entry,)), tmp_path)
    assert str(tmp_path).encode() in raw
