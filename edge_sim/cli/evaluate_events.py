"""`edge-sim evaluate events`: which state changes are reported when a clip is played in order."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli.evaluate_options import (
    DETECTORS,
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
from edge_sim.cli.output import note

if TYPE_CHECKING:
    from edge_sim.evaluation import EventsResult, SeenSet
    from edge_sim.evaluation.events import Played
    from edge_sim.evaluation.galleries import Plan
    from edge_sim.evaluation.methods import Method
    from edge_sim.gallery import Gallery
    from edge_sim.pipeline import Region, Stages
    from edge_sim.protocols import Embedder

_COLUMNS = (
    "frames",
    "true_changes",
    "reported",
    "precision",
    "recall",
    "f1",
    "false_events",
    "false_per_1000",
    "delay_frames",
    "unknown_share",
    "wrong_share",
)


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the kind."""
    parser = kinds.add_parser(
        "events",
        help="which state changes are reported when a clip is played in order",
        description="CLIP is a folder with labels.csv in order. The gallery is that of --config, "
        "or taken beside the clip from --references-from, or 8 early frames of a clip of one "
        "state, or references drawn from the clip itself, the rest of which is played.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="CLIP")
    add_draws(parser)
    add_method(parser, (*STATE_METHODS, *DETECTORS))
    parser.add_argument("--config", type=Path, help="take region, gallery and settings from here")
    parser.add_argument("--watch", help="of --config; the only one by default")
    parser.add_argument("--references-from", type=Path, metavar="SET", help="same view, other days")
    parser.add_argument("--sensitivity", type=float, help="0 to 1, default 0.5")
    add_output(parser)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from edge_sim.evaluation.events import check_asked, mean_result
    from edge_sim.pipeline import Region

    _check(args)
    method = method_of(args, 0.5 if args.sensitivity is None else args.sensitivity)
    protocol_of(args)
    check_plot(args.plot)
    region, settled = (Region(), None) if args.config is None else _configured(args)
    if settled is not None and args.scorer == "gallery":
        method = _as_configured(settled[1])
    embedder = embedder_of(args)
    beside = None
    if args.references_from is not None:
        beside = see_set(args, args.references_from, embedder)
    results: list[EventsResult] = []
    played: list[tuple[SeenSet, Played]] = []
    for path in args.paths:
        clip = see_set(args, path, embedder, region)
        plans = _plans(args, clip, beside) if settled is None else _whole(clip, settled[0])
        _tell_untaught(clip, plans)
        rounds = _play(method, clip, plans)
        check_asked(clip, [result for result, _ in rounds])
        results.append(mean_result([result for result, _ in rounds]))
        played.append((clip, rounds[0][1]))
    if args.plot is not None:
        from edge_sim.evaluation.plots import plot_events

        plot_events(played, args.plot)
        plotted(args.plot)
    rows = [_row(result) for result in results]
    print_report(args, "events", results, rows)
    return 0


def _row(result: EventsResult) -> dict[str, Any]:
    return {"clip": result.name} | {name: getattr(result, name) for name in _COLUMNS}


def _check(args: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    from edge_sim.errors import DataError

    if args.config is not None and args.references_from is not None:
        raise DataError("--config brings its own gallery: leave --references-from out")
    if args.config is not None and args.sensitivity is not None:
        raise DataError("--config brings its own sensitivity: leave --sensitivity out")
    if args.watch is not None and args.config is None:
        raise DataError("--watch names a watch of --config, which is missing")
    if args.sensitivity is not None and args.scorer != "gallery":
        raise DataError(f"--sensitivity is a setting of `gallery`, not of {args.scorer}")


def _plans(args: argparse.Namespace, clip: SeenSet, beside: SeenSet | None) -> list[Plan]:
    from edge_sim.evaluation.galleries import CLIP_REFERENCES, plans_for

    is_drawn = beside is None and len(clip.states) > 1
    protocol = protocol_of(args, references=5 if is_drawn else CLIP_REFERENCES)
    return plans_for(clip, protocol, beside=beside)


def _whole(clip: SeenSet, gallery: Gallery) -> list[Plan]:
    return [(gallery, range(len(clip.probes)))]


def _tell_untaught(clip: SeenSet, plans: list[Plan]) -> None:
    """Say which states cannot be reported; a name written otherwise would look like a miss."""
    untaught = sorted(set(clip.states).difference(*(gallery.states for gallery, _ in plans)))
    if untaught:
        taught = ", ".join(plans[0][0].states) or "nothing"
        note(f"{clip.name}: no references of {', '.join(untaught)}; the gallery has {taught}")


def _play(method: Method, clip: SeenSet, plans: list[Plan]) -> list[tuple[EventsResult, Played]]:
    from edge_sim.evaluation import judge

    rounds = []
    for gallery, rows in tracked(plans, f"play {clip.name}"):
        played = method.play(clip, rows, gallery)
        rounds.append((judge(clip, played), played))
    return rounds


def _as_configured(stages: Stages) -> Method:
    from edge_sim.evaluation.methods import StateMethod

    return StateMethod(stages)


def _configured(args: argparse.Namespace) -> tuple[Region, tuple[Gallery, Stages]]:
    """Return region, gallery and stages of the watch that --config and --watch name."""
    from edge_sim.assembly import open_gallery, region_of
    from edge_sim.config import load_config
    from edge_sim.errors import ConfigError
    from edge_sim.stages import stages_of

    config = load_config(args.config)
    name = args.watch or (next(iter(config.watches)) if len(config.watches) == 1 else None)
    if name not in config.watches:
        known = ", ".join(config.watches) or "none"
        raise ConfigError(f"{args.config}: choose one with --watch (there are: {known})")
    watch = config.watches[name]
    args.model = str(config.model.path)
    embedder: Embedder = embedder_of(args)
    with open_gallery(config) as store:
        gallery = store.gallery(name, model_id=embedder.model_id)
    return region_of(config, watch), (gallery, stages_of(config, watch))
