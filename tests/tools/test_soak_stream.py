"""A real stream on loopback is broken in every way, and found again."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))
stream = importlib.import_module("soaking.stream")


@pytest.mark.parametrize("faults", [("cut", "garbled"), ("away", "silent")])
def test_a_stream_that_breaks_is_found_again_and_leaves_nothing_behind(
    tmp_path: Path, faults: tuple[str, ...]
) -> None:
    trial = stream.StreamTrial(tmp_path, 1, faults)
    trial.run(2, longest_hold_s=0.0)
    report = trial.report()
    assert report["problems"] == []
    assert set(report["faults"]) == set(faults)


def test_a_recovery_that_takes_too_long_and_a_leak_are_told(tmp_path: Path) -> None:
    trial = stream.StreamTrial(tmp_path, 1)
    trial.cycles = [stream.Cycle("cut", 0.1, 0.0, 1.0, 6.0, 20 + number, 7) for number in range(6)]
    trial.cycles.append(stream.Cycle("away", 0.1, 0.0, 9.0, 6.0, 30, 7))
    problems = trial.report()["problems"]
    trial._server.close()
    assert problems[0].startswith("late: Cycle(fault='away'")
    assert problems[1].startswith("descriptors grew")
    assert len(problems) == 2
