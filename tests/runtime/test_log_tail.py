"""The last lines of the log are kept, few, one line each, and without secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from edge_sim.runtime.log_tail import LogTail
from edge_sim.secrets import forget_secrets, register_secret


@pytest.fixture
def tail() -> Iterator[LogTail]:
    tail = LogTail(most=3)
    logger = logging.getLogger("edge_sim.test_log_tail")
    logger.setLevel(logging.INFO)
    logger.addHandler(tail)
    yield tail
    logger.removeHandler(tail)
    forget_secrets()


LOGGER = logging.getLogger("edge_sim.test_log_tail")


def test_the_newest_lines_come_first_and_old_ones_go(tail: LogTail) -> None:
    for number in range(5):
        LOGGER.info("line %d", number)
    assert [line.text for line in tail.lines()] == ["line 4", "line 3", "line 2"]
    assert [line.text for line in tail.lines(1)] == ["line 4"]
    assert tail.lines()[0].level == "info"
    assert tail.lines()[0].at.endswith("Z")


def test_no_line_shows_a_secret_or_runs_on(tail: LogTail) -> None:
    register_secret("hunter-two")
    LOGGER.warning("login with hunter-two at rtsp://me:other@host/1\nsecond line \x1b[2J")
    (line,) = tail.lines()
    assert line.text == "login with *** at rtsp://***@host/1"
    LOGGER.info("x" * 5000)
    assert len(tail.lines()[0].text) <= 1000


def test_a_record_that_cannot_be_formatted_breaks_nothing(
    tail: LogTail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    LOGGER.info("%d", "no number")
    assert tail.lines() == ()
