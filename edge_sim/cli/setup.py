"""`edge-sim setup`: from nothing to the page on which the first watch is made."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli.output import note, say
from edge_sim.core.files import exists
from edge_sim.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from edge_sim.runtime.config import Config

_SCORES: dict[str, object] = {"score_log.path": "scores.jsonl"}
"""Settings of a new configuration, without which the page has no past."""
_PICTURES: dict[str, object] = {"explanations.pictures": True, "review.path": "review"}
"""Settings of a new configuration that is to keep pictures of events and of uncertain frames."""
LISTEN = "127.0.0.1:9713"
_CONNECT_S = 1.0


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "setup",
        help="start a device and print the address of the page on which watches are made",
        description="Make a configuration if there is none, let it serve the page, start the "
        "daemon in the foreground, and print the address of the page on which watches are made. "
        "A new configuration gets a camera: that of --source, or one that is found. Where a daemon "
        "answers at that address already, only print it.",
    )
    parser.add_argument(
        "-c", "--config", type=Path, default=Path("config.yaml"), metavar="FILE",
        help="configuration, made if it is not there (config.yaml)",
    )  # fmt: skip
    parser.add_argument(
        "--source", metavar="URI",
        help="camera to add, as in `run`; without it the cameras that are found are offered",
    )  # fmt: skip
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help=f"address of the page (as configured, or {LISTEN})"
    )
    parser.add_argument(
        "--yes", action="store_true", help="ask nothing: take the first camera of this machine"
    )
    parser.add_argument(
        "--print-only", action="store_true", help="start nothing, print the address only"
    )
    parser.add_argument(
        "--keep-pictures",
        action="store_true",
        help="let a new configuration keep pictures of events and of uncertain frames on this "
        "device (explanations.pictures, review.path), to be explained and reviewed on the page",
    )
    parser.set_defaults(
        handler=_setup, is_frame_loop=True, state_dir=None, usage_error=parser.error
    )


def _setup(args: argparse.Namespace) -> int:
    from edge_sim.cli.daemon import run_daemon, web_server_module

    web_server_module()
    config = _served(args.config, args.listen, keep_pictures=args.keep_pictures)
    if args.source is not None or not config.sources:
        config = _with_camera(args, config)
    say(f"{page_of(config)}{'' if config.watches else '#/new'}")
    if args.print_only or _is_answered(config):
        return 0
    note("press Ctrl-C to end; `edge-sim daemon` and `install-service` run it for good")
    return run_daemon(args)


def _served(path: Path, listen: str | None, *, keep_pictures: bool) -> Config:
    """Return the configuration in `path`, made or changed so that the page is served.

    Raises:
        ConfigError: It cannot be used or written.
    """
    from edge_sim.web.config_file import ConfigFile
    from edge_sim.web.watch_edits import set_value

    is_new = not exists(path)
    if keep_pictures and not is_new:
        raise ConfigError(
            f"{path} exists; set explanations.pictures: true and review.path: review in it, and "
            f"leave out --keep-pictures"
        )
    file = ConfigFile(path)
    config = file.checked(file.text())
    if config.web.listen is not None and listen in (None, config.web.listen):
        return config
    values: dict[str, object] = {"web.listen": listen or LISTEN}
    if is_new:
        values |= {**_SCORES, **(_PICTURES if keep_pictures else {})}

    def edit(table: MutableMapping[str, Any]) -> None:
        for key, value in values.items():
            set_value(key, value)(table)

    config = file.edit(edit).config
    note(f"{path}: {'made' if is_new else f'web.listen is now {config.web.listen}'}")
    return config


def _with_camera(args: argparse.Namespace, config: Config) -> Config:
    """Return the configuration with the camera that was named or chosen, if one was.

    Raises:
        ConfigError: It cannot be written, or the camera's address cannot be used.
    """
    from edge_sim.web.config_file import ConfigFile
    from edge_sim.web.watch_edits import NewSource, added_source

    uri = args.source or _chosen_camera(args)
    if uri is None:
        return config
    if any(source.uri == uri for source in config.sources.values()):
        note(f"{args.config}: the camera is there already")
        return config
    config = ConfigFile(args.config).edit(added_source(NewSource(uri=uri))).config
    note(f"{args.config}: the camera was added")
    return config


def _chosen_camera(args: argparse.Namespace) -> str | None:
    """Return the address of a camera that was found and chosen; None leaves it to the page."""
    from edge_sim.io.sources.cameras import list_cameras

    found = [(camera.path, camera.label or camera.device) for camera in list_cameras()]
    if args.yes:
        if not found:
            note("no camera of this machine was found; --source URI names one of the network")
        return found[0][0] if found else None
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    found += _network_cameras()
    for number, (uri, label) in enumerate(found, 1):
        note(f"{number:3}  {uri}  {label}")
    which = f"number of the camera (1 to {len(found)}), or its" if found else "camera: its"
    note(f"{which} address (rtsp://..., /dev/...); Enter leaves it to the page")
    answer = sys.stdin.readline().strip()
    if answer.isdecimal() and 1 <= int(answer) <= len(found):
        return found[int(answer) - 1][0]
    if answer.isdecimal():
        raise ConfigError(f"there is no camera {answer} in the list")
    return answer or None


def _network_cameras() -> list[tuple[str, str]]:
    from edge_sim.io.sources.discovery import discover

    note("looking for cameras of the network for two seconds ...")
    try:
        cameras = discover(None, wait_s=2.0)
    except SourceError as error:
        note(str(error))
        return []
    return [(uri, camera.name) for camera in cameras for uri in camera.streams]


def page_of(config: Config) -> str:
    """Return the address of the page, as a browser on this machine takes it.

    Raises:
        ConfigError: None is served.
    """
    address = config.web.local_address
    if address is None:
        raise ConfigError("web.listen: no address is configured")
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    scheme = "http" if config.web.certificate is None else "https"
    return f"{scheme}://{host}:{address[1]}/"


def _is_answered(config: Config) -> bool:
    address = config.web.local_address
    assert address is not None
    with suppress(OSError), socket.create_connection(address, _CONNECT_S):
        return True
    return False
