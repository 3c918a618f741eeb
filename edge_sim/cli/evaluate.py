"""`edge-sim evaluate`: figures on labelled pictures and on drawn ones, one kind each."""

from __future__ import annotations

import argparse

from edge_sim.cli import (
    evaluate_ablate,
    evaluate_compare,
    evaluate_events,
    evaluate_nuisances,
    evaluate_retrieval,
    evaluate_states,
)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser("evaluate", help="measure states, events or retrieval")
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    for kind in (
        evaluate_states,
        evaluate_events,
        evaluate_nuisances,
        evaluate_retrieval,
        evaluate_compare,
        evaluate_ablate,
    ):
        kind.register(kinds)
