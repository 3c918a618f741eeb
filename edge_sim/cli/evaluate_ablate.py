"""`edge-sim evaluate ablate`: what each part of the method is worth."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.evaluate_options import (
    add_draws,
    add_output,
    embedder_of,
    protocol_of,
    see_set,
    tracked,
)
from edge_sim.cli.evaluate_report import SCHEMA, WORST
from edge_sim.cli.output import print_json, print_table

if TYPE_CHECKING:
    from edge_sim.evaluation import SeenSet
    from edge_sim.evaluation.contest import Summary

_COLUMNS = {
    "balanced_accuracy": "accuracy",
    "worst_balanced_accuracy": WORST,
    "auroc": "auroc",
    "unknown_recall": "unknown_recall",
    "f1": "f1",
    "worst_f1": WORST,
    "false_per_1000": "false_per_1000",
    "false_in_still_clips": "false_if_still",
    "unknown_share": "unknown",
}


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the kind."""
    parser = kinds.add_parser(
        "ablate",
        help="the same figures with each part of scorer and decider turned off in turn",
        description="Every SET goes through `evaluate states`; the ones in true order, and every "
        "CLIP, through `evaluate events`: once with everything, then without one part at a time.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="SET")
    parser.add_argument("--clips", nargs="+", type=Path, default=[], metavar="CLIP")
    add_draws(parser)
    add_output(parser, plot=False)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from edge_sim.evaluation.ablation import DECIDING, ablations
    from edge_sim.evaluation.contest import Field, events_on, states_on, summarised

    protocol = protocol_of(args, open_set=True)
    embedder = embedder_of(args)
    sets, clips = (
        [see_set(args, path, embedder) for path in paths] for paths in (args.paths, args.clips)
    )
    field = Field(sets, clips, protocol)
    found: dict[str, Summary] = {}
    for part, method in ablations().items():
        states = () if part in DECIDING else states_on(field, method, track=_tracked, label=part)
        found[part] = summarised(states, events_on(field, method, track=_tracked, label=part))
    if args.json:
        parts = [{"part": part, "summary": summary} for part, summary in found.items()]
        report = {"schema": SCHEMA, "kind": "ablate", "model": args.model}
        print_json(report | {"parts": parts})
        return 0
    rows = [
        [part, *(getattr(summary, name) for name in _COLUMNS)] for part, summary in found.items()
    ]
    print_table(["part", *_COLUMNS.values()], rows)
    return 0


def _tracked(items: Sequence[SeenSet], label: str) -> Iterable[SeenSet]:
    return tracked(items, label)
