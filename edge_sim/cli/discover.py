"""`edge-sim discover`: the cameras of this machine and of the local network."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

import msgspec

from edge_sim.cli.options import seconds
from edge_sim.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from edge_sim.io.sources.cameras import Camera
    from edge_sim.io.sources.discovery import CameraLogin, NetworkCamera


PASSWORD_VARIABLE = "EDGE_SIM_CAMERA_PASSWORD"


class Cameras(msgspec.Struct, frozen=True):
    """Cameras that were found; `error` is the reason why the network was not searched."""

    local: tuple[Camera, ...]
    network: tuple[NetworkCamera, ...]
    error: str | None = None
    schema: int = 1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "discover",
        help="list the cameras of this machine and of the local network",
        description="List video devices by their durable paths, and the network cameras that "
        "answer to WS-Discovery (ONVIF) with their stream addresses. A camera that tells them to "
        "its users only wants --user; its password is taken from the environment variable "
        f"{PASSWORD_VARIABLE}, so that no list of processes shows it.",
    )
    parser.add_argument("--user", metavar="NAME", help="user of the network cameras")
    parser.add_argument(
        "--wait", type=seconds, default=2.0, metavar="SECONDS", help="for answers (2)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=_discover, usage_error=parser.error)


def _discover(args: argparse.Namespace) -> int:
    from edge_sim.errors import SourceError
    from edge_sim.io.sources.cameras import list_cameras
    from edge_sim.io.sources.discovery import discover

    network: tuple[NetworkCamera, ...] = ()
    error = None
    try:
        network = discover(_login(args), wait_s=args.wait)
    except SourceError as fault:
        error = str(fault)
    found = Cameras(list_cameras(), network, error)
    if args.json:
        print_json(found)
    else:
        _print(found)
    return 0 if found.local or found.network else 1


def _login(args: argparse.Namespace) -> CameraLogin | None:
    if args.user is None:
        return None
    from edge_sim.io.sources.discovery import CameraLogin

    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None:
        args.usage_error(f"--user needs the password in the environment: {PASSWORD_VARIABLE}=...")
    return CameraLogin(args.user, password or "")


def _print(found: Cameras) -> None:
    rows = [(camera.path, camera.label or "-", camera.device) for camera in found.local]
    for item in found.network:
        about = item.name or item.address
        rows += [(uri, about, "") for uri in item.streams]
        if item.error is not None:
            rows.append((item.address, about, item.error))
    if rows:
        print_table(["uri", "name", ""], rows)
    else:
        note("no camera was found; the address of a network camera stands in its manual or its app")
    if found.error is not None:
        note(found.error)
