"""Every mistake on the command line ends in one line and the right exit code."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_sim import __version__
from edge_sim.cli.main import GROUPS, TerminalFormatter, build_parser, main


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edge-sim {__version__}\n"


VERBS = [group.replace("_", "-") for group in GROUPS]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help_text(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0
    assert verb in capsys.readouterr().out


def test_the_general_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert [verb for verb in VERBS if f"  {verb}" not in text] == []


def test_every_verb_within_a_verb_is_described_in_its_own_help() -> None:
    assert [parser.prog for parser in all_parsers(build_parser()) if not parser.description] == []


def all_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from all_parsers(child)


@pytest.mark.parametrize("arguments", [[], ["dance"], ["run"], ["schema", "nothing"]], ids=str)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: edge-sim" in capsys.readouterr().err


def test_a_bad_configuration_exits_with_78_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("watchs: {}\n")
    assert main(["run", "-c", str(path)]) == 78
    error = capsys.readouterr().err
    assert error.startswith(f"edge-sim: {path}:1: unknown key 'watchs' (did you mean 'watches'?)")
    assert error.count("\n") == 1


def test_a_reader_that_goes_away_ends_the_program_quietly() -> None:
    command = f"{sys.executable} -m edge_sim schema config | head -c 10"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_only_the_named_verb_is_imported() -> None:
    program = (
        "import sys; from edge_sim.cli.main import build_parser; build_parser(['schema']);"
        "print('edge_sim.cli.run' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False False"


def test_the_whole_parser_can_be_built() -> None:
    assert build_parser().prog == "edge-sim"


def test_a_name_that_a_terminal_would_obey_is_shown_and_not_obeyed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "-c", str(tmp_path / "a\x1b[2Jb.yaml")]) == 78
    err = capsys.readouterr().err
    assert "a\\x1b[2Jb.yaml" in err
    assert "\x1b" not in err


@pytest.mark.parametrize(
    "arguments",
    [["bench", "--rounds", "1"], ["demo", "--frames", "5"]],
    ids=lambda arguments: arguments[0],
)
def test_looking_at_frames_keeps_numpy_on_one_thread(arguments: list[str]) -> None:
    program = (
        "import os, sys\n"
        "from edge_sim.cli.main import main\n"
        "assert 'numpy' not in sys.modules\n"
        f"main({[*arguments, '--model', 'thumbnail']!r})\n"
        "import numpy\n"
        "numpy.ones((600, 600)) @ numpy.ones((600, 600))\n"
        "print('threads', len(os.listdir('/proc/self/task')))\n"
    )
    # OpenCV's own threads are not what this is about.
    environment = {**os.environ, "OPENCV_FOR_THREADS_NUM": "1"}
    environment.pop("OPENBLAS_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "threads 1", done.stderr


def test_no_log_line_commands_the_terminal() -> None:
    record = logging.LogRecord("a", logging.WARNING, "", 1, "no answer (\x1b[2J\r\x9b1m)", (), None)
    assert TerminalFormatter().format(record) == r"no answer (\x1b[2J\r\x9b1m)"
