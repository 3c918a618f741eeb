"""`edge-sim run`: watch, and write an event when a state changes."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.options import positive, seconds
from edge_sim.cli.output import note
from edge_sim.core.events import StateChanged

if TYPE_CHECKING:
    from edge_sim.analysis.report.timeline import Timeline
    from edge_sim.decision.pipeline import Watch
    from edge_sim.runtime.assembly import Device
    from edge_sim.runtime.loop import Step
    from edge_sim.runtime.score_log import ScoreLog
    from edge_sim.vision.probe import Region


def record(timeline: Timeline, step: Step, regions: Mapping[str, Region]) -> None:
    """Add every observation of `step`; those with an event get their picture in colour."""
    event_of = {item.watch: item for item in step.events if isinstance(item, StateChanged)}
    for outcome in step.outcomes:
        event = event_of.get(outcome.watch)
        crop = None
        if event is not None and step.frame is not None:
            crop = regions[outcome.watch].pixels_of(step.frame.pixels)
        timeline.add(outcome, event, crop)
    for event in event_of.values() if step.frame is None else ():
        timeline.add_lost_view(event)


def note_scores(log: ScoreLog, step: Step, watches: Mapping[str, Watch], device: str) -> None:
    """Log every observation of `step`, in full if the log takes it.

    Raises:
        DataError: The disk is full or gone.
    """
    from edge_sim.runtime.score_log import DecisionOrigin

    for event in step.events if step.frame is None else ():
        if isinstance(event, StateChanged):
            log.restart(event.watch)
    if step.frame is None:
        return
    for outcome in step.outcomes:
        watch = watches[outcome.watch]
        deciding = DecisionOrigin(device, step.frame.source, watch.decider)
        log.note(outcome, watch.gallery.revision, deciding)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "run",
        help="watch the sources of a configuration and emit events",
        description="Watch the sources of a configuration until they end or you press Ctrl-C. "
        "Events go to the configured sinks, a summary to stderr.",
    )
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument("--source", metavar="URI", help="use this instead of the only source")
    parser.add_argument("--max-frames", type=positive, metavar="N", help="stop after N frames")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write the timeline as a page (.html)"
    )
    parser.add_argument(
        "--score-log",
        type=Path,
        metavar="FILE",
        help="append scores, for `edge-sim stats` and `replay`",
    )
    parser.add_argument(
        "--score-every",
        type=seconds,
        default=60.0,
        metavar="S",
        help="interval between lines of a watch (60); 0 writes every observation in full, which "
        "`replay` needs",
    )
    parser.set_defaults(handler=_run, is_frame_loop=True)


def _run(args: argparse.Namespace) -> int:
    from edge_sim.cli.options import load
    from edge_sim.runtime.assembly import build
    from edge_sim.runtime.daemon.recording import Records
    from edge_sim.runtime.loop import Tally

    timeline = None if args.report is None else _timeline(args.report)
    config = load(args.config, source=args.source)
    tally = Tally()
    with ExitStack() as stack:
        # The score log of the configuration is the daemon's; here the option asks for one.
        records = stack.enter_context(closing(Records(config, score_log=False)))
        device = stack.enter_context(build(config))
        stop = _stop_event(device)
        log = _score_log(args, stack)
        watches = device.watches
        regions = {name: watch.region for name, watch in watches.items()}
        try:
            for step in device.steps(stop=stop):
                tally.add(step)
                if timeline is not None:
                    record(timeline, step, regions)
                records.note(watches, step)
                if log is not None:
                    note_scores(log, step, watches, config.device)
                if args.max_frames is not None and tally.frames >= args.max_frames:
                    break
        finally:
            for line in tally.text().splitlines():
                note(line)
            if timeline is not None:
                _write(timeline, args, watches.values())
    return 0


def _stop_event(device: Device) -> threading.Event:
    """Return an event that SIGTERM and SIGINT set; they also wake the device."""
    stop = threading.Event()  # never waited for, so a signal handler may set it

    def request(*_: object) -> None:
        stop.set()
        device.wake()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, request)
    return stop


def _write(timeline: Timeline, args: argparse.Namespace, watches: Iterable[Watch]) -> None:
    from edge_sim.analysis.report import write

    for watch in watches:
        timeline.describe(watch.name, watch.gallery)
    write(timeline, args.report, title=f"edge-sim run -c {args.config}")
    note(f"timeline: {args.report}")


def _timeline(path: Path) -> Timeline:
    # Imported only for those who want a report: it is a tenth of the start of a run.
    from edge_sim.analysis.report import check_path
    from edge_sim.analysis.report.timeline import Timeline

    check_path(path)
    return Timeline()


def _score_log(args: argparse.Namespace, stack: ExitStack) -> ScoreLog | None:
    from edge_sim.runtime.score_log import ScoreLog

    if args.score_log is None:
        return None
    return stack.enter_context(closing(ScoreLog(args.score_log, every_s=args.score_every)))
