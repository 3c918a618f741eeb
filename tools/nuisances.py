"""Measure the state changes of synthetic scenes under every nuisance, alone and in pairs.

    python tools/nuisances.py --seeds 50 --pairs

Draws scenes whose truth is known, disturbs them by every nuisance alone and, with --pairs, by every
two together, and judges which state changes are reported. Needs no data. Each seed is another clip
of 120 frames; the scenes take turns. 50 seeds take about 4 minutes of one core alone, 20 with
--pairs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import msgspec
from comparing.nuisance_map import plot_nuisances
from comparing.nuisances import (
    Combination,
    NuisanceResult,
    Trials,
    combinations,
    disturbed,
    judged,
    play_disturbed,
    summed_up,
    wanted_nuisances,
)

from edge_sim.analysis.evaluation.events import EventsResult
from edge_sim.analysis.evaluation.metrics import mean_figures
from edge_sim.cli.evaluate import add_output, check_plot, embedder_of, plotted, tracked
from edge_sim.cli.output import note, print_json, print_table
from edge_sim.core.protocols import Embedder
from edge_sim.decision.pipeline import Stages
from edge_sim.errors import DataError, EdgeSimError
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.stages import stages_of

SCHEMA = 1
_COLUMNS = (
    "clips",
    "true_changes",
    "reported",
    "found",
    "f1",
    "false_events",
    "sure_wrong",
    "delay_frames",
    "unknown_share",
    "wrong_share",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and draw with `--plot`."""
    args = _parser().parse_args(argv)
    try:
        _print(args, measure(args))
    except EdgeSimError as error:
        print(f"nuisances: {error}", file=sys.stderr)
        return 1
    return 0


def measure(args: argparse.Namespace) -> list[NuisanceResult]:
    """Return the figures of every combination.

    Raises:
        DataError: An option makes no sense, or the plot cannot be drawn.
    """
    if args.seeds < 1 or args.references < 1:
        raise DataError("--seeds and --references must be 1 or more")
    names = wanted_nuisances(None if args.nuisances is None else args.nuisances.split(","))
    check_plot(args.plot)
    trials = Trials(seeds=args.seeds, references=args.references)
    plan = combinations(names, pairs=args.pairs)
    results = _played(plan, trials, embedder_of(args), stages_of(Config(), WatchConfig()))
    if args.plot is not None:
        plot_nuisances(results, args.plot)
        plotted(args.plot)
    return results


def _played(
    plan: Sequence[Combination], trials: Trials, embedder: Embedder, stages: Stages
) -> list[NuisanceResult]:
    found: dict[Combination, list[EventsResult]] = {names: [] for names in plan}
    for clip in tracked(trials.clips, f"clips, {len(plan)} ways each"):
        played = play_disturbed(clip, plan, embedder, stages, references=trials.references)
        for names, what in played.items():
            found[names].append(judged(disturbed(clip, names), what))
    return [summed_up(names, results) for names, results in found.items()]


def _print(args: argparse.Namespace, results: Sequence[NuisanceResult]) -> None:
    worst = min(results, key=lambda item: (item.f1, -item.sure_wrong))
    means = mean_figures([msgspec.to_builtins(item) for item in results])
    if args.json:
        report = {"schema": SCHEMA, "kind": "nuisances", "model": args.model, "seeds": args.seeds}
        print_json(report | {"sets": results, "mean": means, "worst": worst.name})
        return
    table = [
        [item.name, *(getattr(item, name) for name in _COLUMNS), _remark(item, worst)]
        for item in results
    ]
    table.append(["mean", *(means.get(name) for name in _COLUMNS), ""])
    print_table(["nuisances", *_COLUMNS, ""], table)
    for item in results:
        if item.worst_clip is not None:
            note(f"{item.name}: worst clip {item.worst_clip}")


def _remark(item: NuisanceResult, worst: NuisanceResult) -> str:
    is_worst = item is worst and (item.f1 < 1.0 or item.sure_wrong > 0)
    return "worst" if is_worst else ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50, metavar="N", help="clips (50)")
    parser.add_argument("--pairs", action="store_true", help="two nuisances together as well")
    parser.add_argument(
        "--nuisances", metavar="LIST", help="only these, with commas; all of them by default"
    )
    parser.add_argument("--references", type=int, default=5, metavar="N", help="per state (5)")
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
