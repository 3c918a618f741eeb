"""`edge-sim replay`: decide a score log again, with other settings, and see which events change."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.output import note, print_json, print_table, progress, say

if TYPE_CHECKING:
    from edge_sim.analysis.replay import (
        Overrides,
        Reading,
        ReplayedEvent,
        ReplayedObservation,
        ReplayRun,
    )
    from edge_sim.analysis.replay_summary import LogState, ReplayResult, SweepRow, WatchReplay
    from edge_sim.analysis.report.timeline import Timeline
    from edge_sim.runtime.score_log import BadLine, Line


_SWEEP_STEPS = 10


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "replay",
        help="decide a score log again, with other settings, and list events gained and lost",
        description="Read a log that `edge-sim run --score-log FILE --score-every 0` or the "
        "daemon wrote, and make every decision again from its scores: no picture is needed. With "
        "the original settings the events are exactly the original ones; with others it lists "
        "which would be gained, lost or moved.",
    )
    parser.add_argument(
        "--from-scores", nargs="+", type=Path, required=True, metavar="LOG", help="score logs"
    )
    parser.add_argument("--sensitivity", type=share, metavar="X", help="0 to 1, for every watch")
    parser.add_argument(
        "--confirm", type=confirm, metavar="M/N", help="M of the last N observations"
    )
    parser.add_argument("--enter", type=share, metavar="X", help="fixed level to enter a state")
    parser.add_argument("--leave", type=share, metavar="X", help="fixed level to leave a state")
    parser.add_argument("--watch", metavar="NAME", help="only this watch")
    parser.add_argument(
        "--sweep", action="store_true", help="count the events of sensitivities from 0 to 1"
    )
    parser.add_argument("--plot", type=Path, metavar="OUT", help="draw both as a page (.html)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=_replay)


def share(text: str) -> float:
    """Return a number from 0 to 1.

    Raises:
        ArgumentTypeError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def confirm(text: str) -> tuple[int, int]:
    """Return the two numbers of `M/N`.

    Raises:
        ArgumentTypeError: They are no confirmation.
    """
    first, _, second = text.partition("/")
    if first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second) <= 1000:
        return int(first), int(second)
    raise argparse.ArgumentTypeError(f"{text!r} is no confirmation; give M/N, such as 3/5")


def _replay(args: argparse.Namespace) -> int:
    from edge_sim.analysis.replay import Overrides, Reading, ReplayRun
    from edge_sim.analysis.replay_summary import (
        ReplayResult,
        log_state,
        overridden,
        sweep_rows,
        watch_replays,
    )
    from edge_sim.analysis.report import check_path, write
    from edge_sim.analysis.report.timeline import Timeline

    if args.plot is not None:
        check_path(args.plot)
    matches, of = args.confirm or (None, None)
    overrides = Overrides(args.sensitivity, matches, of, args.enter, args.leave)
    swept = [ReplayRun(_with_sensitivity(overrides, step)) for step in _sweep(args.sweep)]
    logged, replayed = ReplayRun(), ReplayRun(overrides)
    reading = Reading([logged, replayed, *swept])
    timeline = Timeline()
    for item in progress(reading.observations(_lines(args)), None, "replay"):
        if args.plot is not None:
            _draw(timeline, item, logged, replayed)
    state = log_state(reading)
    _require_observations(args, reading, state)
    result = ReplayResult(
        overridden(overrides), watch_replays(reading, replayed), sweep_rows(reading, swept), state
    )
    if args.plot is not None:
        write(timeline, args.plot, title=f"edge-sim replay, {_overrides_text(result)}")
        note(f"{args.plot}: written")
    if args.json:
        print_json(result)
    else:
        _print(result)
    return 0


def _lines(args: argparse.Namespace) -> Iterator[Line | BadLine]:
    from edge_sim.runtime.score_log import DeciderLine, ScoreLine, read_lines

    for line in read_lines(args.from_scores):
        if not isinstance(line, DeciderLine | ScoreLine) or args.watch in (None, line.watch):
            yield line


def _sweep(wanted: bool) -> list[float]:
    return [step / _SWEEP_STEPS for step in range(_SWEEP_STEPS + 1)] if wanted else []


def _with_sensitivity(overrides: Overrides, sensitivity: float) -> Overrides:
    from dataclasses import replace

    return replace(overrides, sensitivity=sensitivity)


def _require_observations(args: argparse.Namespace, reading: Reading, state: LogState) -> None:
    """Reject a log in which there is nothing to decide.

    Raises:
        DataError: There is none, with what the log holds instead.
    """
    from edge_sim.errors import DataError

    if reading.whole:
        return
    names = ", ".join(str(path) for path in args.from_scores)
    if reading.summaries:
        raise DataError(
            f"{names}: holds summaries of some observations ({reading.summaries}), not what they "
            f"were decided from; write it with --score-every 0"
        )
    if args.watch is not None:
        raise DataError(f"{names}: there is no observation of a watch {args.watch!r}")
    fault = f" (such as {state.faults[0]})" if state.faults else ""
    raise DataError(
        f"{names}: holds no observations to decide{fault}; write it with `edge-sim run "
        f"--score-log FILE --score-every 0`"
    )


def _draw(
    timeline: Timeline, item: ReplayedObservation, logged: ReplayRun, replayed: ReplayRun
) -> None:
    from edge_sim.analysis.report.timeline import point_of

    watch, at_s = item.line.watch, item.observation.unix_time_s
    for run, change, name in zip(
        (logged, replayed),
        item.changes,
        (f"{watch} as it was", f"{watch} as replayed"),
        strict=False,
    ):
        decider = run.deciders[watch]
        point = point_of(item.observation, decider.state, decider.thresholds, at_s)
        timeline.add_observation(name, point, change)


def _print(result: ReplayResult) -> None:
    for item in result.watches:
        _print_watch(item, result)
    if result.sweep:
        _print_sweep(result.sweep)
    state = result.log
    if not state.exact:
        note(
            f"not exact: {state.missing} observations are missing, {state.unread} cannot be "
            f"placed, {state.midway} beginnings lie in the middle of a run"
        )
    if state.bad_lines:
        note(f"{state.bad_lines} lines cannot be read, such as {state.faults[0]}")


def _print_watch(item: WatchReplay, result: ReplayResult) -> None:
    text = _overrides_text(result)
    if item.logged == item.decided == item.same:
        say(f"{item.watch}: {item.logged} events; {text} exactly the same")
        return
    say(
        f"{item.watch}: {item.logged} events at the time; {text} {item.decided}: {item.same} the "
        f"same, {len(item.moved)} moved, {len(item.gained)} gained, {len(item.lost)} lost"
    )
    rows = [
        *((event.at, ["gained", *_cells(event), ""]) for event in item.gained),
        *((event.at, ["lost", *_cells(event), ""]) for event in item.lost),
        *(
            (move.now.at, ["moved", *_cells(move.now), _shift_text(move.observations)])
            for move in item.moved
        ),
    ]
    rows.sort(key=lambda row: row[0])
    print_table(["", "at", "event", "before", "after", ""], [cells for _, cells in rows])


def _cells(event: ReplayedEvent) -> list[str]:
    from edge_sim.analysis.explain import state_text

    before = "start" if event.before is None else state_text(event.before, event.before_reason)
    return [event.at, event.id, before, state_text(event.after, event.reason)]


def _shift_text(moved: int) -> str:
    if moved == 0:
        return "from another state"
    number = "1 observation" if abs(moved) == 1 else f"{abs(moved)} observations"
    return f"{number} {'later' if moved > 0 else 'earlier'}"


def _overrides_text(result: ReplayResult) -> str:
    if not result.overrides:
        return "with the original settings"
    return "with " + ", ".join(f"{name} {value:g}" for name, value in result.overrides.items())


def _print_sweep(rows: tuple[SweepRow, ...]) -> None:
    heads = ["watch", "sensitivity", "events", "unknown", "same", "moved", "gained", "lost"]
    print_table(
        heads,
        [
            [
                *(row.watch, f"{row.sensitivity:.1f}", row.events, row.unknown),
                *(row.same, row.moved, row.gained, row.lost),
            ]
            for row in rows
        ],
    )
