"""Progress is drawn for people at a terminal and for nobody else."""

from __future__ import annotations

import io
import logging
import re
from contextlib import suppress

import pytest

from edge_sim.cli.daemon import LineFormatter
from edge_sim.cli.output import byte_progress, print_table, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bytes_are_drawn_on_a_terminal_up_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with byte_progress("fetch") as draw:
        draw(1_000_000, 4_000_000)
        draw(4_000_000, 4_000_000)
    first, last = terminal.getvalue().split("\r")[1:]
    assert first.startswith("fetch [#######-----------------------] 1.0/4.0 MB  ")
    assert last.startswith(f"fetch [{'#' * 30}] 4.0/4.0 MB")
    assert last.endswith("\n")


def test_an_unknown_size_is_drawn_without_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with byte_progress("fetch") as draw:
        draw(2_500_000, None)
    assert "fetch 2.5 MB" in terminal.getvalue()


def test_the_line_ends_before_an_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with suppress(ConnectionError), byte_progress("fetch") as draw:
        draw(1, 10)
        raise ConnectionError("gone")
    assert terminal.getvalue().endswith("\n")


def test_nothing_is_drawn_into_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    with byte_progress("fetch") as draw:
        draw(1, 10)
        draw(10, 10)
    assert file.getvalue() == ""


def test_no_control_character_reaches_the_log_or_a_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = "a\x1b[2J\r\x00\x07\x9bb\nc"
    record = logging.LogRecord("edge_sim", logging.INFO, "x.py", 1, "%s", (hostile,), None)
    for journal in (False, True):
        assert LineFormatter(journal=journal).format(record).isprintable()
    print_table(["name"], [[hostile]])
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


def test_progress_is_lines_with_rate_and_rest_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(progress(iter("abc"), 3, "index", every_s=0.0)) == ["a", "b", "c"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"index 2/3  \d+/s  \d+ s left", lines[1])


def test_progress_is_silent_without_a_terminal_unless_lines_are_wanted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(progress(iter("abc"), 3, "read")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
