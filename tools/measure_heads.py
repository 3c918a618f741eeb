#!/usr/bin/env python3
"""Measure the gain of `edge-sim model adapt` on unseen frames of labelled sets.

    python tools/measure_heads.py ../shared/data/states/*

Of each set galleries are drawn; the similarity is learned as `model adapt` does, and every other
frame is a query: the references (nearest, pairs) and the other unseen frames (mAP), once by
plain cosine and once by the head. `decided` is the accuracy of the scorer that decides
states, which uses no head. All figures are means over states, sets and draws, 0 to 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edge_sim.analysis.adaptation import cross_validated
from edge_sim.analysis.evaluation.datasets import EmbeddedSet, embed_set, read_set
from edge_sim.analysis.evaluation.states import Protocol, draws
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.errors import EdgeSimError
from edge_sim.gallery.head import Head
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region

Rows = npt.NDArray[np.float32]
Names = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Figures:
    """One gallery. `kept`: whether `adapt` would keep the head; `worse`: it ranks fewer pairs."""

    nearest_plain: float
    nearest_learned: float
    pairs_plain: float
    pairs_learned: float
    map_plain: float
    map_learned: float
    decided: float
    kept: float
    kept_though_worse: float


def balanced(values: npt.NDArray[np.float64], names: Names) -> float:
    """Return the mean over the states of the mean value."""
    return float(np.mean([values[names == name].mean() for name in np.unique(names)]))


def pairs(cosines: Rows, same: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return per row the part of (same, other) pairs in the right order; ties count half."""
    return np.array(
        [
            np.mean(np.sign(row[is_same][:, None] - row[~is_same][None, :])) / 2 + 0.5
            for row, is_same in zip(cosines, same, strict=True)
        ]
    )


def precision(rows: Rows, names: Names) -> float:
    """Return the mean average precision of every row asking for all others of its state."""
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2.0)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :-1]
    hits = names[order] == names[:, None]
    ranks = np.arange(1, hits.shape[1] + 1)
    found = (np.cumsum(hits, axis=1) / ranks * hits).sum(axis=1) / np.maximum(hits.sum(axis=1), 1)
    lone = hits.sum(axis=1) == 0  # nothing to find
    return balanced(np.where(lone, 1.0, found), names)


def measured(seen: EmbeddedSet, rows: tuple[Sequence[int], Sequence[int]]) -> Figures:
    """Return the figures of one gallery of a set."""
    picked, asked = rows
    gallery = seen.gallery(picked)
    trial = cross_validated(gallery)
    truth = np.array([str(seen.labels[row]) for row in asked])
    known = np.array([item.state for item in gallery])
    same = truth[:, None] == known[None, :]
    sides = []
    for head in (None, trial.head):
        looks = _vectors(seen, asked, head)
        cosines = looks @ _vectors(seen, picked, head).T
        nearest = balanced((known[cosines.argmax(axis=1)] == truth).astype(np.float64), truth)
        sides.append((nearest, balanced(pairs(cosines, same), truth), precision(looks, truth)))
    scorer = GalleryScorer(gallery)
    matches = [scorer.best_match(seen.probes[row]) for row in asked]
    said = np.array([match.best.state if match else "" for match in matches])
    (near, order, found), (near_after, order_after, found_after) = sides
    return Figures(
        nearest_plain=near,
        nearest_learned=near_after,
        pairs_plain=order,
        pairs_learned=order_after,
        map_plain=found,
        map_learned=found_after,
        decided=balanced((said == truth).astype(np.float64), truth),
        kept=float(trial.is_gain),
        kept_though_worse=float(trial.is_gain and order_after < order),
    )


def _vectors(seen: EmbeddedSet, rows: Sequence[int], head: Head | None) -> Rows:
    embeddings = [seen.probes[row].embedding for row in rows]
    if head is not None:
        embeddings = [head.adapted(item) for item in embeddings]
    return np.stack([item.vector for item in embeddings])


def mean_of(found: Sequence[Figures]) -> Figures:
    """Return the mean of each figure."""
    names = [field.name for field in fields(Figures)]
    return Figures(*(float(np.mean([getattr(item, name) for item in found])) for name in names))


def run(options: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """Return figures by number of references and by set, `all` for their mean."""
    embedder = open_embedder(options.model, verified_only=False)
    sets = []
    for path in options.sets:
        labelled = read_set(path).against_rest("normal")
        print(f"embedding {labelled.name}", file=sys.stderr)
        sets.append(embed_set(labelled, embedder, region=Region(), track=lambda items, _: items))
    answers: dict[str, dict[str, dict[str, float]]] = {}
    for number in options.references:
        protocol = Protocol(references=number, draws=options.draws, seed=0, open_set=False)
        each = {
            seen.name: mean_of([measured(seen, rows) for rows in draws(seen, protocol)])
            for seen in sets
        }
        figures = {**each, "all": mean_of(list(each.values()))}
        answers[str(number)] = {name: asdict(item) for name, item in figures.items()}
    return answers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="+", type=Path, help="folders of labelled states")
    parser.add_argument("--references", nargs="+", type=int, default=[5, 10, 20])
    parser.add_argument("--draws", type=int, default=6, help="galleries per set")
    parser.add_argument("--model", default="default")
    options = parser.parse_args(arguments)
    try:
        answers = run(options)
    except EdgeSimError as error:
        print(f"measure_heads: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answers, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
