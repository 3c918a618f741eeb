"""The picture of a nuisance suite: F1 of every pair, each nuisance alone on the diagonal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comparing.nuisances import NOTHING, TOGETHER, NuisanceResult
from edge_sim.analysis.report.figures import backend, save


def plot_nuisances(results: Sequence[NuisanceResult], path: Path) -> None:
    """Write two maps, nuisance by nuisance: F1 of events, and the part of the time in `unknown`.

    Raises:
        DataError: matplotlib is missing, or the file cannot be written.
    """
    names = [item.name for item in results if TOGETHER not in item.name and item.name != NOTHING]
    f1 = np.full((len(names), len(names)), np.nan)
    unknown = f1.copy()
    for item in results:
        places = [names.index(name) for name in item.name.split(TOGETHER) if name in names]
        if places:
            f1[places[0], places[-1]] = f1[places[-1], places[0]] = item.f1
            share = item.unknown_share
            unknown[places[0], places[-1]] = unknown[places[-1], places[0]] = share
    pyplot = backend()
    side = 2.5 + 0.55 * len(names)
    figure, axes = pyplot.subplots(1, 2, figsize=(2.2 * side, side), layout="constrained")
    _map(axes[0], f1, names, ("F1 of events", "RdYlGn", 0.8))
    _map(axes[1], unknown, names, ("part of the time in unknown", "Blues", 0.0))
    save(figure, path, pyplot)


def _map(
    axis: Any, table: NDArray[np.float64], names: Sequence[str], look: tuple[str, str, float]
) -> None:
    """Draw a table under (title, colours, value of the first colour)."""
    title, colours, low = look
    axis.imshow(table, vmin=low, vmax=1.0, cmap=colours, alpha=0.6)
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(value):
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8)
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set(title=title)
