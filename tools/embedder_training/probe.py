"""Quality of an embedder on the shared evaluation sets, by the protocol of their README."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder_training.pack import PackError, Pixels, decode_rgb, read_tar, squash

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.str_]
Embed = Callable[[npt.NDArray[np.uint8]], tuple[Floats, Floats]]

REFERENCES_PER_STATE = 5
DRAWS = 6
RIDGE = 0.1


@dataclass(frozen=True)
class Pictures:
    """A labelled set, squashed to the input size of the embedder under test."""

    name: str
    pixels: Pixels
    labels: Labels


def load_states(folder: Path, size: int) -> list[Pictures]:
    """Return every states set; rows marked transition or boundary are left out."""
    return [_load_set(path.parent, size) for path in sorted(folder.glob("*/labels.csv"))]


def _load_set(folder: Path, size: int) -> Pictures:
    with (folder / "labels.csv").open(newline="") as stream:
        rows = [
            row
            for row in csv.DictReader(stream)
            if not {"transition", "boundary"} & set(row["nuisance"].split(";"))
            and row["state"] not in ("transition", "boundary")
        ]
    pixels = np.stack(
        [squash(decode_rgb((folder / row["frame"]).read_bytes()), size) for row in rows]
    )
    states = [row["state"] for row in rows]
    if folder.name == "cola_line":
        states = [state if state == "normal" else "fault" for state in states]
    return Pictures(folder.name, pixels, np.array(states))


def load_retrieval(path: Path, size: int) -> Pictures:
    """Return the pictures of a retrieval tar; the class is the folder of each.

    Raises:
        PackError: the tar is missing.
    """
    if not path.is_file():
        raise PackError(f"no retrieval set at {path}")
    named = list(read_tar(path))
    pixels = np.stack([squash(decode_rgb(encoded), size) for _, encoded in named])
    return Pictures(path.stem, pixels, np.array([name.split("/")[-2] for name, _ in named]))


def unit(rows: Floats) -> Floats:
    """Return the rows with length 1."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-9), dtype=np.float32)


def mean_average_precision(embeddings: Floats, labels: Labels) -> float:
    """Return the mAP of every picture querying all others, embeddings centred."""
    rows = unit(unit(embeddings) - unit(embeddings).mean(axis=0))
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    order = np.argsort(-scores, axis=1)[:, :-1]
    relevant = labels[order] == labels[:, None]
    precision = np.cumsum(relevant, axis=1) / np.arange(1, relevant.shape[1] + 1)
    counts = relevant.sum(axis=1)
    found = counts > 0
    per_query = (precision * relevant).sum(axis=1)[found] / counts[found]
    return float(per_query.mean())


def cell_features(grids: Floats) -> Floats:
    """Return the grids flattened, every cell of length 1."""
    count = len(grids)
    return unit(unit(grids.reshape(count, -1, grids.shape[-1])).reshape(count, -1))


def nearest_scores(references: Floats, owners: Labels, rows: Floats, states: Labels) -> Floats:
    """Return per row and state the best cosine to a reference, centred on the references."""
    mean = references.mean(axis=0)
    scores = unit(rows - mean) @ unit(references - mean).T
    return np.stack([scores[:, owners == state].max(axis=1) for state in states], axis=1)


def ridge_scores(references: Floats, owners: Labels, rows: Floats, states: Labels) -> Floats:
    """Return per row and state the kernel ridge score, centred on the references."""
    mean = references.mean(axis=0)
    known, asked = unit(references - mean), unit(rows - mean)
    targets = np.where(owners[:, None] == states[None, :], 1.0, -1.0)
    gram = known @ known.T + RIDGE * np.eye(len(known))
    solved = np.linalg.solve(gram, targets - targets.mean(axis=0))
    return np.asarray(asked @ known.T @ solved + targets.mean(axis=0), dtype=np.float32)


def _draw(labels: Labels, states: Labels, seed: int) -> npt.NDArray[np.bool_]:
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for state in states:
        members = np.flatnonzero(labels == state)
        chosen[rng.choice(members, min(REFERENCES_PER_STATE, len(members) - 1), False)] = True
    return chosen


def _balanced(scores: Floats, truth: Labels, states: Labels) -> float:
    said = states[scores.argmax(axis=1)]
    return float(np.mean([(said[truth == state] == state).mean() for state in states]))


def states_accuracy(pooled: Floats, grids: Floats, labels: Labels) -> dict[str, float]:
    """Return balanced accuracy per scorer on one set, mean over the draws."""
    rows, cells = unit(pooled), cell_features(grids)
    states = np.unique(labels)
    found: dict[str, list[float]] = {}
    for seed in range(DRAWS):
        known = _draw(labels, states, seed)
        owners, truth = labels[known], labels[~known]
        scores = {
            "global_nearest": nearest_scores(rows[known], owners, rows[~known], states),
            "global_ridge": ridge_scores(rows[known], owners, rows[~known], states),
            "spatial_nearest": nearest_scores(cells[known], owners, cells[~known], states),
            "spatial_ridge": ridge_scores(cells[known], owners, cells[~known], states),
        }
        scores["fused_ridge"] = scores["global_ridge"] + scores["spatial_ridge"]
        for name, values in scores.items():
            found.setdefault(name, []).append(_balanced(values, truth, states))
    return {name: float(np.mean(values)) for name, values in found.items()}


def states_report(sets: Sequence[Pictures], embed: Embed) -> dict[str, dict[str, float]]:
    """Return per scorer the accuracy of every set, their mean and the worst."""
    report: dict[str, dict[str, float]] = {}
    for pictures in sets:
        for name, value in states_accuracy(*embed(pictures.pixels), pictures.labels).items():
            report.setdefault(name, {})[pictures.name] = round(value, 4)
    for values in report.values():
        mean, worst = float(np.mean(list(values.values()))), min(values.values())
        values.update(mean=round(mean, 4), worst=round(worst, 4))
    return report


def retrieval_report(sets: Sequence[Pictures], embed: Embed) -> dict[str, float]:
    """Return the mAP per retrieval set."""
    return {
        pictures.name: round(mean_average_precision(embed(pictures.pixels)[0], pictures.labels), 4)
        for pictures in sets
    }
