"""`edge-sim evaluate nuisances`: drawn scenes, disturbed in every way alone and in pairs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge_sim.cli.evaluate_options import add_output, check_plot, embedder_of, plotted, tracked
from edge_sim.cli.evaluate_report import WORST
from edge_sim.cli.gallery_context import positive
from edge_sim.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from edge_sim.evaluation import EventsResult
    from edge_sim.evaluation.nuisances import Combination, NuisanceResult, Trials
    from edge_sim.pipeline import Stages
    from edge_sim.protocols import Embedder

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


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the kind."""
    parser = kinds.add_parser(
        "nuisances",
        help="state changes of drawn scenes, disturbed in every way alone and in pairs",
        description="Draw scenes whose truth is known, disturb them by every nuisance alone and, "
        "with --pairs, by every two together, and judge which state changes are reported. Needs "
        "no data. Each seed is another clip of 120 frames; the scenes take turns. 50 seeds take "
        "about 4 minutes of one core alone, 20 with --pairs.",
    )
    parser.add_argument("--seeds", type=positive, default=50, metavar="N", help="clips (50)")
    parser.add_argument("--pairs", action="store_true", help="two nuisances together as well")
    parser.add_argument(
        "--nuisances", metavar="LIST", help="only these, with commas; all of them by default"
    )
    parser.add_argument(
        "--references", type=positive, default=5, metavar="N", help="per state, default 5"
    )
    add_output(parser)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from edge_sim.config import Config, WatchConfig
    from edge_sim.evaluation.nuisances import Trials, combinations, wanted_nuisances
    from edge_sim.stages import stages_of

    names = wanted_nuisances(None if args.nuisances is None else args.nuisances.split(","))
    check_plot(args.plot)
    trials = Trials(seeds=args.seeds, references=args.references)
    stages = stages_of(Config(), WatchConfig())
    plan = combinations(names, pairs=args.pairs)
    results = _played(plan, trials, embedder_of(args), stages)
    if args.plot is not None:
        from edge_sim.evaluation.nuisance_map import plot_nuisances

        plot_nuisances(results, args.plot)
        plotted(args.plot)
    _print(args, results)
    return 0


def _played(
    plan: Sequence[Combination], trials: Trials, embedder: Embedder, stages: Stages
) -> list[NuisanceResult]:
    from edge_sim.evaluation.nuisances import disturbed, judged, play_disturbed, summed_up

    found: dict[Combination, list[EventsResult]] = {names: [] for names in plan}
    for clip in tracked(trials.clips, f"clips, {len(plan)} ways each"):
        played = play_disturbed(clip, plan, embedder, stages, references=trials.references)
        for names, what in played.items():
            found[names].append(judged(disturbed(clip, names), what))
    return [summed_up(names, results) for names, results in found.items()]


def _print(args: argparse.Namespace, results: Sequence[NuisanceResult]) -> None:
    import msgspec

    from edge_sim.evaluation.metrics import mean_figures

    worst = min(results, key=lambda item: (item.f1, -item.sure_wrong))
    if args.json:
        mean = mean_figures([msgspec.to_builtins(item) for item in results])
        report = {"schema": SCHEMA, "kind": "nuisances", "model": args.model, "seeds": args.seeds}
        print_json(report | {"sets": results, "mean": mean, "worst": worst.name})
        return
    table = [
        [item.name, *(getattr(item, name) for name in _COLUMNS), _remark(item, worst)]
        for item in results
    ]
    means = mean_figures([msgspec.to_builtins(item) for item in results])
    table.append(["mean", *(means.get(name) for name in _COLUMNS), ""])
    print_table(["nuisances", *_COLUMNS, ""], table)
    for item in results:
        if item.worst_clip is not None:
            note(f"{item.name}: worst clip {item.worst_clip}")


def _remark(item: NuisanceResult, worst: NuisanceResult) -> str:
    is_worst = item is worst and (item.f1 < 1.0 or item.sure_wrong > 0)
    return WORST if is_worst else ""
