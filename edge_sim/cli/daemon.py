"""`edge-sim daemon`: the device as a service."""

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

from edge_sim.core.files import is_dir, printable
from edge_sim.errors import ConfigError
from edge_sim.secrets import MaskingFormatter

if TYPE_CHECKING:
    from edge_sim.runtime.config import Config
    from edge_sim.runtime.daemon.access import (
        DeviceAccess,
        RunningUpdater,
        RunningWebServer,
        UpdateAccess,
    )


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
        help="run as a service: many cameras, outbox, web server, systemd",
        description="Watch the sources of a configuration until it is stopped. Lost cameras are "
        "reopened, "
        "events wait on disk until every sink has them, and a restart resumes where it stopped. "
        "SIGTERM ends it within two seconds; SIGHUP reads configuration and gallery again, and "
        "keeps the old ones if the new cannot be used.",
    )
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="base of the relative paths of outbox, state file, review folder, explanations and "
        "score log (default: the folder of the configuration)",
    )
    parser.set_defaults(handler=run_daemon, is_frame_loop=True)


def run_daemon(args: argparse.Namespace) -> int:
    """Run the daemon of `args.config` until it is stopped; return the exit code."""
    from edge_sim.core import resources
    from edge_sim.errors import SinkError
    from edge_sim.runtime.assembly import served_environment
    from edge_sim.runtime.daemon.daemon import Daemon
    from edge_sim.runtime.systemd import Notifier

    early_reloads = _note_reloads()
    resources.use_one_heap()
    set_up_logging(args.verbose, journal="JOURNAL_STREAM" in os.environ)

    def read() -> Config:
        return configured(args.config, args.state_dir)

    config = read()
    _give_way(config.daemon.nice)
    notifier = Notifier.from_environment(os.environ, os.getpid())
    daemon = Daemon(
        config,
        reload=read,
        notifier=notifier,
        open_web=_open_web,
        open_updater=_open_updater,
        config_path=args.config,
        environment=served_environment(),
    )
    _on_signals(daemon.request_stop, daemon.request_reload)
    if early_reloads:
        daemon.request_reload()
    daemon.run()
    if daemon.lost:
        raise SinkError(
            f"{daemon.lost} events are lost: the outbox could not be written, and a sink had not "
            f"got them; make room, or let the disk be written again"
        )
    return 0


def _open_web(config: Config, device: DeviceAccess) -> RunningWebServer:
    """Return the running web server of `config`.

    Raises:
        ConfigError: It cannot listen, or the extra is missing.
    """
    server: RunningWebServer = web_server_module().open_server(config, device)
    return server


def _open_updater(config: Config, access: UpdateAccess) -> RunningUpdater:
    """Return the running taker of packs, whose modules are imported only where it is configured.

    Raises:
        ConfigError: The extra is missing.
    """
    from edge_sim.fleet.updater import open_updater

    return open_updater(config, access)


def web_server_module() -> Any:
    """Return the module of the web server, imported only where a server is configured.

    Raises:
        ConfigError: The extra is missing.
    """
    try:
        from edge_sim.web import server
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"web.listen: {error.name} is missing; install it with: pip install 'edge_sim[web]'"
        ) from error
    return server


def configured(path: Path, state_dir: Path | None) -> Config:
    """Return the configuration, what the daemon writes anchored in `state_dir`.

    Raises:
        ConfigError: It cannot be used.
    """
    from edge_sim.cli.options import load

    config = load(path)
    if state_dir is None:
        return config
    base = state_dir.absolute()
    if not is_dir(base):
        raise ConfigError(
            f"--state-dir {printable(str(state_dir))}: there is no such folder; make it first"
        )
    web = msgspec.structs.replace(config.web, accounts=str(base / config.web.accounts))
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
        web=web,
    )


def _in_folder(section: Any, base: Path) -> Any:
    return msgspec.structs.replace(section, path=str(base / section.path))


def set_up_logging(verbosity: int, *, journal: bool) -> None:
    """Log to stderr: one line per change, levels as journald reads them, no passwords."""
    from edge_sim.runtime.log_tail import LOG_TAIL

    root = logging.getLogger()
    root.setLevel(logging.DEBUG if verbosity else logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(journal=journal))
    root.handlers[:] = [handler, LOG_TAIL]


class LineFormatter(MaskingFormatter):
    """One line per record; secrets and credentials in addresses are masked.

    Args:
        journal: Put the level in front as journald reads it, and leave the time to it.
    """

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)s %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = _CREDENTIALS.sub("***@", super().format(record))
        text = printable(text)
        return _JOURNAL_LEVELS.get(record.levelno, "<6>") + text if self._journal else text


def _give_way(nice: int) -> None:
    if not nice:
        return
    try:
        os.nice(nice)
    except OSError as error:
        logger.warning("daemon.nice: %s", error.strerror)


def _note_reloads() -> list[int]:
    """Return a list that grows with every SIGHUP from now on: unhandled it ends the process."""
    noted: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: noted.append(number))
    return noted


def _on_signals(stop: Callable[[], None], reload: Callable[[], None]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: stop())
    signal.signal(signal.SIGINT, lambda *_: stop())
    signal.signal(signal.SIGHUP, lambda *_: reload())
