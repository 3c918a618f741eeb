"""`edge-sim stats`: summary of an event file or a score log for each watch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.options import check_known
from edge_sim.cli.output import note, print_json, print_table, say
from edge_sim.errors import DataError

if TYPE_CHECKING:
    from edge_sim.analysis.log_stats import LogStats, WatchStats
    from edge_sim.decision.drift import Baseline, Key


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "stats",
        help="sum up an event file or score log: states, unknowns, scores, drift",
        description="Read JSON lines from `run --score-log` or a file sink, their rotated parts "
        "too. With the gallery, the scores are compared with those of its references, each left "
        "out, and drift is reported with the action to take.",
    )
    parser.add_argument("logs", nargs="+", type=Path, metavar="FILE")
    parser.add_argument(
        "--gallery", type=Path, metavar="FILE", help="gallery to compare the scores with"
    )
    parser.add_argument("--watch", metavar="NAME", help="only this watch")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="a page with the scores (.html)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=stats)


def stats(args: argparse.Namespace) -> int:
    """Print the summary of the log; exit code 0 whether or not scores drift."""
    from edge_sim.analysis.log_stats import log_stats
    from edge_sim.analysis.report import check_path, write_page
    from edge_sim.core.events import PackReported
    from edge_sim.runtime.score_log import BadLine, Line, SourceLines, read_lines

    if args.plot is not None:
        check_path(args.plot)
    baselines = {} if args.gallery is None else _baselines(args.gallery)
    watches: set[str] = set()

    def is_wanted(line: Line | BadLine) -> bool:
        if isinstance(line, BadLine | SourceLines | PackReported):
            return True
        watches.add(line.watch)
        return args.watch in (None, line.watch)

    lines = filter(is_wanted, read_lines(args.logs))
    found, traces = log_stats(lines, baselines)
    if found.bad_lines and found.bad_lines == found.lines:
        raise DataError(
            f"no line is one of an event file or a score log, such as {found.faults[0]}"
        )
    check_known(args.watch, watches, "watch", "the files")
    if args.plot is not None:
        from edge_sim.analysis.report.figures import scores_page

        write_page(args.plot, scores_page(traces))
        note(f"{args.plot}: written")
    if args.json:
        print_json(found)
    else:
        _print(found)
    return 0


def _baselines(path: Path) -> Mapping[str, Mapping[Key, Baseline]]:
    from edge_sim.decision.drift import baselines_of
    from edge_sim.decision.scorer import GalleryScorer
    from edge_sim.gallery.store import GalleryStore

    with GalleryStore.open(path, read_only=True) as store:
        galleries = {watch: store.gallery(watch) for watch in store.watches()}
    return {
        watch: baselines_of(gallery, GalleryScorer(gallery).leave_one_out())
        for watch, gallery in galleries.items()
    }


def _print(found: LogStats) -> None:
    for item in found.watches:
        _print_watch(item)
    for source, number in found.sources_lost.items():
        say(f"source {source}: lost {number} times")
    if not found.watches:
        say("no observations and no events")
    if found.bad_lines:
        note(f"{found.bad_lines} of {found.lines} lines cannot be read, such as {found.faults[0]}")


def _print_watch(item: WatchStats) -> None:
    least = "at least " if item.sampled else ""
    say(
        f"{item.watch}: {item.observations} observations and {least}{item.changes} changes, "
        f"{item.first[:16]} to {item.last[:16]} UTC"
    )
    if item.sampled:
        note(
            f"{item.watch}: a sampled log may miss short states; an event file, or a log written "
            f"with --score-every 0, has every change"
        )
    if item.states:
        shares = ", ".join(
            f"{state} {100 * number / item.observations:.1f} %"
            for state, number in item.states.items()
        )
        say(f"states: {shares}")
    if item.reasons:
        reasons = ", ".join(f"{reason} {number}" for reason, number in item.reasons.items())
        say(f"unknown because: {reasons}")
    if item.other_events:
        others = ", ".join(f"{kind} {number}" for kind, number in item.other_events.items())
        say(f"other events: {others}")
    if item.scores:
        heads = [
            "state",
            "light",
            "observations",
            "5 %",
            "median",
            "95 %",
            "expected",
            "psi",
            "limit",
            "",
        ]
        rows = [
            [
                *(
                    score.state,
                    score.condition,
                    score.observations,
                    score.low,
                    score.median,
                    score.high,
                ),
                *(score.expected, score.psi, score.psi_limit),
                "drifted" if score.drifted else "",
            ]
            for score in item.scores
        ]
        print_table(heads, rows)
    for score in item.scores:
        if score.expected is not None and score.action:
            say(score.action)
    if item.drift_began is not None:
        say(f"drift was first seen at {item.drift_began[:16]} UTC")
