"""`edge-sim evaluate states|events|retrieval`: figures on labelled pictures."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edge_sim.cli.output import note, print_json, print_table, progress

if TYPE_CHECKING:
    from edge_sim.evaluation import EventsResult, Protocol, SeenSet
    from edge_sim.evaluation.events import Played
    from edge_sim.gallery import Gallery
    from edge_sim.pipeline import Region, Stages
    from edge_sim.protocols import Embedder

T = TypeVar("T")
SCHEMA = 1
WORST = "worst"
_EVENT_COLUMNS = (
    "frames",
    "true_changes",
    "reported",
    "precision",
    "recall",
    "f1",
    "false_events",
    "delay_frames",
    "unknown_share",
    "wrong_share",
)
_SCORERS = ("gallery", "nearest-cosine", "ssim", "thumbnail")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser("evaluate", help="measure states, events or retrieval")
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    states = kinds.add_parser(
        "states",
        help="which state, frame by frame, from a few random references",
        description="SET is a folder with labels.csv (frame, state). References are drawn at "
        "random, every other frame is asked for its state; then each state in turn is left out "
        "of the gallery and its frames should be called unknown.",
    )
    _add_protocol(states, "SET")
    states.add_argument("--no-open-set", action="store_true", help="skip leaving states out")
    states.set_defaults(handler=_states)
    events = kinds.add_parser(
        "events",
        help="which state changes are reported when a clip is played in order",
        description="CLIP is a folder with labels.csv in order. The gallery is that of --config, "
        "or taken beside the clip from --references-from, or 8 early frames of a clip of one "
        "state, or references drawn from the clip itself, the rest of which is played.",
    )
    _add_protocol(events, "CLIP")
    events.add_argument("--config", type=Path, help="take region, gallery and settings from here")
    events.add_argument("--watch", help="of --config; the only one by default")
    events.add_argument("--references-from", type=Path, metavar="SET", help="same view, other days")
    events.add_argument("--sensitivity", type=float, default=0.5, help="0 to 1, default 0.5")
    events.set_defaults(handler=_events)
    retrieval = kinds.add_parser(
        "retrieval",
        help="every picture asks for the others of its class",
        description="TAR holds <class>/<picture>.",
    )
    retrieval.add_argument("paths", nargs="+", type=Path, metavar="TAR")
    retrieval.add_argument("--no-centring", action="store_true", help="plain cosine")
    _add_output(retrieval)
    retrieval.set_defaults(handler=_retrieval)


def _add_protocol(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("paths", nargs="+", type=Path, metavar=name)
    parser.add_argument("--references", type=int, help="per state; default 5, 8 for clips")
    parser.add_argument("--draws", type=int, default=6, help="random galleries, default 6")
    parser.add_argument("--seed", type=int, default=0, help="of the first draw, default 0")
    parser.add_argument("--scorer", choices=_SCORERS, default="gallery")
    parser.add_argument(
        "--against-rest",
        metavar="STATE",
        default="normal",
        help="a state judged against all others together; default `normal`, `-` for none",
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw what was measured")
    _add_output(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="default", help="a .tflite file, or `thumbnail`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _states(args: argparse.Namespace) -> int:
    from edge_sim.evaluation import evaluate_states
    from edge_sim.evaluation.baselines import SCORERS

    protocol = _protocol(args, 5, open_set=not args.no_open_set)
    embedder = _embedder(args)
    seen = [_see(args, path, embedder) for path in args.paths]
    make = SCORERS[args.scorer]
    answers = [evaluate_states(one, make, protocol) for one in _tracked(seen, "sets")]
    results = [item.result for item in answers]
    if args.plot is not None:
        from edge_sim.evaluation.plots import plot_states

        plot_states(answers, args.plot)
        note(f"{args.plot}: written")
    rows = []
    for result in results:
        unknown = result.open_set
        rows.append(
            {
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
        )
    _print(args, "states", results, rows, "balanced_accuracy")
    return 0


def _events(args: argparse.Namespace) -> int:
    from edge_sim.evaluation.events import mean_result
    from edge_sim.pipeline import Region

    region, settled = (Region(), None) if args.config is None else _configured(args)
    embedder = _embedder(args)
    results: list[EventsResult] = []
    played: list[tuple[SeenSet, Played]] = []
    for path in args.paths:
        clip = _see(args, path, embedder, region)
        rounds = _rounds(args, clip, embedder, settled)
        results.append(mean_result([result for result, _ in rounds]))
        played.append((clip, rounds[0][1]))
    if args.plot is not None:
        from edge_sim.evaluation.plots import plot_events

        plot_events(played, args.plot)
        note(f"{args.plot}: written")
    rows = [
        {"clip": one.name} | {name: getattr(one, name) for name in _EVENT_COLUMNS}
        for one in results
    ]
    _print(args, "events", results, rows, "f1")
    return 0


def _retrieval(args: argparse.Namespace) -> int:
    import numpy as np

    from edge_sim.evaluation import evaluate_retrieval, read_tar

    embedder = _embedder(args)
    results = []
    for path in args.paths:
        classes, vectors = [], []
        for name, pixels in progress(read_tar(path), None, path.name):
            classes.append(name)
            vectors.append(embedder.embed(pixels).vector)
        stacked = np.stack(vectors)
        results.append(
            evaluate_retrieval(path.stem, stacked, classes, centred=not args.no_centring)
        )
    rows = [
        {
            "collection": one.name,
            "pictures": one.pictures,
            "recall@1": one.recall_at_1,
            "recall@5": one.recall_at_5,
            "recall@10": one.recall_at_10,
            "recall@100": one.recall_at_100,
            "precision@5": one.precision_at_5,
            "mAP": one.mean_average_precision,
            "ms": one.latency_ms,
        }
        for one in results
    ]
    _print(args, "retrieval", results, rows, "mAP")
    return 0


def _rounds(
    args: argparse.Namespace,
    clip: SeenSet,
    embedder: Embedder,
    settled: tuple[Gallery, Stages] | None,
) -> list[tuple[EventsResult, Played]]:
    """Play the clip with every gallery that the options ask for."""
    from edge_sim.errors import DataError
    from edge_sim.evaluation import judge, play
    from edge_sim.evaluation.galleries import first_rows, gallery_beside
    from edge_sim.evaluation.states import draws

    stages = _stages(args) if settled is None else settled[1]
    everything = range(len(clip.probes))
    plans: list[tuple[Gallery, Sequence[int]]]
    if settled is not None:
        plans = [(settled[0], everything)]
    elif args.references_from is not None:
        other = _see(args, args.references_from, embedder)
        plans = [(gallery_beside(clip, other, args.references or 8), everything)]
    elif len(clip.states) == 1:
        picked = set(first_rows(clip, args.references or 8))
        plans = [(clip.gallery(sorted(picked)), [row for row in everything if row not in picked])]
    else:
        if not clip.is_ordered:
            raise DataError(f"{clip.name}: the order of its frames is not that of shooting")
        protocol = _protocol(args, 5, open_set=False)
        plans = [(clip.gallery(rows), asked) for rows, asked in draws(clip, protocol)]
    rounds = []
    for gallery, rows in _tracked(plans, f"play {clip.name}"):
        played = play(clip, rows, gallery, stages)
        rounds.append((judge(clip, played), played))
    return rounds


def _stages(args: argparse.Namespace) -> Stages:
    from edge_sim.deciding import AdaptiveDecider
    from edge_sim.errors import DataError
    from edge_sim.evaluation.baselines import SCORERS
    from edge_sim.evaluation.fixed_decider import FixedDecider
    from edge_sim.pipeline import Stages
    from edge_sim.protocols import Decider, Scorer
    from edge_sim.scene import SceneMonitor

    if not 0.0 <= args.sensitivity <= 1.0:
        raise DataError(f"--sensitivity must be 0 to 1, got {args.sensitivity}")

    def decider(gallery: Gallery, scorer: Scorer) -> Decider:
        if args.scorer != "gallery":
            return FixedDecider()
        return AdaptiveDecider(scorer.leave_one_out(), gallery, sensitivity=args.sensitivity)

    return Stages(scorer=SCORERS[args.scorer], decider=decider, monitor=SceneMonitor)


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
    with open_gallery(config) as store:
        gallery = store.gallery(name, model_id=_embedder(args).model_id)
    return region_of(config, watch), (gallery, stages_of(config, watch))


def _protocol(args: argparse.Namespace, references: int, *, open_set: bool) -> Protocol:
    from edge_sim.errors import DataError
    from edge_sim.evaluation import Protocol

    number = args.references if args.references is not None else references
    if number < 1 or args.draws < 1:
        raise DataError("--references and --draws must be 1 or more")
    return Protocol(references=number, draws=args.draws, seed=args.seed, open_set=open_set)


def _embedder(args: argparse.Namespace) -> Embedder:
    from edge_sim.embedders import open_embedder

    return open_embedder(args.model, threads=args.threads)


def _see(
    args: argparse.Namespace, path: Path, embedder: Embedder, region: Region | None = None
) -> SeenSet:
    from edge_sim.evaluation import read_set, see
    from edge_sim.pipeline import Region

    labelled = read_set(path)
    if args.against_rest != "-":
        labelled = labelled.against_rest(args.against_rest)
    return see(labelled, embedder, region=region or Region(), track=_tracked)


def _tracked(items: Sequence[T], label: str) -> Iterable[T]:
    return progress(items, len(items), label)


def _print(
    args: argparse.Namespace,
    kind: str,
    results: Sequence[Any],
    rows: Sequence[dict[str, Any]],
    judged_by: str,
) -> None:
    """Print the results as JSON, or the rows as a table with the mean and the worst marked."""
    import msgspec

    mean = _mean([msgspec.to_builtins(result) for result in results])
    if args.json:
        report = {"schema": SCHEMA, "kind": kind, "model": args.model, "sets": results}
        if kind != "retrieval":
            report["scorer"] = args.scorer
        print_json(report | {"mean": mean})
        return
    worst = min(range(len(rows)), key=lambda place: rows[place][judged_by])
    table = [
        [*row.values(), WORST if place == worst and len(rows) > 1 else ""]
        for place, row in enumerate(rows)
    ]
    if len(rows) > 1:
        means = _mean(rows)
        table.append(["mean", *(means.get(name) for name in list(rows[0])[1:]), ""])
    print_table([*rows[0], ""], table)


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of every figure; nested ones too, others left out."""
    means: dict[str, Any] = {}
    for name in rows[0]:
        values = [row[name] for row in rows if row[name] is not None]
        if values and all(isinstance(value, (int, float)) for value in values):
            means[name] = sum(values) / len(values)
        elif name == "open_set" and values:
            means[name] = _mean(values)
    return means
