"""`edge-sim calibrate`: labelled pairs or states to the threshold that keeps a promise."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli import calibrate_novelty
from edge_sim.cli.output import note, print_json, print_table, progress, say
from edge_sim.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_sim.analysis.calibration import Choice, Curve, Pairs, Target
    from edge_sim.core.types import BgrImage
    from edge_sim.gallery.calibrations import KeptCalibration, KeptRate, KeptThreshold
    from edge_sim.gallery.gallery import Gallery


SCHEMA = 1
DEFAULT_PRECISION = 0.9


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "calibrate",
        help="pick thresholds from labelled pairs, a gallery or a folder per class",
        description="Finds the threshold with the highest recall at the precision or "
        "required false-positive rate (or the highest precision at a required recall), with 95 % "
        "intervals. Scores of a gallery are taken with each reference left out. For a watch of one "
        "state, and from watched or bad pictures, sets how novel a picture may be.",
    )
    among = parser.add_mutually_exclusive_group(required=True)
    among.add_argument(
        "--pairs", type=Path, metavar="CSV", help="columns score,same or pictures a,b and same"
    )
    among.add_argument("--gallery", type=Path, metavar="FILE", help="the references of a watch")
    among.add_argument("--folder", type=Path, metavar="DIR", help="a folder of pictures per class")
    parser.add_argument("--watch", metavar="NAME", help="of the gallery; the only one if left out")
    parser.add_argument(
        "--score",
        choices=("cosine", "state", LIKENESS),
        default="cosine",
        help="cosine of two pictures, score of a picture for a state (with --gallery), or likeness "
        "as near-duplicates have it (default: cosine)",
    )
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--precision", type=float, metavar="P", help="precision of at least P (0.9)"
    )
    target.add_argument("--fpr", type=float, metavar="R", help="false-positive rate of at most R")
    target.add_argument("--recall", type=float, metavar="R", help="recall of at least R")
    calibrate_novelty.register_options(parser)
    parser.add_argument("--model", metavar="SPEC", help="a .tflite file, `default` or `thumbnail`")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="a page with the curves (.html)")
    parser.add_argument(
        "--index",
        type=Path,
        metavar="INDEX",
        help="where --write keeps a likeness",
    )
    parser.add_argument(
        "--write", action="store_true", help="keep the result, in the gallery file or in --index"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=calibrate)


def calibrate(args: argparse.Namespace) -> int:
    """Find, print, plot and keep the thresholds."""
    _check(args)
    found = None if args.gallery is None else _gallery_of(args)
    if found is not None:
        watch, gallery = found
        if calibrate_novelty.wants_novelty(args, len(gallery.states)):
            return calibrate_novelty.calibrate(args, gallery, watch)
    target = _target(args)
    if found is not None:
        sample = _of_gallery(args, *found)
    else:
        sample = _of_table(args) if args.pairs is not None else _of_folder(args)
    kept = _kept(args, sample, target)
    if args.write:
        _write(args, kept)
    if args.plot is not None:
        from edge_sim.analysis.report import write_page
        from edge_sim.analysis.report.figures import curves_page

        marked = [(t.name, t.curve, k.threshold) for t, k in _zipped(sample, kept)]
        title = f"Calibration on {kept.sample}"
        write_page(args.plot, curves_page(marked, title))
        note(f"{args.plot}: written")
    _print(args, kept, sample.remarks)
    return 0


def _zipped(sample: Sample, kept: KeptCalibration) -> list[tuple[LabelledScores, KeptThreshold]]:
    return list(zip(sample.trials, kept.thresholds, strict=True))


def _check(args: argparse.Namespace) -> None:
    likeness = args.score == LIKENESS
    calibrate_novelty.check_options(args)
    if args.gallery is None:
        if args.watch:
            raise DataError("--watch goes with --gallery")
        if args.write and not (likeness and args.index):
            raise DataError("--write goes with --gallery, or with --score likeness and --index")
        if args.score == "state":
            raise DataError("--score state goes with --gallery: it leaves each reference out")
    elif args.model is not None and args.from_watched is None and args.bad is None:
        raise DataError(
            "--model goes with --pairs, --folder, --from-watched and --bad; a gallery has its own"
        )
    elif likeness:
        raise DataError("--score likeness goes with --pairs and --folder")
    if likeness and args.model is not None:
        raise DataError("--score likeness needs no --model")
    if args.index is not None and not (likeness and args.write):
        raise DataError("--index goes with --score likeness and --write")
    if args.plot is not None:
        from edge_sim.analysis.report import check_path

        check_path(args.plot)


def _write(args: argparse.Namespace, kept: KeptCalibration) -> None:
    if args.index is None:
        from edge_sim.gallery.calibrations import keep_calibration

        keep_calibration(args.gallery, kept)
        return
    from edge_sim.search.store import IndexStore

    with IndexStore.open(args.index) as store:
        store.keep_calibration(kept)


def _target(args: argparse.Namespace) -> Target:
    from edge_sim.analysis.calibration import Aim, Target

    for aim in Aim:
        value = getattr(args, aim.value)
        if value is not None:
            return Target(aim, value)
    return Target(Aim.PRECISION, DEFAULT_PRECISION)


def _kept(args: argparse.Namespace, sample: Sample, target: Target) -> KeptCalibration:
    from edge_sim.analysis.calibration import choose, with_pictures
    from edge_sim.core.events import utc_text
    from edge_sim.gallery.calibrations import KeptCalibration

    thresholds = []
    for trial in sample.trials:
        try:
            choice = choose(trial.curve, target)
        except DataError as error:
            raise DataError(f"{trial.name}: {error}") from error
        if trial.pairs is not None:
            choice = with_pictures(choice, trial.pairs)
        thresholds.append(_threshold(trial, choice))
    return KeptCalibration(
        watch=sample.watch,
        score=args.score,
        aim=target.aim.value,
        value=target.value,
        at=utc_text(time.time()),
        sample=sample.words,
        model=sample.model,
        revision=sample.revision,
        thresholds=tuple(thresholds),
    )


def _threshold(trial: LabelledScores, choice: Choice) -> KeptThreshold:
    from edge_sim.gallery.calibrations import KeptRate, KeptThreshold

    precision, recall, fpr = (
        KeptRate(rate.value, rate.low, rate.high)
        for rate in (choice.precision, choice.recall, choice.fpr)
    )
    curve = trial.curve
    return KeptThreshold(
        trial.name, choice.threshold, precision, recall, fpr, curve.same, curve.different
    )


def _print(args: argparse.Namespace, kept: KeptCalibration, remarks: list[str]) -> None:
    for remark in remarks:
        note(remark)
    if args.json:
        print_json({"schema": SCHEMA, "calibration": kept, "written": bool(args.write)})
        return
    print_table(
        ["", "threshold", "precision", "recall", "false positives", "same", "different"],
        [
            (
                item.name,
                f"{item.threshold:.4f}",
                _spelled(item.precision),
                _spelled(item.recall),
                _spelled(item.fpr),
                item.same,
                item.different,
            )
            for item in kept.thresholds
        ],
    )
    sign = "at most" if kept.aim == "fpr" else "at least"
    say(f"{kept.score} for {kept.aim} of {sign} {kept.value:g}, on {kept.sample}")
    if args.write:
        say(f"{args.index or args.gallery}: kept")


def _spelled(rate: KeptRate) -> str:
    return f"{rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f})"


LIKENESS = "likeness"
"""Score by which `edge-sim duplicates` finds near-duplicates; needs no model."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledScores:
    """Labelled scores of one threshold; `pairs` where they are all pairs among pictures."""

    name: str
    curve: Curve
    pairs: Pairs | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """All labelled scores, and what they are of."""

    trials: list[LabelledScores]
    words: str
    model: str = ""
    watch: str = ""
    revision: int = 0
    remarks: list[str] = field(default_factory=list)


def _of_table(args: argparse.Namespace) -> Sample:
    import numpy as np

    from edge_sim.analysis.calibration import curve_of, read_pairs
    from edge_sim.io.sources.pictures import read_picture

    models: list[str] = []

    def score(rows: list[tuple[Path, Path]]) -> list[float]:
        measure = _measure(args)
        models.append(measure.model)
        paths = sorted({path for pair in rows for path in pair})
        seen = {path: measure.of(read_picture(path)) for path in progress(paths, len(paths), "see")}
        return [float(measure.among(np.stack([seen[a], seen[b]]))[0, 1]) for a, b in rows]

    scores, same = read_pairs(args.pairs, score)
    words = f"{len(scores)} pairs of {args.pairs}"
    return Sample([LabelledScores("pairs", curve_of(scores, same))], words, "".join(models))


def _of_folder(args: argparse.Namespace) -> Sample:
    import numpy as np

    from edge_sim.gallery.candidates import Unreadable, candidates_in
    from edge_sim.gallery.import_export import classes_in

    classes = classes_in(args.folder)
    measure = _measure(args)
    seen, labels, remarks = [], [], []
    for number, (name, folders) in enumerate(classes.items()):
        for found in progress(candidates_in(map(str, folders)), None, name):
            if isinstance(found, Unreadable):
                remarks.append(f"not read: {found.name}: {found.fault}")
                continue
            seen.append(measure.of(found.pixels))
            labels.append(number)
    if not seen:
        raise DataError(f"{args.folder}: not one picture can be read")
    words = f"{len(labels)} pictures of {len(classes)} classes in {args.folder}"
    trial = _pairs_trial(np.stack(seen), np.array(labels), measure.among)
    return Sample([trial], words, measure.model, remarks=remarks)


@dataclass(frozen=True, slots=True)
class _Measure:
    """Function that describes a picture, and one that compares (N, ...) of them, giving (N, N)."""

    model: str
    of: Callable[[BgrImage], NDArray[Any]]
    among: Callable[[NDArray[Any]], NDArray[Any]]


def _measure(args: argparse.Namespace) -> _Measure:
    if args.score == LIKENESS:
        from edge_sim.search.duplicates import likeness_among
        from edge_sim.search.rows import index_thumbnail

        return _Measure("", index_thumbnail, likeness_among)
    from edge_sim.vision.embedders import open_embedder

    embedder = open_embedder(args.model)
    return _Measure(embedder.model_id, lambda pixels: embedder.embed(pixels).vector, _cosines)


def _cosines(vectors: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = vectors @ vectors.T
    return found


def _gallery_of(args: argparse.Namespace) -> tuple[str, Gallery]:
    """Return the watch and its references."""
    from edge_sim.cli.options import only_watch
    from edge_sim.gallery.store import GalleryStore

    with GalleryStore.open(args.gallery, read_only=True) as store:
        watch = only_watch(store, args.watch)
        return watch, store.gallery(watch)


def _of_gallery(args: argparse.Namespace, watch: str, gallery: Gallery) -> Sample:
    from edge_sim.analysis.calibration import curve_of, state_trials
    from edge_sim.decision.scorer import GalleryScorer

    words = f"{len(gallery)} references of {watch}"
    model = str(gallery.model_id)
    if args.score == "cosine":
        trials = [_pairs_trial(gallery.matrix, gallery.state_rows, _cosines)]
    else:
        left_out = GalleryScorer(gallery).leave_one_out()
        trials = []
        for state, (scores, own) in state_trials(gallery, left_out).items():
            if not own.any():
                raise DataError(f"{args.gallery}: state {state!r} has one reference; add another")
            trials.append(LabelledScores(state, curve_of(scores, own)))
    return Sample(trials, words, model, watch, gallery.revision)


def _pairs_trial(
    seen: NDArray[Any], labels: NDArray[Any], among: Callable[[NDArray[Any]], NDArray[Any]]
) -> LabelledScores:
    from edge_sim.analysis.calibration import Pairs, curve_of, picked_pictures

    picked = picked_pictures(len(seen))
    pairs = Pairs(among(seen[picked]), labels[picked])
    return LabelledScores("pairs", curve_of(*pairs.flat()), pairs)
