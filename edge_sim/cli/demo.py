"""`edge-sim demo`: no camera, no configuration; a drawn scene and its events."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.options import positive, whole
from edge_sim.cli.output import note, print_json_line, progress
from edge_sim.cli.parser import UsageError

if TYPE_CHECKING:
    from edge_sim.analysis.demo import DemoResult


SCENES = ("bowl", "gate", "parking", "lamp")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "demo",
        help="watch a drawn scene: no camera and no configuration needed",
        description="Draw a scene, enrol a few pictures of each state, watch it, and print an "
        "event as a line of JSON whenever the state changes. The same scene and seed always give "
        "the same events.",
    )
    parser.add_argument("--scene", choices=SCENES, default="bowl", help="drawn scene (bowl)")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="of the scene (0)")
    parser.add_argument(
        "--frames",
        type=positive,
        default=600,
        metavar="N",
        help="number of frames, 5 per second of scene time (600)",
    )
    parser.add_argument(
        "--nuisances",
        default="noise,light_drift,shadow,hand",
        metavar="LIST",
        help="disturbances, separated by commas; '' for none (%(default)s)",
    )
    parser.add_argument(
        "--references", type=positive, default=5, metavar="N", help="references per state (5)"
    )
    parser.add_argument(
        "--model", default="default", metavar="SPEC", help=".tflite file or `thumbnail`"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write the timeline as a page (.html)"
    )
    parser.add_argument(
        "--score-log",
        type=Path,
        metavar="FILE",
        help="write every observation, for `edge-sim replay`",
    )
    parser.set_defaults(handler=_demo, is_frame_loop=True)


def nuisance_names(text: str) -> tuple[str, ...]:
    """Return the names of a list with commas.

    Raises:
        UsageError: There is no such nuisance.
    """
    from edge_sim.io.sources.synthetic.nuisances import NUISANCES
    from edge_sim.runtime.config.yaml_reader import nearest

    names = tuple(part for part in text.split(",") if part)
    for name in names:
        if name not in NUISANCES:
            raise UsageError(f"--nuisances: no nuisance {name!r}{nearest(name, NUISANCES)}")
    return names


def _demo(args: argparse.Namespace) -> int:
    from edge_sim.analysis.demo import DEVICE, Demo, DemoPlan, Judge
    from edge_sim.analysis.report import check_path, write
    from edge_sim.analysis.report.timeline import Timeline
    from edge_sim.cli.run import note_scores, record
    from edge_sim.runtime.score_log import ScoreLog
    from edge_sim.vision.embedders import open_embedder

    started_s = time.monotonic()
    if args.report is not None:
        check_path(args.report)
    nuisances = nuisance_names(args.nuisances)
    plan = DemoPlan(args.scene, args.seed, args.frames, nuisances, args.references)
    embedder = open_embedder(args.model)
    log = None if args.score_log is None else ScoreLog(args.score_log, every_s=0.0)
    demo = Demo(plan, embedder)
    note(
        f"scene: {plan.scene}, {len(demo.gallery)} references of "
        f"{', '.join(demo.gallery.states)}; nuisances: {', '.join(nuisances) or 'none'}"
    )
    judge = Judge(demo.truth)
    timeline = Timeline()
    for step in progress(demo.steps(), plan.frames, "frames"):
        judge.add(step)
        record(timeline, step, {plan.scene: demo.region})
        if log is not None:
            note_scores(log, step, {plan.scene: demo.watch}, DEVICE)
        for event in step.events:
            print_json_line(event)
    demo.close()
    if log is not None:
        log.close()
    note(_verdict_text(judge.verdict(), time.monotonic() - started_s))
    if args.report is not None:
        timeline.describe(plan.scene, demo.watch.gallery, source=plan.uri)
        title = f"edge-sim demo --scene {plan.scene} --seed {plan.seed}"
        write(timeline, args.report, title=title, truth={plan.scene: demo.timed_truth()})
        note(f"timeline: {args.report}")
    return 0


def _verdict_text(verdict: DemoResult, took_s: float) -> str:
    return (
        f"{verdict.frames} frames in {took_s:.1f} s: "
        f"{verdict.found} of {verdict.true_changes} true states reported, "
        f"{verdict.false_changes} false, {verdict.unknown_share:.0%} of the time unknown"
    )
