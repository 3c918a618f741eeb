"""`edge-sim collect`: events, states and health of the devices of a site in one database."""

from __future__ import annotations

import argparse
import re
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli import collect_search
from edge_sim.cli.collect_options import (
    database_of,
    database_option,
    open_collection,
    place_options,
    vectors_of,
    vectors_option,
)
from edge_sim.cli.options import add_verb, positive, seconds
from edge_sim.cli.output import note, print_json, print_table, say
from edge_sim.cli.parser import UsageError

if TYPE_CHECKING:
    from edge_sim.fleet.collection import DeviceStatus

_DAY_S = 86_400.0
_MOST_DAYS = 1e6
_LONGEST_SITE = 200
_LAST_PORT = 65_535


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its own verbs."""
    parser = commands.add_parser(
        "collect",
        help="collect what the devices of a site publish, in PostgreSQL",
        description="Store events, states and health of all devices that publish to one broker. "
        "Needs the extra `collect`.",
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    run = add_verb(verbs, "run", _run, "collect until it is stopped")
    database_option(run)
    vectors_option(run)
    _broker_options(run)
    status = add_verb(verbs, "status", _status, "list the devices and their states, worst first")
    database_option(status)
    status.add_argument("--site", metavar="NAME", help="only this site")
    status.add_argument("--json", action="store_true", help="print the result as JSON")
    events = add_verb(verbs, "events", _events, "list the last events, the newest first")
    database_option(events)
    place_options(events)
    events.add_argument("--limit", type=positive, default=100, metavar="N", help="(default: 100)")
    events.add_argument("--json", action="store_true", help="print the result as JSON")
    counts = add_verb(verbs, "counts", _counts, "count the changes of state by day")
    database_option(counts)
    place_options(counts)
    counts.add_argument("--days", type=positive, default=30, metavar="N", help="(default: 30)")
    counts.add_argument("--json", action="store_true", help="print the result as JSON")
    keep = add_verb(verbs, "keep", _keep, "set for how long a site keeps what was collected")
    database_option(keep)
    vectors_option(keep)
    keep.add_argument("--site", metavar="NAME", required=True)
    keep.add_argument("--days", type=_days, metavar="N", help="events; without it for ever")
    keep.add_argument(
        "--picture-days", type=_days, metavar="N", help="pictures and vectors (default: --days)"
    )
    collect_search.register(verbs)


def _days(text: str) -> float:
    """Return a number of days, an hour at least.

    Raises:
        ArgumentTypeError: It is none; less would delete everything.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1.0 / 24.0 <= value < _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days, an hour (0.042) at least")
    return value


def _broker_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prefix", default="edge_sim", help="topic_prefix of the devices (default: edge_sim)"
    )
    parser.add_argument("--site", metavar="NAME", help="(default: last part of the prefix)")
    parser.add_argument(
        "--group", metavar="NAME", help="share the messages with others of it (default: take all)"
    )
    parser.add_argument(
        "--client-id", metavar="ID", help="the same after a restart (default: from the host's name)"
    )
    parser.add_argument("--host", default="localhost", help="broker (default: localhost)")
    parser.add_argument("--port", type=positive, metavar="N", help="(default: 1883, TLS 8883)")
    parser.add_argument("--username", metavar="NAME")
    parser.add_argument("--password-file", metavar="FILE", help="its first line is the password")
    parser.add_argument("--tls", action="store_true", help="encrypt, and check the broker")
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--{name}-file", metavar="FILE", help="PEM, with --tls")
    parser.add_argument(
        "--silent-after", type=seconds, default=180.0, metavar="S",
        help="a device that publishes nothing for so long is silent (default: 180)",
    )  # fmt: skip


def _run(args: argparse.Namespace) -> int:
    from edge_sim.fleet.collector import Collector, CollectorOptions
    from edge_sim.io.sinks.options import MqttOptions

    prefix = args.prefix.strip("/")
    broker = MqttOptions(
        host=args.host,
        port=args.port,
        username=args.username,
        password_file=args.password_file,
        tls=args.tls,
        ca_file=args.ca_file,
        cert_file=args.cert_file,
        key_file=args.key_file,
        topic_prefix=prefix,
        client_id=args.client_id or f"edge_sim-collect-{socket.gethostname()}",
    )
    broker.check()
    site = args.site or Path(prefix).name
    _check_names(site, args)
    options = CollectorOptions(
        broker, database_of(args, create=True), site, args.group,
        vectors=vectors_of(args), silent_after_s=max(args.silent_after, 1.0),
    )  # fmt: skip
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stopped.append(number))
    collector = Collector(options)
    note(f"collecting {prefix}/# as site {site}")
    collector.run(lambda: bool(stopped))
    say(f"{collector.stored} messages stored, {collector.rejected} rejected")
    return 0


def _check_names(site: str, args: argparse.Namespace) -> None:
    """Check what becomes part of a key of the collection, of an address or of a topic.

    Raises:
        UsageError: It cannot.
    """
    if "/" in site or len(site) > _LONGEST_SITE or not site.isprintable():
        raise UsageError(
            f"--site: {site[:40]!r} is no name: use up to {_LONGEST_SITE} letters, no /"
        )
    if args.group is not None and not re.fullmatch(r"[^/+#\0]{1,200}", args.group):
        raise UsageError(
            f"--group: {args.group[:40]!r} is no name: use letters, none of /, + and #"
        )
    if args.port is not None and args.port > _LAST_PORT:
        raise UsageError(f"--port: {args.port} is above {_LAST_PORT}")


def _status(args: argparse.Namespace) -> int:
    with open_collection(args) as collection:
        found = collection.status(args.site)
    if args.json:
        print_json({"schema": 1, "devices": found})
        return 0
    rows = [
        (item.site, item.device, _health(item), item.last_seen,
         ", ".join(f"{watch}: {state}" for watch, state in item.states.items()))
        for item in found
    ]  # fmt: skip
    if not rows:
        of_site = "" if args.site is None else f" of a site {args.site!r}"
        note(f"no device{of_site} has been heard of yet")
    print_table(("site", "device", "health", "last seen (UTC)", "states"), rows)
    return 0


def _health(item: DeviceStatus) -> str:
    return ", ".join(name.replace("_", " ") for name in item.problems) or "ok"


def _events(args: argparse.Namespace) -> int:
    with open_collection(args) as collection:
        found = collection.events(
            site=args.site, device=args.device, watch=args.watch, limit=args.limit
        )
    if args.json:
        print_json({"schema": 1, "events": found})
        return 0
    rows = [
        (item.event["at"], item.site, item.device, item.event.get("watch"), item.event["type"],
         item.event.get("after"))
        for item in found
    ]  # fmt: skip
    if not rows:
        note("no event of these is kept; `edge-sim collect status` names sites and devices")
        return 0
    print_table(("at (UTC)", "site", "device", "watch", "event", "state"), rows)
    return 0


def _counts(args: argparse.Namespace) -> int:
    from edge_sim.core.events import utc_text

    now_s = time.time()
    with open_collection(args) as collection:
        found = collection.counts(
            utc_text(max(now_s - args.days * _DAY_S, 0.0)), utc_text(now_s + _DAY_S),
            site=args.site, device=args.device, watch=args.watch,
        )  # fmt: skip
    if args.json:
        print_json({"schema": 1, "counts": found})
        return 0
    if not found:
        note(f"no change in {args.days:g} days; `edge-sim collect status` names sites and devices")
        return 0
    print_table(("day (UTC)", "state", "changes"), [(i.day, i.state, i.changes) for i in found])
    return 0


def _keep(args: argparse.Namespace) -> int:
    from edge_sim.fleet.schema import Retention

    pictures = args.days if args.picture_days is None else args.picture_days
    with open_collection(args) as collection:
        if args.site not in {item.site for item in collection.status(args.site)}:
            note(f"no device of a site {args.site!r} has been heard of yet; is the name right?")
        collection.keep(args.site, Retention(args.days, pictures))
        done = collection.forget_old()
    days = "for ever" if args.days is None else f"for {args.days:g} days"
    picture_days = "for ever" if pictures is None else f"for {pictures:g} days"
    say(f"{args.site} keeps events {days}, pictures and vectors {picture_days}")
    note(f"deleted: {done.events} events, {done.pictures} pictures, {done.partitions} whole months")
    return 0
