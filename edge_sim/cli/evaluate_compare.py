"""`edge-sim evaluate compare`: edge_sim beside what one would take instead."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.evaluate_options import (
    DETECTORS,
    STATE_METHODS,
    add_draws,
    add_output,
    embedder_of,
    protocol_of,
    see_set,
    tracked,
)
from edge_sim.cli.evaluate_report import SCHEMA, WORST
from edge_sim.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from edge_sim.evaluation import SeenSet
    from edge_sim.evaluation.contest import Standing

_COLUMNS = (
    "balanced_accuracy",
    "worst_balanced_accuracy",
    "auroc",
    "unknown_recall",
    "f1",
    "worst_f1",
    "delay_frames",
    "false_per_1000",
    "false_in_still_clips",
)
_HEADERS = (
    "method",
    "model",
    "accuracy",
    WORST,
    "auroc",
    "unknown_recall",
    "f1",
    WORST,
    "delay_frames",
    "false_per_1000",
    "false_if_still",
)


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the kind."""
    parser = kinds.add_parser(
        "compare",
        help="edge_sim beside what one would take instead, on the same pictures",
        description="Every SET goes through `evaluate states`; the ones in true order, and every "
        "CLIP, through `evaluate events`. A clip takes its references from a SET of the same "
        "states and other days if there is one.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="SET")
    parser.add_argument("--clips", nargs="+", type=Path, default=[], metavar="CLIP")
    parser.add_argument(
        "--scorers",
        nargs="+",
        choices=(*STATE_METHODS, *DETECTORS),
        default=(*STATE_METHODS, *DETECTORS),
        metavar="NAME",
        help=f"some of {', '.join((*STATE_METHODS, *DETECTORS))}; default all",
    )
    parser.add_argument("--peer-model", metavar="MODEL", help="a second .tflite file to embed with")
    add_draws(parser)
    add_output(parser, plot=False)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from edge_sim.evaluation.contest import compete, entrants

    protocol = protocol_of(args, open_set=True)
    sets: dict[str, list[SeenSet]] = {}
    clips: dict[str, list[SeenSet]] = {}
    for model in [args.model, *([args.peer_model] if args.peer_model else [])]:
        one = argparse.Namespace(**{**vars(args), "model": model})
        embedder = embedder_of(one)
        sets[model] = [see_set(one, path, embedder) for path in args.paths]
        clips[model] = [see_set(one, path, embedder) for path in args.clips]
    standings: list[Standing] = []
    for entrant in entrants(args.scorers, list(sets)):
        standings.append(compete(entrant, sets, clips, protocol, track=_tracked))
        if standings[-1].skipped is not None:
            note(f"{entrant.method}: skipped, {standings[-1].skipped}")
    if args.json:
        print_json({"schema": SCHEMA, "kind": "compare", "methods": standings})
        return 0
    print_table(_HEADERS, [_row(standing) for standing in standings if not standing.skipped])
    return 0


def _row(standing: Standing) -> list[object]:
    model = "-" if standing.model is None else Path(standing.model).stem
    return [standing.method, model, *(getattr(standing.summary, name) for name in _COLUMNS)]


def _tracked(items: Sequence[SeenSet], label: str) -> Iterable[SeenSet]:
    return tracked(items, label)
