"""The process keeps below its share of a core, and may still react at once."""

from __future__ import annotations

import pytest

from edge_sim.runtime.loop import Throttle


class Machine:
    """A clock, and CPU seconds that work uses up."""

    def __init__(self) -> None:
        self.now_s = self.used_s = 0.0

    def work(self, seconds: float) -> None:
        self.now_s += seconds
        self.used_s += seconds

    def throttle(self, share: float) -> Throttle:
        return Throttle(share, used=lambda: self.used_s, clock=lambda: self.now_s)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_in_the_long_run_the_share_is_kept(share: float) -> None:
    machine = Machine()
    throttle = machine.throttle(share)
    for _ in range(500):
        machine.work(0.04)
        while (rest_s := throttle.rest_s()) > 0.0:
            machine.now_s += rest_s
    assert machine.used_s / machine.now_s <= share * 1.1 + 0.01


def test_below_the_share_there_is_no_rest() -> None:
    machine = Machine()
    throttle = machine.throttle(0.5)
    for _ in range(50):
        machine.work(0.01)
        machine.now_s += 0.03
        assert throttle.rest_s() == 0.0


def test_after_a_quiet_time_a_burst_is_allowed_but_no_more_than_a_second() -> None:
    machine = Machine()
    throttle = machine.throttle(0.1)
    machine.now_s += 3600.0
    throttle.rest_s()
    machine.work(0.9)
    assert throttle.rest_s() == 0.0
    machine.work(0.9)
    assert throttle.rest_s() > 0.0


def test_a_rest_is_never_longer_than_a_second() -> None:
    machine = Machine()
    throttle = machine.throttle(0.01)
    machine.work(50.0)
    assert throttle.rest_s() == 1.0


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Throttle(0.0)
