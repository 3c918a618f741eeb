"""Measure the figures with one part of scorer and decider off at a time.

    python tools/ablate.py SET... --clips CLIP...

Every SET is measured as by `edge-sim evaluate states`; the ones in true order, and every CLIP, as
by `edge-sim evaluate events`: once with everything, then without one part at a time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from comparing.ablation import DECIDING, ablations
from comparing.comparison import Field, Summary, events_on, states_on, summarised

from edge_sim.analysis.evaluation.datasets import EmbeddedSet
from edge_sim.cli.evaluate import (
    add_draws,
    add_output,
    embed_named_set,
    embedder_of,
    protocol_of,
    tracked,
)
from edge_sim.cli.output import print_json, print_table
from edge_sim.errors import EdgeSimError

SCHEMA = 1
_COLUMNS = {
    "balanced_accuracy": "accuracy",
    "worst_balanced_accuracy": "worst",
    "auroc": "auroc",
    "unknown_recall": "unknown_recall",
    "f1": "f1",
    "worst_f1": "worst",
    "false_per_1000": "false_per_1000",
    "false_in_still_clips": "false_if_still",
    "unknown_share": "unknown",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    args = _parser().parse_args(argv)
    try:
        found = measure(args)
    except EdgeSimError as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 1
    if args.json:
        parts = [{"part": part, "summary": summary} for part, summary in found.items()]
        print_json({"schema": SCHEMA, "kind": "ablate", "model": args.model, "parts": parts})
        return 0
    rows = [
        [part, *(getattr(summary, name) for name in _COLUMNS)] for part, summary in found.items()
    ]
    print_table(["part", *_COLUMNS.values()], rows)
    return 0


def measure(args: argparse.Namespace) -> dict[str, Summary]:
    """Return part that is off -> figures.

    Raises:
        DataError: A set cannot be evaluated.
    """
    protocol = protocol_of(args, open_set=True)
    embedder = embedder_of(args)
    sets, clips = (
        [embed_named_set(args, path, embedder) for path in paths]
        for paths in (args.paths, args.clips)
    )
    field = Field(sets, clips, protocol)
    found: dict[str, Summary] = {}
    for part, method in ablations().items():
        states = () if part in DECIDING else states_on(field, method, track=_tracked, label=part)
        found[part] = summarised(states, events_on(field, method, track=_tracked, label=part))
    return found


def _tracked(items: Sequence[EmbeddedSet], label: str) -> Iterable[EmbeddedSet]:
    return tracked(items, label)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path, metavar="SET")
    parser.add_argument("--clips", nargs="+", type=Path, default=[], metavar="CLIP")
    add_draws(parser)
    add_output(parser, plot=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
