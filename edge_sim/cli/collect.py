"""`edge-sim collect`: events, states and health of the devices of a site in one database."""

from __future__ import annotations

import argparse
import os
import signal
import socket
from pathlib import Path

from edge_sim.cli.options import add_verb, positive, seconds
from edge_sim.cli.output import note, print_json, print_table, say
from edge_sim.cli.parser import UsageError

_VARIABLE = "EDGE_SIM_DATABASE"


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
    _database_option(run)
    _broker_options(run)
    status = add_verb(verbs, "status", _status, "list the devices and their states, worst first")
    _database_option(status)
    status.add_argument("--site", metavar="NAME", help="only this site")
    status.add_argument("--json", action="store_true", help="print the result as JSON")
    events = add_verb(verbs, "events", _events, "list the last events, the newest first")
    _database_option(events)
    for name in ("site", "device", "watch"):
        events.add_argument(f"--{name}", metavar="NAME", help=f"only this {name}")
    events.add_argument("--limit", type=positive, default=100, metavar="N", help="(default: 100)")
    events.add_argument("--json", action="store_true", help="print the result as JSON")


def _database_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database",
        metavar="ADDRESS",
        help=f"PostgreSQL, as postgresql://user@host/name (default: ${_VARIABLE}, where the "
        "password is seen by nobody)",
    )


def _broker_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prefix", default="edge_sim", help="topic_prefix of the devices (default: edge_sim)"
    )
    parser.add_argument("--site", metavar="NAME", help="(default: last part of the prefix)")
    parser.add_argument("--group", default="collect", help="collectors that share the messages")
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


def _database(args: argparse.Namespace) -> str:
    address = args.database or os.environ.get(_VARIABLE)
    if not address:
        raise UsageError(f"name the database with --database, or in ${_VARIABLE}")
    return str(address)


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
    options = CollectorOptions(
        broker, _database(args), site, args.group, silent_after_s=max(args.silent_after, 1.0)
    )
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stopped.append(number))
    collector = Collector(options)
    note(f"collecting {prefix}/# as site {site}")
    collector.run(lambda: bool(stopped))
    say(f"{collector.stored} messages stored, {collector.rejected} rejected")
    return 0


def _status(args: argparse.Namespace) -> int:
    from edge_sim.fleet.collection import SiteCollection

    with SiteCollection(_database(args)) as collection:
        found = collection.status(args.site)
    if args.json:
        print_json({"schema": 1, "devices": found})
        return 0
    rows = [
        (item.site, item.device, _health(item.silent, item.available), item.last_seen,
         ", ".join(f"{watch}: {state}" for watch, state in item.states.items()))
        for item in found
    ]  # fmt: skip
    print_table(("site", "device", "health", "last seen (UTC)", "states"), rows)
    return 0


def _health(silent: bool, available: bool | None) -> str:
    if silent:
        return "silent"
    return "unknown" if available is None else "online" if available else "offline"


def _events(args: argparse.Namespace) -> int:
    from edge_sim.fleet.collection import SiteCollection

    with SiteCollection(_database(args)) as collection:
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
    print_table(("at (UTC)", "site", "device", "watch", "event", "state"), rows)
    return 0
