"""`edge-sim evaluate states`: which state, frame by frame, from a few random references."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli.evaluate_options import (
    STATE_METHODS,
    add_draws,
    add_method,
    add_output,
    check_plot,
    embedder_of,
    method_of,
    plotted,
    protocol_of,
    see_set,
    tracked,
)
from edge_sim.cli.evaluate_report import print_report
from edge_sim.cli.output import print_table

if TYPE_CHECKING:
    from edge_sim.evaluation import StatesResult


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the kind."""
    parser = kinds.add_parser(
        "states",
        help="which state, frame by frame, from a few random references",
        description="SET is a folder with labels.csv (frame, state). References are drawn at "
        "random, every other frame is asked for its state; then each state in turn is left out "
        "of the gallery and its frames should be called unknown.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="SET")
    add_draws(parser)
    add_method(parser, STATE_METHODS)
    parser.add_argument("--no-open-set", action="store_true", help="skip leaving states out")
    add_output(parser)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    protocol = protocol_of(args, open_set=not args.no_open_set)
    method = method_of(args)
    check_plot(args.plot)
    embedder = embedder_of(args)
    seen = [see_set(args, path, embedder) for path in args.paths]
    answers = [method.states(one, protocol) for one in tracked(seen, "sets")]
    results = [item.result for item in answers]
    if args.plot is not None:
        from edge_sim.evaluation.plots import plot_states

        plot_states(answers, args.plot)
        plotted(args.plot)
    print_report(args, "states", results, [_row(result) for result in results])
    if not args.json:
        _print_conditions(results)
    return 0


def _row(result: StatesResult) -> dict[str, Any]:
    unknown = result.open_set
    return {
        "set": result.name,
        "frames": result.frames,
        "balanced_accuracy": result.balanced_accuracy,
        "deviation": result.deviation,
        "calibration_error": result.calibration_error,
        "sure_share": result.sure_share,
        "sure_accuracy": result.sure_accuracy,
        "auroc": unknown.auroc if unknown else None,
        "unknown_recall": unknown.unknown_recall if unknown else None,
    }


def _print_conditions(results: Sequence[StatesResult]) -> None:
    """Print state x light, accuracy and frames, of the sets with more than one light."""
    from edge_sim.conditions import CONDITIONS

    rows = []
    for result in results:
        lights = {light for cells in result.conditions.values() for light in cells}
        if len(lights) < 2:
            continue
        for state, cells in result.conditions.items():
            texts = []
            for light in CONDITIONS:
                cell = cells.get(light)
                accuracy = "-" if cell is None or cell.accuracy is None else f"{cell.accuracy:.3f}"
                texts.append("" if cell is None else f"{accuracy} of {cell.frames}")
            rows.append([result.name, state, *texts])
    if rows:
        print()
        print_table(["set", "state, accuracy by light", *CONDITIONS], rows)
