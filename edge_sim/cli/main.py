"""Entry point: arguments, logging, exit codes. A user's mistake ends in one line.

Exit codes: 0 ok, 2 usage, 78 bad configuration (EX_CONFIG), 130 interrupted, 1 anything else.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from edge_sim.errors import ConfigError, EdgeSimError
from edge_sim.version import __version__

GROUPS = (
    "demo",
    "run",
    "daemon",
    "teach",
    "check",
    "gallery",
    "capture",
    "index",
    "search",
    "duplicates",
    "calibrate",
    "stats",
    "explain",
    "replay",
    "evaluate",
    "embed",
    "doctor",
    "bench",
    "model",
    "schema",
)
"""Modules of `edge_sim.cli` that add verbs, in the order of the help text."""
_MODULES = {"install_service": "daemon"}
"""Module of a verb whose name is another."""

_MAX_PIXELS = 64_000_000
EXIT_CONFIG = 78
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: Arguments without the program's name; the process's own by default.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        # Answered before any verb is imported: scripts ask for it often.
        print(f"edge-sim {__version__}")
        return 0
    parser = build_parser(arguments)
    args = parser.parse_args(arguments)
    _escape_what_is_no_text()
    _set_up_logging(args.verbose)
    if "look_by_look" in args:
        _keep_products_on_few_threads(getattr(args, "threads", 1))
    try:
        return int(args.handler(args))
    except EdgeSimError as error:
        messages = error.messages if isinstance(error, ConfigError) else (str(error),)
        for message in messages:
            print(f"edge-sim: {_one_line(message)}", file=sys.stderr)
        return EXIT_CONFIG if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as in `edge-sim ... | head`; not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None:
            raise  # not of a file that the user has named: a fault of ours, with its trace
        name = os.fsdecode(error.filename) if not isinstance(error.filename, int) else "a file"
        print(f"edge-sim: {_one_line(f'{name}: {error.strerror or error}')}", file=sys.stderr)
        return 1


def _one_line(text: str) -> str:
    """Return an error as one line, whatever a library or a file's name put into it.

    A name may hold what a terminal obeys, such as the escape that clears the screen.
    """
    words = " ".join(text.split())
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in words
    )


def build_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser; when `arguments` name a verb, only that verb's module is imported."""
    parser = argparse.ArgumentParser(
        prog="edge-sim",
        description="Tells the state of what a fixed camera watches, from a few pictures.",
    )
    parser.add_argument("--version", action="version", version=f"edge-sim {__version__}")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log more; twice: all")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    verbs = [word.replace("-", "_") for word in arguments if not word.startswith("-")]
    group = _MODULES.get(verbs[0], verbs[0]) if verbs else ""
    wanted = [group] if group in GROUPS else GROUPS
    for group in wanted:
        importlib.import_module(f"edge_sim.cli.{group}").register(commands)
    return parser


def _escape_what_is_no_text() -> None:
    """Print names of files that are no UTF-8 with escapes, as stderr does."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _keep_products_on_few_threads(threads: int) -> None:
    """Tell OpenBLAS before numpy loads it, which no verb has done yet.

    The products of a look take microseconds: a second thread has nothing to do but wait for them,
    and waits busily, for as much processor time again.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))


def _set_up_logging(verbosity: int) -> None:
    # OpenCV and FFmpeg write to stderr on their own; what matters of it reaches the user as an
    # error of ours. Read by cv2 when it is imported, which no verb has done yet.
    # The second fence behind the reading of headers, for kinds that no header reader knows.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(_MAX_PIXELS))
    os.environ.setdefault("OPENCV_LOG_LEVEL", "INFO" if verbosity > 1 else "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "32" if verbosity > 1 else "-8")
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s"
    )
