"""`edge-sim schema`: the JSON schema of what edge_sim writes."""

from __future__ import annotations

import argparse
from typing import Any

from edge_sim.cli.output import print_json

DIALECT = "https://json-schema.org/draft/2020-12/schema"
IDS = "urn:edge-sim:schema:"
"""Start of the ids of the schemas; they name them, and are not addresses to fetch."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON schema of events, configuration, explanations or score logs",
        description="Print the JSON schema of something that edge_sim reads or writes.",
    )
    parser.add_argument("what", choices=["event", "config", "explanation", "replay", "score-log"])
    parser.set_defaults(handler=_schema)


def _schema(args: argparse.Namespace) -> int:
    from edge_sim import events
    from edge_sim.core.options import json_schema_of

    is_event = args.what == "event"
    schema = events.json_schema() if is_event else json_schema_of(_type_of(args.what))
    print_json({"$schema": DIALECT, "$id": f"{IDS}{args.what}", **schema})
    return 0


def _type_of(what: str) -> Any:
    if what == "explanation":
        from edge_sim.runtime.explanations import Explanation

        return Explanation
    if what == "replay":
        from edge_sim.analysis.replay_summary import ReplayResult

        return ReplayResult
    if what == "score-log":
        from edge_sim.runtime.score_log import DeciderLine, ScoreLine

        return ScoreLine | DeciderLine
    from edge_sim.runtime.config import Config

    return Config
