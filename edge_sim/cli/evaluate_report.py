"""How the figures of `edge-sim evaluate` are printed: JSON, or a table with the worst marked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from edge_sim.cli.output import print_json, print_table

SCHEMA = 1
WORST = "worst"


def print_report(
    args: argparse.Namespace, kind: str, results: Sequence[Any], rows: Sequence[dict[str, Any]]
) -> None:
    """Print the results as JSON, or the rows with their mean and the worst marked.

    Args:
        args: With json, model and, but for retrieval, scorer and threshold (null: its own one).
        kind: Of evaluation.
        results: Structs with the figures of each set.
        rows: Columns of each set for people; the one that `JUDGED_BY` names tells the worst.
    """
    import msgspec

    from edge_sim.evaluation.metrics import mean_figures

    if args.json:
        report = {"schema": SCHEMA, "kind": kind, "model": args.model, "sets": results}
        if kind != "retrieval":
            report |= {"scorer": args.scorer, "threshold": args.threshold}
        mean = mean_figures([msgspec.to_builtins(result) for result in results])
        print_json(report | {"mean": mean})
        return
    worst = min(range(len(rows)), key=lambda place: rows[place][JUDGED_BY[kind]])
    table = [
        [*row.values(), WORST if place == worst and len(rows) > 1 else ""]
        for place, row in enumerate(rows)
    ]
    if len(rows) > 1:
        means = mean_figures(rows)
        table.append(["mean", *(means.get(name) for name in list(rows[0])[1:]), ""])
    print_table([*rows[0], ""], table)


JUDGED_BY = {"states": "balanced_accuracy", "events": "f1", "retrieval": "mAP"}
"""Column that tells the worst set."""
