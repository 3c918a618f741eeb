"""Progress of a build of an index, and the event at its end."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.output import note
from edge_sim.core.files import printable

if TYPE_CHECKING:
    from edge_sim.search.rows import Info


def config_option(verb: argparse.ArgumentParser) -> None:
    """Add the option that names the configuration whose sinks get the event."""
    verb.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="send the event `index_ready` to the sinks of this configuration at the end",
    )


def check_config(args: argparse.Namespace) -> None:
    """Raise `ConfigError` now, not after hours, where the configuration cannot be used."""
    from edge_sim.cli.options import load

    args.loaded = None if args.config is None else load(args.config)


def send_ready(args: argparse.Namespace, found: Info, *, new: int, took_s: float) -> None:
    """Send `index_ready`; a sink that does not take it is a line on stderr, and no failure."""
    if args.loaded is None:
        return
    from edge_sim.core.events import IndexReady, event_id, utc_text
    from edge_sim.runtime.announcing import announce

    now_s = time.time()
    place = printable(found.path)
    event = IndexReady(
        id=event_id(args.loaded.device, "index_ready", place, repr(now_s)),
        device=args.loaded.device,
        source=printable(found.root),
        at=utc_text(now_s),
        index=place,
        pictures=found.pictures,
        new=new,
        model=found.model_id,
        kind=found.kind,
        took_s=round(took_s, 3),
    )
    for line in announce(args.loaded, event):
        note(f"index_ready was not delivered: {line}")
