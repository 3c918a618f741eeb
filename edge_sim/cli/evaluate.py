"""`edge-sim evaluate`: figures on labelled pictures, one kind each."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edge_sim.cli.evaluate_wrong import (
    indexed_picture,
    labelled_picture,
    print_wrong_answers,
    print_wrong_states,
    write_wrong_answers,
    write_wrong_states,
)
from edge_sim.cli.options import threads, whole
from edge_sim.cli.output import note, print_json, print_table, progress
from edge_sim.cli.parser import UsageError

if TYPE_CHECKING:
    from edge_sim.analysis.evaluation.datasets import EmbeddedSet
    from edge_sim.analysis.evaluation.events import EventsResult, Played
    from edge_sim.analysis.evaluation.retrieval import RetrievalResult
    from edge_sim.analysis.evaluation.states import Plan, Protocol, StatesResult
    from edge_sim.core.protocols import Embedder
    from edge_sim.decision.pipeline import Stages
    from edge_sim.gallery.gallery import Gallery
    from edge_sim.vision.probe import Region


T = TypeVar("T")
SCHEMA = 1
JUDGED_BY = {
    "states": "balanced_accuracy", "events": "f1", "retrieval": "mAP", "index": "precision@10"
}  # fmt: skip
"""Column by which the worst set is found."""
_EVENT_FIGURES = (
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
    "unknown_recall",
    "false_unknown_per_1000",
)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its kinds."""
    parser = commands.add_parser(
        "evaluate",
        help="measure states, events or retrieval",
        description="Measure on labelled pictures how often states, events or searches are right.",
    )
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    _add_states(kinds)
    _add_events(kinds)
    _add_retrieval(kinds)


def _add_states(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser(
        "states",
        help="accuracy of the state, frame by frame, from a few random references",
        description="SET is a folder or a tar with labels.csv (frame, state), or of folders of "
        "pictures, one a state. References are drawn at random, every other frame is classified; "
        "then each state in turn is left out of the gallery and its frames should be called "
        "unknown.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="SET")
    add_draws(parser)
    parser.add_argument("--no-open-set", action="store_true", help="skip leaving states out")
    add_report(parser)
    add_output(parser)
    parser.set_defaults(handler=evaluate_states)


def evaluate_states(args: argparse.Namespace) -> int:
    """Measure states frame by frame and print."""
    from edge_sim.analysis.evaluation.states import evaluate_states as measured
    from edge_sim.decision.scorer import GalleryScorer

    protocol = protocol_of(args, open_set=not args.no_open_set)
    check_plot(args.plot)
    check_report(args.report)
    embedder = embedder_of(args)
    seen = [embed_named_set(args, path, embedder) for path in args.paths]
    answers = [measured(one, GalleryScorer, protocol) for one in tracked(seen, "sets")]
    results = [item.result for item in answers]
    if args.plot is not None:
        from edge_sim.analysis.report.figures import plot_states

        plot_states(answers, args.plot)
        plotted(args.plot)
    _print_report(args, "states", results, [_states_row(result) for result in results])
    if args.report is not None:
        write_wrong_states(args.report, results)
    if not args.json:
        _print_conditions(results)
        print_wrong_states(results)
    return 0


def _states_row(result: StatesResult) -> dict[str, Any]:
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
    from edge_sim.vision.light import CONDITIONS

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


def _add_events(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser(
        "events",
        help="precision and recall of state changes when a clip is played in order",
        description="CLIP is a folder or a tar with labels.csv in order. The gallery is that of "
        "--config, or taken beside the clip from --references-from, or 8 early frames of a clip "
        "of one state, or references drawn from the clip itself, the rest of which is played.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="CLIP")
    add_draws(parser)
    parser.add_argument("--config", type=Path, help="take region, gallery and settings from here")
    parser.add_argument("--watch", help="of --config; the only one by default")
    parser.add_argument("--references-from", type=Path, metavar="SET", help="same view, other days")
    parser.add_argument("--sensitivity", type=float, help="0 to 1 (0.5)")
    parser.add_argument("--no-open-set", action="store_true", help="skip leaving states out")
    add_output(parser)
    parser.set_defaults(handler=evaluate_events)


def evaluate_events(args: argparse.Namespace) -> int:
    """Measure the state changes of clips and print."""
    from edge_sim.analysis.evaluation.events import check_judged, default_stages, mean_result
    from edge_sim.vision.probe import Region

    _check(args)
    protocol_of(args)
    check_plot(args.plot)
    region, gallery = Region(), None
    if args.config is None:
        stages = default_stages(0.5 if args.sensitivity is None else args.sensitivity)
    else:
        region, gallery, stages = _configured(args)
    embedder = embedder_of(args)
    beside = None
    if args.references_from is not None:
        beside = embed_named_set(args, args.references_from, embedder)
    results: list[EventsResult] = []
    played: list[tuple[EmbeddedSet, Played]] = []
    for path in args.paths:
        clip = embed_named_set(args, path, embedder, region)
        plans = _plans(args, clip, beside) if gallery is None else _whole(clip, gallery)
        _report_untaught(clip, plans)
        rounds = _play(stages, clip, plans, open_set=not args.no_open_set)
        check_judged(clip, [result for result, _ in rounds])
        results.append(mean_result([result for result, _ in rounds]))
        played.append((clip, rounds[0][1]))
    if args.plot is not None:
        from edge_sim.analysis.report.figures import plot_events

        plot_events(played, args.plot)
        plotted(args.plot)
    rows = [_events_row(result) for result in results]
    _print_report(args, "events", results, rows)
    return 0


def _events_row(result: EventsResult) -> dict[str, Any]:
    return {"clip": result.name} | {name: getattr(result, name) for name in _EVENT_FIGURES}


def _check(args: argparse.Namespace) -> None:
    """Reject options that would have no effect."""
    from edge_sim.errors import DataError

    if args.config is not None and args.references_from is not None:
        raise DataError("--config brings its own gallery: leave --references-from out")
    if args.config is not None and args.sensitivity is not None:
        raise DataError("--config brings its own sensitivity: leave --sensitivity out")
    if args.watch is not None and args.config is None:
        raise DataError("--watch names a watch of --config, which is missing")


def _plans(args: argparse.Namespace, clip: EmbeddedSet, beside: EmbeddedSet | None) -> list[Plan]:
    from edge_sim.analysis.evaluation.states import CLIP_REFERENCES, plans_for

    is_drawn = beside is None and len(clip.states) > 1
    protocol = protocol_of(args, references=5 if is_drawn else CLIP_REFERENCES)
    return plans_for(clip, protocol, beside=beside)


def _whole(clip: EmbeddedSet, gallery: Gallery) -> list[Plan]:
    return [(gallery, range(len(clip.probes)))]


def _report_untaught(clip: EmbeddedSet, plans: list[Plan]) -> None:
    """Report which states cannot be found; a name written otherwise would look like a miss."""
    untaught = sorted(set(clip.states).difference(*(gallery.states for gallery, _ in plans)))
    if untaught:
        taught = ", ".join(plans[0][0].states) or "nothing"
        note(f"{clip.name}: no references of {', '.join(untaught)}; the gallery has {taught}")


def _play(
    stages: Stages, clip: EmbeddedSet, plans: list[Plan], *, open_set: bool
) -> list[tuple[EventsResult, Played]]:
    from msgspec import structs

    from edge_sim.analysis.evaluation.events import judge, play, unknown_recall

    rounds = []
    for gallery, rows in tracked(plans, f"play {clip.name}"):
        played = play(clip, rows, gallery, stages)
        recall = unknown_recall(clip, rows, gallery, stages) if open_set else None
        rounds.append((structs.replace(judge(clip, played), unknown_recall=recall), played))
    return rounds


def _configured(args: argparse.Namespace) -> tuple[Region, Gallery, Stages]:
    """Return region, gallery and stages of the watch that --config and --watch name."""
    from edge_sim.runtime.assembly import open_gallery, region_of
    from edge_sim.runtime.config import load_config
    from edge_sim.runtime.stages import stages_of

    config = load_config(args.config)
    name = args.watch or (next(iter(config.watches)) if len(config.watches) == 1 else None)
    if name not in config.watches:
        known = ", ".join(config.watches) or "none"
        raise UsageError(f"{args.config}: choose one with --watch (there are: {known})")
    args.model = str(config.model.path)
    embedder: Embedder = embedder_of(args)
    with open_gallery(config) as store:
        gallery = store.gallery(name, model_id=embedder.model_id)
    return region_of(config, name), gallery, stages_of(config, config.watches[name])


def _add_retrieval(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser(
        "retrieval",
        help="how many pictures of its class each picture finds",
        description="SET is a folder or a tar of <class>/<picture>, or one with labels.csv "
        "(frame, state). Each picture is the query of a search among the others, or with --index "
        "among the pictures of an index, from the file to the answer.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="SET")
    parser.add_argument("--no-centring", action="store_true", help="plain cosine")
    parser.add_argument(
        "--index",
        type=Path,
        metavar="INDEX",
        help="search this index, as its users do; its pictures have the class that SET gives to "
        "their file, else that of their folder",
    )
    add_report(parser)
    add_output(parser)
    parser.set_defaults(handler=evaluate_retrieval, model=None)


def evaluate_retrieval(args: argparse.Namespace) -> int:
    """Measure retrieval and print."""
    from edge_sim.analysis.evaluation.datasets import pictures_of, read_set
    from edge_sim.analysis.evaluation.retrieval import retrieve

    if args.index is not None:
        return _evaluate_index(args)
    args.model = args.model or "default"
    check_plot(args.plot)
    check_report(args.report)
    embedder = embedder_of(args)
    results = []
    for path in args.paths:
        labelled = read_set(path)
        pictures = pictures_of(labelled, embedder.input_px)
        shown = progress(pictures, labelled.clean, labelled.name)
        centred = not args.no_centring
        results.append(retrieve(labelled.name, shown, embedder, centred=centred))
    if args.plot is not None:
        from edge_sim.analysis.report.figures import plot_retrieval

        plot_retrieval(results, args.plot)
        plotted(args.plot)
    _print_report(args, "retrieval", results, [_retrieval_row(result) for result in results])
    if args.report is not None:
        write_wrong_answers(args.report, results, labelled_picture)
    if not args.json:
        print_wrong_answers(results)
    return 0


def _evaluate_index(args: argparse.Namespace) -> int:
    """Measure searches through an index and print."""
    from edge_sim.analysis.evaluation.index_retrieval import IndexRetrieval
    from edge_sim.search.store import IndexStore

    if args.plot is not None or args.no_centring:
        raise UsageError("--index goes without --plot and --no-centring: an index is as it is")
    check_report(args.report)
    with IndexStore.open(args.index) as store:
        args.model = args.model or store.plan.model
        measured = IndexRetrieval(store, embedder_of(args))
        results = [measured.measure(path) for path in tracked(args.paths, "sets")]
        root = store.plan.root
    rows = [
        {
            "collection": result.name,
            "kind": result.kind,
            "pictures": result.pictures,
            "hit@1": result.hit_rate_at_1,
            "hit@10": result.hit_rate_at_10,
            "recall@10": result.recall_at_10,
            "precision@10": result.precision_at_10,
            "ms p50": result.latency_p50_ms,
            "ms p95": result.latency_p95_ms,
            "search p50": result.search_p50_ms,
            "search p95": result.search_p95_ms,
        }
        for result in results
    ]
    _print_report(args, "index", results, rows)
    if args.report is not None:
        write_wrong_answers(args.report, results, partial(indexed_picture, root))
    if not args.json:
        print_wrong_answers(results)
    return 0


def _retrieval_row(result: RetrievalResult) -> dict[str, Any]:
    return {
        "collection": result.name,
        "pictures": result.pictures,
        "hit@1": result.hit_rate_at_1,
        "hit@10": result.hit_rate_at_10,
        "hit@100": result.hit_rate_at_100,
        "recall@10": result.recall_at_10,
        "recall@100": result.recall_at_100,
        "precision@5": result.precision_at_5,
        "precision@10": result.precision_at_10,
        "mAP": result.mean_average_precision,
        "embed_ms": result.embed_ms,
        "query_ms": result.latency_ms,
        "queries_per_s": result.queries_per_s,
    }


def add_draws(parser: argparse.ArgumentParser) -> None:
    """Add how references are drawn."""
    parser.add_argument("--references", type=whole, metavar="N", help="references per state (5)")
    parser.add_argument("--draws", type=whole, default=6, metavar="N", help="random galleries (6)")
    parser.add_argument("--seed", type=whole, default=0, help="seed of the first draw (0)")
    parser.add_argument(
        "--against-rest",
        metavar="STATE",
        default="normal",
        help="a state judged against all others together; default `normal`, `-` for none",
    )


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the page of wrong pictures."""
    parser.add_argument(
        "--report", type=Path, metavar="OUT.html", help="a page with the pictures that were wrong"
    )


def check_report(path: Path | None) -> None:
    """Check before the work that --report can be written after it.

    Raises:
        DataError: No .html, or a folder that is not there.
    """
    if path is not None:
        from edge_sim.analysis.report import check_path

        check_path(path)


def add_output(parser: argparse.ArgumentParser, *, plot: bool = True) -> None:
    """Add the model, JSON and where to draw."""
    parser.add_argument("--model", default="default", help="a .tflite file, or `thumbnail`")
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="threads (1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    if plot:
        parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the figures")


def protocol_of(
    args: argparse.Namespace, *, references: int = 5, open_set: bool = False
) -> Protocol:
    """Return how frames are drawn, `references` where the user does not say.

    Raises:
        DataError: A number below 1, or a negative seed.
    """
    from edge_sim.analysis.evaluation.states import Protocol
    from edge_sim.errors import DataError

    number = args.references if args.references is not None else references
    if number < 1 or args.draws < 1:
        raise DataError("--references and --draws must be 1 or more")
    if args.seed < 0:
        raise DataError(f"--seed must be 0 or more, got {args.seed}")
    return Protocol(references=number, draws=args.draws, seed=args.seed, open_set=open_set)


def embedder_of(args: argparse.Namespace) -> Embedder:
    """Return the model that --model names."""
    from edge_sim.vision.embedders import open_embedder

    return open_embedder(args.model, threads=args.threads)


def embed_named_set(
    args: argparse.Namespace, path: Path, embedder: Embedder, region: Region | None = None
) -> EmbeddedSet:
    """Return a labelled folder or tar, every frame embedded."""
    from edge_sim.analysis.evaluation.datasets import embed_set, read_set
    from edge_sim.vision.probe import Region

    labelled = read_set(path)
    if args.against_rest != "-":
        labelled = labelled.against_rest(args.against_rest)
    return embed_set(labelled, embedder, region=region or Region(), track=tracked)


def tracked(items: Sequence[T], label: str) -> Iterable[T]:
    """Return the items, a bar drawn on a terminal."""
    return progress(items, len(items), label)


def check_plot(path: Path | None) -> None:
    """Check before the work that --plot can be drawn after it.

    Raises:
        DataError: matplotlib is missing, or the folder of the file.
    """
    if path is None:
        return
    from edge_sim.analysis.report.figures import check

    check(path)


def plotted(path: Path) -> None:
    """Say that the plot is there."""
    note(f"{path}: written")


def _print_report(
    args: argparse.Namespace, kind: str, results: Sequence[Any], rows: Sequence[dict[str, Any]]
) -> None:
    """Print the results as JSON, or the rows with their mean and the worst marked.

    Args:
        args: With json and model.
        kind: Kind of evaluation.
        results: Structs with the figures of each set.
        rows: Columns of each set for people; the one that `JUDGED_BY` names finds the worst.
    """
    import msgspec

    from edge_sim.analysis.evaluation.metrics import mean_figures

    if args.json:
        report = {"schema": SCHEMA, "kind": kind, "model": args.model, "sets": results}
        mean = mean_figures([msgspec.to_builtins(result) for result in results])
        print_json(report | {"mean": mean})
        return
    worst = min(range(len(rows)), key=lambda place: rows[place][JUDGED_BY[kind]])
    table = [
        [*row.values(), "worst" if place == worst and len(rows) > 1 else ""]
        for place, row in enumerate(rows)
    ]
    if len(rows) > 1:
        means = mean_figures(rows)
        table.append(["mean", *(means.get(name) for name in list(rows[0])[1:]), ""])
    print_table([*rows[0], ""], table)
