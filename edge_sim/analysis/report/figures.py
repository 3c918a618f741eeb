"""Diagrams: evaluations by matplotlib (extra `plot`), calibrations and score logs as reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.calibration import Curve
from edge_sim.analysis.evaluation.datasets import EmbeddedSet
from edge_sim.analysis.evaluation.events import Played
from edge_sim.analysis.evaluation.metrics import precision_recall_curve, roc_curve
from edge_sim.analysis.evaluation.retrieval import RANKS, RECALL_LEVELS, RetrievalResult
from edge_sim.analysis.evaluation.states import StateAnswers
from edge_sim.analysis.log_stats import Traces
from edge_sim.analysis.report.document import Block, document
from edge_sim.core.files import is_dir
from edge_sim.core.types import UNKNOWN
from edge_sim.errors import DataError

_DPI = 110


def plot_states(answers: Sequence[StateAnswers], path: Path) -> None:
    """Write a row per set: scores of known and novel frames, ROC, PR, calibration, confusion.

    Raises:
        DataError: matplotlib is missing, or the file cannot be written.
    """
    pyplot = backend()
    figure, axes = pyplot.subplots(
        len(answers), 5, figsize=(20, 3.4 * len(answers)), squeeze=False, layout="constrained"
    )
    for row, item in zip(axes, answers, strict=True):
        _scores(row[0], item)
        _roc(row[1], item)
        _precision(row[2], item)
        _calibration(row[3], item)
        _confusion(row[4], item)
    save(figure, path, pyplot)


def plot_events(clips: Sequence[tuple[EmbeddedSet, Played]], path: Path) -> None:
    """Write a timeline per clip: true and reported states, and `combined` of the best match.

    Raises:
        DataError: matplotlib is missing, or the file cannot be written.
    """
    pyplot = backend()
    figure, axes = pyplot.subplots(
        len(clips), 1, figsize=(14, 2.6 * len(clips)), squeeze=False, layout="constrained"
    )
    for axis, (embedded, played) in zip(axes[:, 0], clips, strict=True):
        _timeline(axis, embedded, played)
    save(figure, path, pyplot)


def plot_retrieval(results: Sequence[RetrievalResult], path: Path) -> None:
    """Write precision over recall, and the hit rate over the number of answers, of all collections.

    Raises:
        DataError: matplotlib is missing, or the file cannot be written.
    """
    pyplot = backend()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for one in results:
        label = f"{one.name}, mAP {one.mean_average_precision:.3f}"
        left.plot(RECALL_LEVELS, one.precision_at_recall, marker="o", label=label)
        rates = [getattr(one, f"hit_rate_at_{number}") for number in RANKS]
        right.plot(RANKS, rates, marker="o", label=one.name)
    left.set(xlabel="recall", ylabel="interpolated precision", xlim=(0, 1), ylim=(0, 1.02))
    right.set(xscale="log", xlabel="answers looked at", ylabel="questions with a hit")
    right.set(ylim=(0, 1.02))
    right.set_xticks(RANKS, [str(number) for number in RANKS])
    for axis in (left, right):
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    save(figure, path, pyplot)


def check(path: Path) -> None:
    """Check that a plot can be drawn and written; call it before long work.

    Raises:
        DataError: matplotlib is missing, the folder does not exist, or matplotlib cannot
            write such a file.
    """
    pyplot = backend()
    if not is_dir(path.parent):
        raise DataError(f"{path}: there is no folder {path.parent} to write the plot to")
    kinds = sorted(pyplot.figure().canvas.get_supported_filetypes())
    pyplot.close()
    if path.suffix.removeprefix(".") not in kinds:
        raise DataError(f"{path}: a plot cannot be such a file; there are {', '.join(kinds)}")


def _scores(axis: Any, item: StateAnswers) -> None:
    bins = np.linspace(0.0, 1.0, 41)
    if len(item.familiar):
        axis.hist(item.familiar, bins, density=True, alpha=0.6, label="state in the gallery")
        axis.hist(item.novel, bins, density=True, alpha=0.6, label="state left out")
        axis.legend(fontsize=8)
    axis.set(title=item.result.name, xlabel="combined of the best state", xlim=(0, 1), yticks=())


def _roc(axis: Any, item: StateAnswers) -> None:
    if len(item.familiar):
        false, found = roc_curve(item.familiar, item.novel)
        axis.plot(false, found)
        axis.axvline(0.05, color="grey", linewidth=0.8, linestyle=":")
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    open_set = item.result.open_set
    title = "open set" if open_set is None else f"open set, AUROC {open_set.auroc:.3f}"
    axis.set(title=title, xlabel="false unknown", ylabel="unknown found", aspect="equal")


def _precision(axis: Any, item: StateAnswers) -> None:
    if len(item.familiar):
        recall, precision = precision_recall_curve(item.familiar, item.novel)
        axis.plot(recall, precision)
        chance = len(item.novel) / (len(item.novel) + len(item.familiar))
        axis.axhline(chance, color="grey", linewidth=0.8)
    axis.set(title="open set", xlabel="unknown found", ylabel="precision of unknown")
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")


def _calibration(axis: Any, item: StateAnswers) -> None:
    which = np.minimum((item.probability * 10).astype(int), 9)
    present = np.unique(which)
    reported = [float(item.probability[which == one].mean()) for one in present]
    right = [float(item.right[which == one].mean()) for one in present]
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axis.plot(reported, right, marker="o")
    error = item.result.calibration_error
    axis.set(title=f"calibration, error {error:.3f}", xlabel="probability", ylabel="right")
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")


def _confusion(axis: Any, item: StateAnswers) -> None:
    states = list(item.result.states)
    table = np.zeros((len(states), len(states)))
    for true, row in item.result.confusion.items():
        for answer, number in row.items():
            table[states.index(true), states.index(answer)] = number
    shares = table / table.sum(axis=1, keepdims=True)
    axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        axis.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(len(states)), states, rotation=20, fontsize=7)
    axis.set_yticks(range(len(states)), states, fontsize=7)
    axis.set(title=f"balanced accuracy {item.result.balanced_accuracy:.3f}", ylabel="true")


def _timeline(axis: Any, embedded: EmbeddedSet, played: Played) -> None:
    names = [*embedded.states, UNKNOWN]
    height = {name: -0.12 * (place + 1) for place, name in enumerate(names)}
    places = np.arange(len(played.rows))
    true = [height.get(embedded.labels[row] or UNKNOWN, np.nan) for row in played.rows]
    axis.scatter(places, true, s=9, color="lightgrey", label="true")
    if played.alarms is None:
        combined = [np.nan if m is None else m.best.score.combined for m in played.matches]
        reported = [height.get(state.name, np.nan) for state in played.reported]
        axis.plot(
            places, combined, linewidth=0.8, color="black", label="combined of the best state"
        )
        axis.scatter(places, np.array(reported) - 0.03, s=3, color="tab:red", label="reported")
    reports = [place for place, _ in played.changes] if played.alarms is None else played.alarms
    for number, place in enumerate(reports):
        axis.axvline(
            place, color="tab:blue", linewidth=0.5, label=None if number else "change reported"
        )
    levels = (0.0, 0.5, 1.0) if played.alarms is None else ()
    axis.set_yticks([*height.values(), *levels], [*names, *map(str, levels)], fontsize=7)
    axis.set_title(embedded.name, loc="left")
    axis.set(xlabel="frame", xlim=(0, len(places)))
    axis.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4)


def backend() -> Any:
    """Return matplotlib's pyplot, set to draw into files.

    Raises:
        DataError: matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise DataError("--plot needs matplotlib; run `pip install 'edge_sim[plot]'`") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, path: Path, pyplot: Any) -> None:
    """Write a figure of `backend()` and close it.

    Raises:
        DataError: The file cannot be written.
    """
    try:
        figure.savefig(path, dpi=_DPI)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the plot cannot be written: {error}") from error
    finally:
        pyplot.close(figure)


Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """Points joined by a line, or bars.

    Args:
        name: Entry in the legend; empty for none.
        points: (x, y) in the units of the axes; for bars the middle of each.
        colour: Name in the style sheet of the pages.
        bar: Width of a bar in units of x; 0 draws a line.
        dashed: Whether the line is dashed.
    """

    name: str
    points: tuple[Point, ...]
    colour: str
    bar: float = 0.0
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """A label, and the values from low to high; ticks at equal steps. `low < high`."""

    label: str
    low: float = 0.0
    high: float = 1.0
    ticks: int = 5
    digits: int = 1


@dataclass(frozen=True, slots=True)
class Diagram:
    """A panel: series over two axes; `marks` are values of x with a vertical line."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    marks: tuple[tuple[float, str], ...] = ()


def diagrams_page(title: str, diagrams: Iterable[Diagram]) -> str:
    """Return diagrams side by side as an HTML document."""
    return document(title, [diagrams_block(diagrams)])


def diagrams_block(diagrams: Iterable[Diagram]) -> Block:
    """Return diagrams side by side as a block."""
    return {"kind": "diagrams", "diagrams": [asdict(item) for item in diagrams]}


_BINS = 40
_POINTS = 400
"""More points of a curve than pixels show nothing more."""


def curves_page(trials: Sequence[tuple[str, Curve, float]], title: str) -> str:
    """Return a page with three diagrams per (name, curve, threshold)."""
    diagrams: list[Diagram] = []
    for name, curve, threshold in trials:
        diagrams += [_histogram(name, curve, threshold), _calibration_precision(curve, threshold)]
        diagrams.append(_calibration_roc(curve, threshold))
    return diagrams_page(title, diagrams)


def _histogram(name: str, curve: Curve, threshold: float) -> Diagram:
    low, high = float(curve.thresholds[-1]), float(curve.thresholds[0])
    low, high = (low, high) if high > low else (low - 0.05, high + 0.05)
    edges = np.linspace(low, high, _BINS + 1)
    shares = []
    for counts, number in ((curve.false, curve.different), (curve.hits, curve.same)):
        each = np.diff(np.concatenate([[0], counts]))
        shares.append(np.histogram(curve.thresholds, edges, weights=each)[0] / number)
    top = max(float(share.max()) for share in shares) * 1.1
    middles = (edges[:-1] + edges[1:]) / 2
    series = tuple(
        Series(word, _points(middles, share), colour, bar=float(edges[1] - edges[0]))
        for word, share, colour in zip(
            ("different", "same"), shares, ("state1", "state0"), strict=True
        )
    )
    mark = ((threshold, f"{threshold:.3f}"),)
    x, y = Axis("score", low, high, digits=2), Axis("share", 0.0, top, digits=2)
    return Diagram(f"{name}: {curve.same} same, {curve.different} different", x, y, series, mark)


def _calibration_precision(curve: Curve, threshold: float) -> Diagram:
    place = int(np.argmin(np.abs(curve.thresholds - threshold)))
    points = _points(curve.recall, curve.precision)
    series = (Series("", points, "state0"), _here(curve.recall[place], curve.precision[place]))
    return Diagram("Precision over recall", Axis("recall"), Axis("precision"), series)


def _calibration_roc(curve: Curve, threshold: float) -> Diagram:
    place = int(np.argmin(np.abs(curve.thresholds - threshold)))
    points = ((0.0, 0.0), *_points(curve.fpr, curve.recall))
    chance = Series("", ((0.0, 0.0), (1.0, 1.0)), "axis", dashed=True)
    series = (
        chance,
        Series("", points, "state0"),
        _here(curve.fpr[place], curve.recall[place]),
    )
    return Diagram("ROC", Axis("false-positive rate"), Axis("recall"), series)


def _here(x: float, y: float) -> Series:
    """Return a cross at the chosen point."""
    x, y, d = float(x), float(y), 0.015
    corners = ((x - d, y - d), (x + d, y + d), (x, y), (x - d, y + d), (x + d, y - d))
    return Series("chosen", corners, "wrong")


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Point, ...]:
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(int))
    return tuple((float(x[row]), float(y[row])) for row in rows)


_SCORES_POINTS = 300


def scores_page(traces: Mapping[str, Traces]) -> str:
    """Return a page with two diagrams per state and light; the mark is the gallery's estimate."""
    diagrams: list[Diagram] = []
    for watch, trace in sorted(traces.items()):
        expected = {(r.state, r.condition): r.expected for r in trace.drift.readings()}
        for (state, condition), scores in sorted(trace.scores.items()):
            values = np.array(scores, np.float64)
            name = f"{watch}: {state}, {condition}"
            diagrams += [
                _over_time(name, values),
                _spread(name, values, expected.get((state, condition))),
            ]
    return diagrams_page("Scores" if diagrams else "No scores", diagrams)


def _over_time(name: str, values: np.typing.NDArray[np.float64]) -> Diagram:
    """Return means of so many neighbours that the line has no more points than can be embedded."""
    parts = np.array_split(values, min(_SCORES_POINTS, len(values)))
    means = [float(part.mean()) for part in parts]
    places = np.linspace(0.0, float(max(len(values) - 1, 1)), len(means))
    points = tuple((float(x), y) for x, y in zip(places, means, strict=True))
    x = Axis("observations", 0.0, float(max(len(values) - 1, 1)), digits=0)
    return Diagram(f"{name} in order", x, Axis("score"), (Series("", points, "state0"),))


def _spread(name: str, values: np.typing.NDArray[np.float64], expected: float | None) -> Diagram:
    counts, edges = np.histogram(values, _BINS, (0.0, 1.0))
    shares = counts / max(len(values), 1)
    middles = (edges[:-1] + edges[1:]) / 2
    bars = tuple((float(x), float(y)) for x, y in zip(middles, shares, strict=True))
    series = Series("", bars, "state0", bar=1.0 / _BINS)
    marks = () if expected is None else ((expected, f"expected {expected:.2f}"),)
    y = Axis("share", 0.0, float(shares.max()) * 1.1, digits=2)
    return Diagram(f"{name}, {len(values)} observations", Axis("score"), y, (series,), marks)
