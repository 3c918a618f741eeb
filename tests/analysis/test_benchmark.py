"""Timing is arithmetic on a clock that tests supply."""

from __future__ import annotations

import json

import pytest

from edge_sim.analysis.benchmark import Laps, SpeedRatio, interleaved, ratios_of, timings_of
from edge_sim.cli.main import main


class Clock:
    """Runs only when a case says how long it takes."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def taking(self, seconds: float) -> None:
        self.now_s += seconds


def test_cases_run_in_turn_and_the_warm_up_does_not_count() -> None:
    clock = Clock()
    order: list[str] = []

    def case(name: str, seconds: float) -> None:
        order.append(name)
        clock.taking(seconds)

    def slow_at_first(name: str, seconds: float) -> None:
        case(name, seconds if order[-1:] == [name] else 2 * seconds)

    cases = {"a": lambda: slow_at_first("a", 0.002), "b": lambda: slow_at_first("b", 0.004)}
    laps = interleaved(cases, 3, clock=clock)
    assert "".join(order) == "aabb" * 8
    assert [len(runs.first) for runs in laps.values()] == [3, 3]
    timings = timings_of(laps)
    assert {item.name: item.median_ms for item in timings} == pytest.approx({"a": 2.0, "b": 4.0})
    assert {item.name: item.first_ms for item in timings} == pytest.approx({"a": 4.0, "b": 8.0})


def test_a_ratio_is_the_median_over_rounds_so_that_drift_cancels() -> None:
    laps = {
        "own": Laps([8.0, 80.0, 24.0], [1.0, 10.0, 3.0]),
        "other": Laps([4.0, 40.0, 12.0], [2.0, 20.0, 6.0]),
    }
    (ratio,) = ratios_of(laps, [SpeedRatio("r", "own", "other", 0.5)])
    assert (ratio.ratio, ratio.first_ratio) == (0.5, 2.0)
    assert ratio.is_met
    (of_four,) = ratios_of(laps, [SpeedRatio("r", "own", "other", scale=4.0)])
    assert of_four.ratio == 0.125


def test_a_comparison_without_both_cases_is_left_out() -> None:
    assert ratios_of({"own": Laps([1.0], [1.0])}, [SpeedRatio("r", "own", "missing")]) == ()


def test_bench_prints_every_stage(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--model", "thumbnail", "--rounds", "2", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    stages = {item["name"] for item in found["timings"]}
    assert {"embed", "measure", "process", "process, gate shut"} <= stages
    assert found["machine"]["model"].startswith("thumbnail@")


def test_bench_needs_a_round(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "--model", "thumbnail", "--rounds", "0"])
    assert "'0' is not a whole number above 0" in capfd.readouterr().err
