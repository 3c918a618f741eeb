"""The runtimes' greeting is dropped; nothing else is."""

from __future__ import annotations

import os

import pytest

from edge_sim.embedders.banner import GREETING, greeting_hidden


def test_the_greeting_is_dropped_and_the_rest_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with greeting_hidden():
        os.write(2, b"before\n" + GREETING + b"\nafter\n")
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "before\nafter\nlater\n"


def test_an_error_inside_passes_through_with_what_was_written(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        os.write(2, b"the reason\n")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"), greeting_hidden():
        fail()
    assert capfd.readouterr().err == "the reason\n"
