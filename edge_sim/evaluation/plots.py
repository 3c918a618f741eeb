"""Pictures of an evaluation; matplotlib comes with the extra `plot`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_sim.domain import UNKNOWN
from edge_sim.errors import DataError
from edge_sim.evaluation.events import Played
from edge_sim.evaluation.metrics import precision_recall_curve, roc_curve
from edge_sim.evaluation.retrieval import RECALL_AT, RECALL_LEVELS, RetrievalResult
from edge_sim.evaluation.seen import SeenSet
from edge_sim.evaluation.states import Answers
from edge_sim.files import is_dir

_DPI = 110


def plot_states(answers: Sequence[Answers], path: Path) -> None:
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


def plot_events(clips: Sequence[tuple[SeenSet, Played]], path: Path) -> None:
    """Write a timeline per clip: true and said states, and `combined` of the best match.

    Raises:
        DataError: matplotlib is missing, or the file cannot be written.
    """
    pyplot = backend()
    figure, axes = pyplot.subplots(
        len(clips), 1, figsize=(14, 2.6 * len(clips)), squeeze=False, layout="constrained"
    )
    for axis, (seen, played) in zip(axes[:, 0], clips, strict=True):
        _timeline(axis, seen, played)
    save(figure, path, pyplot)


def plot_retrieval(results: Sequence[RetrievalResult], path: Path) -> None:
    """Write precision over recall, and recall over the number of answers, of all collections.

    Raises:
        DataError: matplotlib is missing, or the file cannot be written.
    """
    pyplot = backend()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for one in results:
        label = f"{one.name}, mAP {one.mean_average_precision:.3f}"
        left.plot(RECALL_LEVELS, one.precision_at_recall, marker="o", label=label)
        recalls = [getattr(one, f"recall_at_{number}") for number in RECALL_AT]
        right.plot(RECALL_AT, recalls, marker="o", label=one.name)
    left.set(xlabel="recall", ylabel="interpolated precision", xlim=(0, 1), ylim=(0, 1.02))
    right.set(xscale="log", xlabel="answers looked at", ylabel="questions with a hit")
    right.set(ylim=(0, 1.02))
    right.set_xticks(RECALL_AT, [str(number) for number in RECALL_AT])
    for axis in (left, right):
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    save(figure, path, pyplot)


def check(path: Path) -> None:
    """Check that a plot can be drawn and where it goes, before the work that it shows.

    Raises:
        DataError: matplotlib is missing, there is no such folder, or a kind of file that it
            cannot write.
    """
    pyplot = backend()
    if not is_dir(path.parent):
        raise DataError(f"{path}: there is no folder {path.parent} to write the plot to")
    kinds = sorted(pyplot.figure().canvas.get_supported_filetypes())
    pyplot.close()
    if path.suffix.removeprefix(".") not in kinds:
        raise DataError(f"{path}: a plot cannot be such a file; there are {', '.join(kinds)}")


def _scores(axis: Any, item: Answers) -> None:
    bins = np.linspace(0.0, 1.0, 41)
    if len(item.familiar):
        axis.hist(item.familiar, bins, density=True, alpha=0.6, label="state in the gallery")
        axis.hist(item.novel, bins, density=True, alpha=0.6, label="state left out")
        axis.legend(fontsize=8)
    axis.set(title=item.result.name, xlabel="combined of the best state", xlim=(0, 1), yticks=())


def _roc(axis: Any, item: Answers) -> None:
    if len(item.familiar):
        false, found = roc_curve(item.familiar, item.novel)
        axis.plot(false, found)
        axis.axvline(0.05, color="grey", linewidth=0.8, linestyle=":")
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    open_set = item.result.open_set
    title = "open set" if open_set is None else f"open set, AUROC {open_set.auroc:.3f}"
    axis.set(title=title, xlabel="false unknown", ylabel="unknown found", aspect="equal")


def _precision(axis: Any, item: Answers) -> None:
    if len(item.familiar):
        recall, precision = precision_recall_curve(item.familiar, item.novel)
        axis.plot(recall, precision)
        chance = len(item.novel) / (len(item.novel) + len(item.familiar))
        axis.axhline(chance, color="grey", linewidth=0.8)
    axis.set(title="open set", xlabel="unknown found", ylabel="precision of unknown")
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")


def _calibration(axis: Any, item: Answers) -> None:
    which = np.minimum((item.probability * 10).astype(int), 9)
    present = np.unique(which)
    said = [float(item.probability[which == one].mean()) for one in present]
    right = [float(item.right[which == one].mean()) for one in present]
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axis.plot(said, right, marker="o")
    error = item.result.calibration_error
    axis.set(title=f"calibration, error {error:.3f}", xlabel="said", ylabel="right")
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")


def _confusion(axis: Any, item: Answers) -> None:
    states = list(item.result.states)
    table = np.zeros((len(states), len(states)))
    for true, row in item.result.confusion.items():
        for said, number in row.items():
            table[states.index(true), states.index(said)] = number
    shares = table / table.sum(axis=1, keepdims=True)
    axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        axis.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(len(states)), states, rotation=20, fontsize=7)
    axis.set_yticks(range(len(states)), states, fontsize=7)
    axis.set(title=f"balanced accuracy {item.result.balanced_accuracy:.3f}", ylabel="true")


def _timeline(axis: Any, seen: SeenSet, played: Played) -> None:
    names = [*seen.states, UNKNOWN]
    height = {name: -0.12 * (place + 1) for place, name in enumerate(names)}
    places = np.arange(len(played.rows))
    true = [height.get(seen.labels[row] or UNKNOWN, np.nan) for row in played.rows]
    axis.scatter(places, true, s=9, color="lightgrey", label="true")
    if played.alarms is None:
        combined = [np.nan if m is None else m.best.score.combined for m in played.matches]
        said = [height.get(state.name, np.nan) for state in played.said]
        axis.plot(
            places, combined, linewidth=0.8, color="black", label="combined of the best state"
        )
        axis.scatter(places, np.array(said) - 0.03, s=3, color="tab:red", label="said")
    told = [place for place, _ in played.changes] if played.alarms is None else played.alarms
    for number, place in enumerate(told):
        axis.axvline(
            place, color="tab:blue", linewidth=0.5, label=None if number else "change reported"
        )
    levels = (0.0, 0.5, 1.0) if played.alarms is None else ()
    axis.set_yticks([*height.values(), *levels], [*names, *map(str, levels)], fontsize=7)
    axis.set_title(seen.name, loc="left")
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
