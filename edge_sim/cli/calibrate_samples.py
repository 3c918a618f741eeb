"""Labelled scores for `edge-sim calibrate`: of a table, a folder per class, or a gallery."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli.output import progress
from edge_sim.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_sim.calibration import Curve, Pairs
    from edge_sim.domain import BgrImage

LIKENESS = "likeness"
"""What `edge-sim duplicates` tells near-duplicates by; needs no model."""


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


def sample_of(args: argparse.Namespace) -> Sample:
    """Return the scores that the options name."""
    if args.pairs is not None:
        return _of_table(args)
    return _of_folder(args) if args.folder is not None else _of_gallery(args)


def _of_table(args: argparse.Namespace) -> Sample:
    import numpy as np

    from edge_sim.calibration import curve_of
    from edge_sim.calibration_table import read_pairs
    from edge_sim.sources.pictures import read_picture

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

    from edge_sim.enrolment import Unreadable, candidates_in, classes_in

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
    """What is taken of a picture, and how like each other (N, ...) of them are, (N, N)."""

    model: str
    of: Callable[[BgrImage], NDArray[Any]]
    among: Callable[[NDArray[Any]], NDArray[Any]]


def _measure(args: argparse.Namespace) -> _Measure:
    if args.score == LIKENESS:
        from edge_sim.duplicates import likeness_among
        from edge_sim.index_store import look_of

        return _Measure("", look_of, likeness_among)
    from edge_sim.embedders import open_embedder

    embedder = open_embedder(args.model)
    return _Measure(embedder.model_id, lambda pixels: embedder.embed(pixels).vector, _cosines)


def _cosines(vectors: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = vectors @ vectors.T
    return found


def _of_gallery(args: argparse.Namespace) -> Sample:
    from edge_sim.calibration import curve_of, state_trials
    from edge_sim.cli.gallery_context import only_watch
    from edge_sim.gallery_store import GalleryStore
    from edge_sim.scoring import GalleryScorer

    with GalleryStore.open(args.gallery, read_only=True) as store:
        watch = only_watch(store, args.watch)
        gallery = store.gallery(watch)
    if len(gallery.states) < 2:
        raise DataError(f"{args.gallery}: watch {watch!r} has one state; two can be told apart")
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
    from edge_sim.calibration import Pairs, curve_of, picked_pictures

    picked = picked_pictures(len(seen))
    pairs = Pairs(among(seen[picked]), labels[picked])
    return LabelledScores("pairs", curve_of(*pairs.flat()), pairs)
