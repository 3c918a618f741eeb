"""The sentences of a report, the same in HTML and PNG."""

from __future__ import annotations

from edge_sim.domain import UNKNOWN
from edge_sim.events import utc_text
from edge_sim.report.axis import duration_text
from edge_sim.report.summary import WatchSummary
from edge_sim.report.timeline import Timeline, Track

NO_LOOKS = "No looks: nothing was seen in this run, so there is nothing to draw."


def started_text(timeline: Timeline) -> str:
    """Return when the run started, in UTC; empty without a look."""
    starts = [track.looks[0].unix_time_s for track in timeline.tracks if track.looks]
    return utc_text(min(starts)).replace("T", " ").replace("Z", " UTC") if starts else ""


def facts(track: Track) -> tuple[tuple[str, str], ...]:
    """Return what was run, as (word, value) pairs."""
    references = ", ".join(f"{state} {count}" for state, count in track.references.items())
    revision = track.gallery_revision
    pairs = (
        ("source", track.source),
        ("model", track.model_id),
        ("gallery revision", "" if revision is None else str(revision)),
        ("references", references),
        ("looks", f"{track.looks_seen:,}"),
    )
    return tuple((word, value) for word, value in pairs if value)


def figures(track: Track, summary: WatchSummary) -> tuple[tuple[str, str], ...]:
    """Return the summary as (figure, caption) pairs, the most telling first."""
    pairs = [
        (f"{track.moments_seen:,}", "event" if track.moments_seen == 1 else "events"),
        (duration_text(summary.span_s), "watched"),
    ]
    if summary.agreement is not None:
        agreement = summary.agreement
        pairs.append((percent(agreement.right), "of the time right"))
        pairs.append((percent(agreement.wrong), "wrong"))
    pairs.append((percent(summary.shares.get(UNKNOWN, 0.0)), "unknown"))
    pairs += [
        (percent(share), state) for state, share in summary.shares.items() if state != UNKNOWN
    ]
    return tuple(pairs)


def left_out(track: Track) -> str:
    """Return a sentence about events that are not listed; empty if all are."""
    missing = track.moments_seen - len(track.moments)
    return f"{missing:,} events between these are not listed." if missing else ""


def percent(share: float) -> str:
    """Return a share as per cent; what is not nothing never reads as 0, nor all but all as 100."""
    value = 100.0 * share
    if 0.0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100.0:
        return "> 99.9 %"
    return f"{value:.1f} %".replace(".0 %", " %")
