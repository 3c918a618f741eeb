"""Benchmark edge_sim and its alternatives in one interleaved run.

    python tools/bench.py --official ../shared/models/v3-small_224_1.0_uint8.tflite --json out.json

Peers come with the extra `bench`; those that are absent are skipped with a line. The result is the
ratio of two cases timed in turn in the same process on one thread, each twice: `first` after
another case, then right after itself. `--cpu-time` counts the
processor's time instead of the clock's, for a machine that does other things as well. `--figures`
adds figures of whole processes: `start`, `video` (needs ffmpeg), `memory` (minutes), `jpeg`
(photos), `usb` (cameras that send JPEG or YUYV), `camera` (a 1080p camera on loopback; needs
ffmpeg), `latency` (from the shutter to the event).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
from bench_figures import FIGURES, Effort
from bench_peers import PEERS, Workbench

from edge_sim.analysis.benchmark import (
    COMPARISONS,
    Case,
    Figure,
    Measurement,
    SpeedRatio,
    interleaved,
    machine,
    make_bench,
    ratios_of,
    timings_of,
)
from edge_sim.cli.output import note, print_table, progress
from edge_sim.errors import EdgeSimError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    args = _parser().parse_args(argv)
    if os.environ.get("OPENBLAS_NUM_THREADS") != str(args.threads):
        # numpy read it when it was imported: begin anew, with the threads that are to be measured.
        os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
        arguments = sys.argv[1:] if argv is None else argv
        os.execv(sys.executable, [sys.executable, __file__, *arguments])
    try:
        found = measure(args)
    except EdgeSimError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    _print(found)
    if args.json is not None:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    if args.chart is not None:
        from bench_peers.chart import draw

        draw(found, args.chart)
    return 0


def measure(args: argparse.Namespace) -> Measurement:
    """Return timings and ratios of edge_sim and of every peer that is installed, and figures."""
    bench = make_bench(args.model, threads=args.threads)
    workbench = Workbench(embedder=bench.embedder, official=args.official, rows=args.rows)
    cases: dict[str, Case] = dict(bench.cases)
    comparisons: list[SpeedRatio] = list(COMPARISONS)
    skipped: list[str] = []
    opened = ExitStack()
    for name, prepare in PEERS.items():
        if args.only and name not in args.only:
            continue
        try:
            peer = prepare(workbench)
        except (ImportError, FileNotFoundError, ValueError, EdgeSimError) as error:
            skipped.append(f"{name}: {error}")
            continue
        opened.callback(peer.close)
        cases |= peer.cases
        comparisons += peer.comparisons
    clock = time.process_time if args.cpu_time else time.perf_counter
    rounds = args.rounds
    with opened:
        seconds = interleaved(
            cases, rounds, clock=clock, watch=lambda numbers: progress(numbers, None, "rounds")
        )
    facts = machine(bench.embedder, args.threads)
    facts["clock"] = "processor time" if args.cpu_time else "wall"
    figures = _figures(args, skipped)
    ratios = ratios_of(seconds, comparisons)
    return Measurement(facts, timings_of(seconds), ratios, tuple(skipped), figures)


def _figures(args: argparse.Namespace, skipped: list[str]) -> tuple[Figure, ...]:
    """Return the selected figures; those that cannot be measured here are added to `skipped`."""
    effort = Effort(args.repeats, args.memory_frames)
    found = [_figures_of(name, effort, skipped) for name in args.figures or ()]
    return tuple(figure for figures in found for figure in figures)


def _figures_of(name: str, effort: Effort, skipped: list[str]) -> Sequence[Figure]:
    try:
        return FIGURES[name](effort)
    except (ImportError, FileNotFoundError, EdgeSimError) as error:
        skipped.append(f"{name}: {error}")
        return ()


def _print(found: Measurement) -> None:
    note(", ".join(f"{key} {value}" for key, value in found.machine.items()))
    for line in found.skipped:
        note(f"skipped {line}")
    rows = [(item.name, item.median_ms, item.p95_ms, item.first_ms) for item in found.timings]
    print_table(["what", "median ms", "p95 ms", "first ms"], rows)
    print()
    marks = {None: "", True: "met", False: "missed"}
    ratios = [
        (item.name, item.ratio, item.first_ratio, item.goal, marks[item.is_met])
        for item in found.ratios
    ]
    print_table(["ratio", "measured", "first", "goal", ""], ratios)
    if found.figures:
        print()
        figures = [
            (item.name, item.value, item.unit, item.goal, marks[item.is_met])
            for item in found.figures
        ]
        print_table(["figure", "measured", "", "goal", ""], figures)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="default", metavar="SPEC")
    parser.add_argument("--official", type=Path, metavar="FILE", help="v3-small_224_1.0_uint8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--rows", type=int, default=100_000, help="of the search benchmark")
    parser.add_argument("--figures", nargs="*", choices=list(FIGURES), help="these as well")
    parser.add_argument("--repeats", type=int, default=5, help="of each process and film")
    parser.add_argument("--memory-frames", type=int, default=100_000)
    parser.add_argument("--only", nargs="*", choices=list(PEERS), help="these peers")
    parser.add_argument("--cpu-time", action="store_true", help="count processor time")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="bar chart, PNG")
    return parser


if __name__ == "__main__":
    sys.exit(main())
