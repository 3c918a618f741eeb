"""Entry point: arguments, logging, exit codes. A user's mistake gives one line.

Exit codes: 0 ok, 2 usage, 78 bad configuration (EX_CONFIG), 130 interrupted, 1 anything else.
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from edge_sim.cli.parser import UsageError, VerbParser
from edge_sim.core.files import printable
from edge_sim.errors import ConfigError, EdgeSimError
from edge_sim.secrets import MaskingFormatter, mask_secrets
from edge_sim.version import __version__

GROUPS = (
    "demo",
    "run",
    "setup",
    "daemon",
    "install_service",
    "web",
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
    "compare",
    "embed",
    "doctor",
    "discover",
    "bench",
    "model",
    "pack",
    "collect",
    "schema",
)
"""Modules of `edge_sim.cli` that add verbs, in the order of the help text."""

_MAX_PIXELS = 64_000_000
EXIT_USAGE = 2
EXIT_CONFIG = 78
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
EXIT_INTERRUPTED = 130


class TerminalFormatter(MaskingFormatter):
    """Formatter of log lines without what a terminal obeys, as in the answer of a server."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines; a traceback keeps its own."""
        return "\n".join(map(printable, super().format(record).split("\n")))


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
    args = build_parser(arguments).parse_command(arguments)
    _escape_undecodable_names()
    _set_up_logging(args.verbose)
    if "is_frame_loop" in args:
        _limit_blas_threads(getattr(args, "threads", 1))
    try:
        code = int(args.handler(args))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as in `edge-sim ... | head`; not an error of ours.
        _discard_output()
        return 1
    except EdgeSimError as error:
        return _report(error)
    except Exception as error:  # noqa: BLE001 - the user gets one line, with -v the trace
        return _report_unexpected(error, with_trace=args.verbose > 0)
    return code


def _report(error: EdgeSimError) -> int:
    messages = error.messages if isinstance(error, ConfigError) else (str(error),)
    for message in messages:
        _print_error(message)
    if isinstance(error, UsageError):
        return EXIT_USAGE
    return EXIT_CONFIG if isinstance(error, ConfigError) else 1


def _report_unexpected(error: Exception, *, with_trace: bool) -> int:
    """Report an error that no verb has translated: the system's, or a fault of the program."""
    if with_trace:
        logging.getLogger(__name__).error("unexpected error", exc_info=error)
    if isinstance(error, MemoryError):
        _print_error("not enough memory")
    elif isinstance(error, OSError):
        name = error.filename
        place = "" if name is None or isinstance(name, int) else f"{os.fsdecode(name)}: "
        if error.errno in _FULL and not place:
            _discard_output()
            place = "cannot write: "
        _print_error(f"{place}{error.strerror or error}")
    elif isinstance(error, UnicodeEncodeError):
        _print_error(f"{error.object!r} is not UTF-8 text")
    else:
        _print_error(
            f"internal error: {type(error).__name__}: {error}; please report it with what "
            f"`edge-sim -v ...` prints"
        )
    return 1


def _print_error(message: str) -> None:
    # A name may hold what a terminal obeys, such as the escape that clears the screen.
    text = printable(mask_secrets(" ".join(message.split())))
    print(f"edge-sim: {text}", file=sys.stderr)


def _discard_output() -> None:
    """Send what is still buffered for stdout nowhere, so that the exit does not fail on it."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_parser(arguments: Sequence[str] = ()) -> VerbParser:
    """Return the parser; when `arguments` name a verb, only that verb's module is imported."""
    parser = VerbParser(
        prog="edge-sim",
        description="Report the state of what a fixed camera watches, by reference pictures.",
    )
    parser.add_argument("--version", action="version", version=f"edge-sim {__version__}")
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="log more; -vv logs everything"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    verbs = [word.replace("-", "_") for word in arguments if not word.startswith("-")]
    group = verbs[0] if verbs else ""
    wanted = [group] if group in GROUPS else GROUPS
    for group in wanted:
        importlib.import_module(f"edge_sim.cli.{group}").register(commands)
    return parser


def _escape_undecodable_names() -> None:
    """Print file names that are not UTF-8 with escapes, as stderr does."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _limit_blas_threads(threads: int) -> None:
    """Limit OpenBLAS before numpy loads it, which no verb has done yet.

    The matrix products of an observation take microseconds: a second thread only waits for them,
    and waits busily, for as much processor time again.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))


def _set_up_logging(verbosity: int) -> None:
    # cv2 reads these when it is imported, which no verb has done yet. OpenCV and FFmpeg write to
    # stderr on their own; what matters of it reaches the user as an error of ours. The pixel limit
    # guards the formats whose headers edge_sim does not read.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(_MAX_PIXELS))
    os.environ.setdefault("OPENCV_LOG_LEVEL", "INFO" if verbosity > 1 else "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "32" if verbosity > 1 else "-8")
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TerminalFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=level)
