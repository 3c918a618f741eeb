"""`edge-sim evaluate retrieval`: every picture asks for the others of its class."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli.evaluate_options import add_output, check_plot, embedder_of, plotted
from edge_sim.cli.evaluate_report import print_report
from edge_sim.cli.output import progress

if TYPE_CHECKING:
    from edge_sim.evaluation import RetrievalResult


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the kind."""
    parser = kinds.add_parser(
        "retrieval",
        help="every picture asks for the others of its class",
        description="TAR holds <class>/<picture>.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="TAR")
    parser.add_argument("--no-centring", action="store_true", help="plain cosine")
    add_output(parser)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from edge_sim.evaluation import read_tar, retrieve

    check_plot(args.plot)
    embedder = embedder_of(args)
    results = [
        retrieve(
            path.stem,
            progress(read_tar(path), None, path.name),
            embedder,
            centred=not args.no_centring,
        )
        for path in args.paths
    ]
    if args.plot is not None:
        from edge_sim.evaluation.plots import plot_retrieval

        plot_retrieval(results, args.plot)
        plotted(args.plot)
    print_report(args, "retrieval", results, [_row(result) for result in results])
    return 0


def _row(result: RetrievalResult) -> dict[str, Any]:
    return {
        "collection": result.name,
        "pictures": result.pictures,
        "recall@1": result.recall_at_1,
        "recall@5": result.recall_at_5,
        "recall@10": result.recall_at_10,
        "recall@100": result.recall_at_100,
        "precision@5": result.precision_at_5,
        "precision@10": result.precision_at_10,
        "mAP": result.mean_average_precision,
        "embed_ms": result.embed_ms,
        "query_ms": result.latency_ms,
        "queries_per_s": result.queries_per_s,
    }
