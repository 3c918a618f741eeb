"""`edge-sim daemon`: what systemd runs."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from edge_sim.config import Config

logger = logging.getLogger(__name__)

_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+@")
# https://www.freedesktop.org/software/systemd/man/latest/sd-daemon.html
_JOURNAL_LEVELS = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
    logging.CRITICAL: "<2>",
}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "daemon",
        help="run all year: many cameras, outbox, health server, systemd",
        description="Watch the sources of a configuration for good. Lost cameras are found again, "
        "events wait on disk until every sink has them, and a restart goes on where it was. "
        "SIGTERM ends it within two seconds; SIGHUP reads configuration and gallery again, and "
        "keeps the old ones if the new cannot be used.",
    )
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="where relative paths of what is written start: outbox, state file, review folder, "
        "explanations, score log (the folder of the configuration)",
    )
    parser.set_defaults(handler=_daemon, look_by_look=True)


def _daemon(args: argparse.Namespace) -> int:
    from edge_sim import heap
    from edge_sim.daemon import Daemon
    from edge_sim.systemd import Notifier

    heap.share_one()
    set_up_logging(args.verbose, journal="JOURNAL_STREAM" in os.environ)

    def read() -> Config:
        return configured(args.config, args.state_dir)

    config = read()
    _give_way(config.daemon.nice)
    notifier = Notifier.from_environment(os.environ, os.getpid())
    daemon = Daemon(config, reload=read, notifier=notifier)
    _on_signals(daemon.request_stop, daemon.request_reload)
    daemon.run()
    return 0


def configured(path: Path, state_dir: Path | None) -> Config:
    """Return the configuration, what the daemon writes anchored in `state_dir`.

    Raises:
        ConfigError: It cannot be used.
    """
    from edge_sim.cli.configuration import load

    config = load(path)
    if state_dir is None:
        return config
    base = state_dir.absolute()
    outbox = msgspec.structs.replace(config.outbox, path=str(base / config.outbox.path))
    state = config.daemon.state
    daemon = config.daemon
    if state is not None:
        daemon = msgspec.structs.replace(daemon, state=str(base / state))
    review, explanations, score_log = (
        section if section.path is None else _in_folder(section, base)
        for section in (config.review, config.explanations, config.score_log)
    )
    return msgspec.structs.replace(
        config,
        outbox=outbox,
        daemon=daemon,
        review=review,
        explanations=explanations,
        score_log=score_log,
    )


def _in_folder(section: Any, base: Path) -> Any:
    return msgspec.structs.replace(section, path=str(base / section.path))


def set_up_logging(verbosity: int, *, journal: bool) -> None:
    """Log to stderr: one line per change, levels as journald reads them, no passwords."""
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if verbosity else logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(journal=journal))
    root.handlers[:] = [handler]


class LineFormatter(logging.Formatter):
    """One line per record; credentials in addresses are masked, whoever logs them.

    Args:
        journal: Put the level in front as journald reads it, and leave the time to it.
    """

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)s %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = _CREDENTIALS.sub("***@", super().format(record)).replace("\n", "\\n")
        return _JOURNAL_LEVELS.get(record.levelno, "<6>") + text if self._journal else text


def _give_way(nice: int) -> None:
    if not nice:
        return
    try:
        os.nice(nice)
    except OSError as error:
        logger.warning("daemon.nice: %s", error.strerror)


def _on_signals(stop: Callable[[], None], reload: Callable[[], None]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: stop())
    signal.signal(signal.SIGINT, lambda *_: stop())
    signal.signal(signal.SIGHUP, lambda *_: reload())
