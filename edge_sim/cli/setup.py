"""`edge-sim setup`: from nothing to the page on which the first watch is made."""

from __future__ import annotations

import argparse
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.output import note, say
from edge_sim.core.files import exists
from edge_sim.errors import ConfigError

if TYPE_CHECKING:
    from edge_sim.runtime.config import Config

LISTEN = "127.0.0.1:9713"
_CONNECT_S = 1.0


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "setup",
        help="start a device and print the address of the page on which watches are made",
        description="Make a configuration if there is none, let it serve the page, start the "
        "daemon in the foreground, and print the address of the page on which cameras are found "
        "and watches are made. Where a daemon answers at that address already, only print it.",
    )
    parser.add_argument(
        "-c", "--config", type=Path, default=Path("config.yaml"), metavar="FILE",
        help="configuration, made if it is not there (config.yaml)",
    )  # fmt: skip
    parser.add_argument(
        "--print-only", action="store_true", help="start nothing, print the address only"
    )
    parser.set_defaults(
        handler=_setup, is_frame_loop=True, state_dir=None, usage_error=parser.error
    )


def _setup(args: argparse.Namespace) -> int:
    from edge_sim.cli.daemon import run_daemon, web_server_module

    web_server_module()
    config = _served(args.config)
    say(f"{page_of(config)}#/new")
    if args.print_only or _is_answered(config):
        return 0
    note("press Ctrl-C to end; `edge-sim daemon` and `install-service` run it for good")
    return run_daemon(args)


def _served(path: Path) -> Config:
    """Return the configuration in `path`, made or changed so that the page is served.

    Raises:
        ConfigError: It cannot be used or written.
    """
    from edge_sim.web.config_file import ConfigFile
    from edge_sim.web.watch_edits import set_value

    is_new = not exists(path)
    file = ConfigFile(path)
    config = file.checked(file.text())
    if config.web.listen is not None:
        return config
    config = file.edit(set_value("web.listen", LISTEN)).config
    note(f"{path}: {'made' if is_new else f'web.listen is now {LISTEN}'}")
    return config


def page_of(config: Config) -> str:
    """Return the address of the page, as a browser on this machine takes it.

    Raises:
        ConfigError: None is served.
    """
    address = config.web.address
    if address is None:
        raise ConfigError("web.listen: no address is configured")
    host = "127.0.0.1" if address[0] in ("0.0.0.0", "::") else address[0]
    host = f"[{host}]" if ":" in host else host
    scheme = "http" if config.web.certificate is None else "https"
    return f"{scheme}://{host}:{address[1]}/"


def _is_answered(config: Config) -> bool:
    assert config.web.address is not None
    host, port = config.web.address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    with suppress(OSError), socket.create_connection((host, port), _CONNECT_S):
        return True
    return False
