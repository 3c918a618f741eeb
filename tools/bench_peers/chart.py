"""A bar chart of a measurement."""

from __future__ import annotations

from pathlib import Path

from edge_sim.analysis.benchmark import Measurement


def draw(found: Measurement, path: Path) -> None:
    """Write medians as horizontal bars on a logarithmic axis, PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    timings = sorted(found.timings, key=lambda item: -item.median_ms)
    figure, axes = pyplot.subplots(figsize=(10, 0.4 * len(timings) + 1.5))
    bars = axes.barh([item.name for item in timings], [item.median_ms for item in timings])
    axes.bar_label(bars, labels=[f"{item.median_ms:.3g} ms" for item in timings], padding=4)
    axes.set_xscale("log")
    axes.margins(x=0.15, y=0.01)
    axes.set_xlabel(f"median ms, {found.machine['threads']} thread, {found.machine['cpu']}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
