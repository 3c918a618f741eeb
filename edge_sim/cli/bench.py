"""`edge-sim bench`: how fast the path of a frame is on this machine."""

from __future__ import annotations

import argparse

from edge_sim.cli.options import positive, roi, size, threads
from edge_sim.cli.output import note, print_json, print_table, progress

DECODERS = ("opencv", "pyav")


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
    camera = parser.add_argument_group("the load of a camera instead, in percent of a core")
    camera.add_argument("--camera", metavar="URI", help="USB or network camera; not a recording")
    camera.add_argument(
        "--seconds", type=positive, default=20, metavar="N", help="of each way of watching (20)"
    )
    camera.add_argument(
        "--roi",
        type=roi,
        default=(0.25, 0.25, 0.75, 0.75),
        metavar="X1,Y1,X2,Y2",
        help="region of the watch (0.25,0.25,0.75,0.75)",
    )
    camera.add_argument(
        "--size", type=size, metavar="WxH", help="size that a USB or CSI camera is asked for"
    )
    camera.add_argument(
        "--decoder", choices=DECODERS, default="opencv", help="decoder of a stream (opencv)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=_bench, is_frame_loop=True)


def _camera(args: argparse.Namespace) -> int:
    from edge_sim.analysis.benchmark import machine
    from edge_sim.analysis.camera_load import measure_camera, table_row
    from edge_sim.core.types import Roi
    from edge_sim.io.sources.options import SourceOptions
    from edge_sim.io.sources.uri import masked
    from edge_sim.vision.embedders import open_embedder

    embedder = open_embedder(args.model, threads=args.threads)
    width, height = args.size or (None, None)
    options = SourceOptions(
        name=masked(args.camera), decoder=args.decoder, width=width, height=height
    )
    note(f"{masked(args.camera)}: {args.seconds} s for each way of watching; keep it running alone")
    found = measure_camera(args.camera, options, embedder, roi=Roi(*args.roi), seconds=args.seconds)
    facts = machine(embedder, args.threads)
    if args.json:
        print_json({"schema": 1, "machine": facts, "decoder": args.decoder, "loads": found})
        return 0
    note(", ".join(f"{key} {value}" for key, value in facts.items()))
    rows = [
        (
            item.name,
            item.percent_of_core,
            item.ms_per_frame,
            item.frames_per_s,
            item.converted_per_s,
            item.observed_per_s,
        )
        for item in found
    ]
    head = ["watched", "% of a core", "ms/frame", "frames/s", "converted/s", "observed/s"]
    print_table(head, rows)
    note("as a row of the table in docs/benchmarks.md:")
    note(table_row(found, args.camera, facts, args.decoder))
    return 0


def _bench(args: argparse.Namespace) -> int:
    if args.camera is not None:
        return _camera(args)
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
