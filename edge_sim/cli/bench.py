"""`edge-sim bench`: how fast the path of a frame is on this machine."""

from __future__ import annotations

import argparse

from edge_sim.cli.options import positive, threads
from edge_sim.cli.output import note, print_json, print_table, progress


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "bench",
        help="measure the time of every stage from frame to decision",
        description="Time every stage of the path of a frame in turn, round after round, on one "
        "thread, and print medians and their ratios: right after itself, as in a loop, and "
        "`first`, after another stage has filled the caches. Goals were set for a 64-bit machine "
        "that does nothing else.",
    )
    parser.add_argument(
        "--model", default="default", metavar="SPEC", help=".tflite file or `thumbnail`"
    )
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="threads (1)")
    parser.add_argument("--rounds", type=positive, default=100, metavar="N", help="rounds (100)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=_bench, is_frame_loop=True)


def _bench(args: argparse.Namespace) -> int:
    from edge_sim.analysis.benchmark import (
        COMPARISONS,
        Measurement,
        interleaved,
        machine,
        make_bench,
        ratios_of,
        timings_of,
    )

    bench = make_bench(args.model, threads=args.threads)
    seconds = interleaved(
        bench.cases, args.rounds, watch=lambda rounds: progress(rounds, None, "rounds")
    )
    found = Measurement(
        machine(bench.embedder, args.threads), timings_of(seconds), ratios_of(seconds, COMPARISONS)
    )
    if args.json:
        print_json(found)
        return 0
    note(", ".join(f"{key} {value}" for key, value in found.machine.items()))
    rows = [(item.name, item.median_ms, item.p95_ms, item.first_ms) for item in found.timings]
    print_table(["stage", "median ms", "p95 ms", "first ms"], rows)
    print()
    marks = {None: "", True: "met", False: "missed"}
    ratios = [
        (item.name, item.ratio, item.first_ratio, item.goal, marks[item.is_met])
        for item in found.ratios
    ]
    print_table(["ratio", "measured", "first", "goal", ""], ratios)
    return 0
