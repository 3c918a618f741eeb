"""The runtimes' greeting is dropped; nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys

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


def test_without_a_stderr_nothing_is_done() -> None:
    program = "from edge_sim.embedders.banner import greeting_hidden\nwith greeting_hidden(): pass"
    command = ["bash", "-c", '"$0" -c "$1" 2>&-', sys.executable, program]
    assert subprocess.run(command, check=False).returncode == 0
