"""`edge-sim schema`: the JSON schema of what edge_sim writes."""

from __future__ import annotations

import argparse

from edge_sim.cli.output import print_json


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser("schema", help="print the JSON schema of events or configuration")
    parser.add_argument("what", choices=["event", "config"])
    parser.set_defaults(handler=_schema)


def _schema(args: argparse.Namespace) -> int:
    if args.what == "event":
        from edge_sim import events

        print_json(events.json_schema())
    else:
        import msgspec

        from edge_sim.config import Config

        print_json(msgspec.json.schema(Config))
    return 0
