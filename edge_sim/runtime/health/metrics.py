"""Prometheus metrics, made from the board for each request; needs the extra `metrics`.

Names follow https://prometheus.io/docs/practices/naming/: one prefix, base units, `_total` for
counters, few labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edge_sim.core.types import UNKNOWN
from edge_sim.io.outbox.queue import OutboxCounts
from edge_sim.runtime.health.status import INFERENCE_BUCKETS_S, StatusBoard, WatchStatus
from edge_sim.version import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class StatusCollector(Collector):
    """Collector of the metrics of the status board.

    Args:
        board: Status board of the daemon.
        counts: Counts of the outbox.
        failing: Number of failures in a row of each sink that fails.
        written_bytes: Bytes written to the disk beside the outbox since the start.
    """

    def __init__(
        self,
        board: StatusBoard,
        counts: Callable[[], OutboxCounts],
        failing: Callable[[], Mapping[str, int]],
        written_bytes: Callable[[], int],
    ) -> None:
        self._board = board
        self._counts = counts
        self._failing = failing
        self._written_bytes = written_bytes

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield from self._of_sources()
        yield from self._of_watches()
        yield from self._of_changes()
        yield from self._of_issues()
        yield from self._of_inference()
        yield from self._of_delivery()
        yield from self._of_updates()

    def _of_sources(self) -> Iterator[Metric]:
        now_s = self._board.clock()
        up = _gauge("source_up", "Whether the source gives frames", "source")
        age = _gauge("frame_age_seconds", "Since the last frame", "source")
        at = _gauge("last_frame_timestamp_seconds", "Unix time of the last frame", "source")
        frames = _counter("frames", "Processed frames", "source")
        losses = _counter("source_losses", "Losses of the source", "source")
        dropped = _counter("frames_dropped", "Frames replaced by newer ones", "source")
        rejected = _counter("frames_rejected", "Reads that gave no picture", "source")
        repeated = _counter("frames_repeated", "Frames exactly like the one before", "source")
        hanging = _gauge("capture_hanging_threads", "Threads that hang in a driver", "source")
        for item in self._board.sources:
            labels = [item.name]
            up.add_metric(labels, float(item.up))
            if item.frame_at_s is not None:
                age.add_metric(labels, max(now_s - item.frame_at_s, 0.0))
                at.add_metric(labels, item.frame_unix_s or 0.0)
            frames.add_metric(labels, item.frames)
            losses.add_metric(labels, item.losses)
            dropped.add_metric(labels, item.dropped)
            rejected.add_metric(labels, item.rejected)
            repeated.add_metric(labels, item.repeated)
            hanging.add_metric(labels, item.hanging)
        yield from (up, age, at, frames, losses, dropped, rejected, repeated, hanging)

    def _of_watches(self) -> Iterator[Metric]:
        state = _gauge("state", "1 for the present state", "watch", "state")
        since = _gauge("state_duration_seconds", "Running time since the state began", "watch")
        similarity = _gauge(
            "similarity_ratio", "Combined score of the last observation", "watch", "state"
        )
        margin = _gauge("margin_ratio", "Probability margin of the last observation", "watch")
        revision = _gauge("gallery_revision", "Revision of the gallery in force", "watch")
        for item in self._board.watches:
            for name, value in _one_hot(item):
                state.add_metric([item.name, name], value)
            if item.state is not None:
                since.add_metric([item.name], self._board.in_state_s(item.name))
            for name, combined in item.combined.items():
                similarity.add_metric([item.name, name], combined)
            if item.margin is not None:
                margin.add_metric([item.name], item.margin)
            revision.add_metric([item.name], item.revision)
        yield from (state, since, similarity, margin, revision)

    def _of_changes(self) -> Iterator[Metric]:
        changes = _counter("state_changes", "Reported changes", "watch", "from", "to")
        unknown = _counter("unknown_seconds", "Seconds in unknown, by reason", "watch", "reason")
        observations = _counter("observations", "Observations of a watch", "watch")
        for item in self._board.watches:
            for (before, after), number in sorted(item.changes.items()):
                changes.add_metric([item.name, before, after], number)
            for reason, seconds in sorted(item.unknown_s.items()):
                unknown.add_metric([item.name, reason], seconds)
            observations.add_metric([item.name], item.observations)
        yield from (changes, unknown, observations)

    def _of_issues(self) -> Iterator[Metric]:
        problem = _gauge(
            "problem_active", "1 while a reported problem is not over", "watch", "problem"
        )
        overdue = _gauge("overdue", "1 while the state lasts too long", "watch")
        labels = ("watch", "state", "condition")
        psi = _gauge("drift_psi", "Population stability index of recent scores", *labels)
        drifted = _gauge("drifted", "1 where scores no longer lie where they did", *labels)
        for item in self._board.watches:
            for name in item.issues.problems or ():
                problem.add_metric([item.name, name], 1.0)
            if item.issues.overdue is not None:
                overdue.add_metric([item.name], float(item.issues.overdue))
            for reading in item.issues.drifts:
                if reading.psi is not None:
                    psi.add_metric([item.name, reading.state, reading.condition], reading.psi)
                where = [item.name, reading.state, reading.condition]
                drifted.add_metric(where, float(reading.drifted))
        reported = _counter("events_reported", "Events, by type", "type")
        for kind, number in sorted(self._board.event_counts.items()):
            reported.add_metric([kind], number)
        yield from (problem, overdue, psi, drifted, reported)

    def _of_inference(self) -> Iterator[Metric]:
        skipped = _counter("inferences_skipped", "Observations without an embedding", "reason")
        skipped.add_metric(["gate"], sum(item.skipped for item in self._board.watches))
        durations = self._board.durations
        histogram = HistogramMetricFamily(
            "edge_sim_inference_duration_seconds", "Duration of one embedding"
        )
        limits = [*(str(limit) for limit in INFERENCE_BUCKETS_S), "+Inf"]
        buckets = list(zip(limits, map(float, accumulate(durations.counts)), strict=True))
        histogram.add_metric([], buckets, durations.sum_s)
        info = _gauge("build_info", "Version and model in use", "version", "model", "device")
        info.add_metric([__version__, self._board.model, self._board.device], 1.0)
        broken = _gauge("part_broken", "1 while a part of the daemon does not work", "part")
        failures = _counter("part_failures", "Failures of a part of the daemon", "part")
        faults = self._board.faults
        for part, number in sorted(self._board.failures.items()):
            broken.add_metric([part], float(part in faults))
            failures.add_metric([part], number)
        yield from (skipped, histogram, info, broken, failures)

    def _of_delivery(self) -> Iterator[Metric]:
        counts = self._counts()
        waiting = _gauge("outbox_waiting_events", "Events not yet delivered to a sink", "sink")
        delivered = _counter("events_delivered", "Events delivered to a sink", "sink")
        dropped = _counter("events_dropped", "Events dropped for a sink", "sink", "reason")
        failing = _gauge("sink_failures", "Attempts in a row that failed", "sink")
        for sink, number in counts.pending.items():
            waiting.add_metric([sink], number)
            failing.add_metric([sink], self._failing().get(sink, 0))
        for sink, number in counts.delivered.items():
            delivered.add_metric([sink], number)
        for (sink, reason), number in counts.dropped.items():
            dropped.add_metric([sink, reason], number)
        unsaved = _gauge("outbox_unsaved_events", "Waiting events that are not on disk")
        unsaved.add_metric([], counts.unsaved)
        written = _counter("storage_written_bytes", "Written to the disk since the start")
        written.add_metric([], counts.written_bytes + self._written_bytes())
        yield from (waiting, delivered, dropped, failing, unsaved, written)

    def _of_updates(self) -> Iterator[Metric]:
        updates = self._board.updates
        if updates is None:
            return
        checked = _gauge(
            "updates_last_success_timestamp_seconds", "Unix time of the last good check"
        )
        if updates.checked_unix_s is not None:
            checked.add_metric([], updates.checked_unix_s)
        failures = _gauge("updates_failures", "Checks for packs in a row that failed")
        failures.add_metric([], updates.failures)
        version = _gauge(
            "pack_version", "Version of a pack, by what became of it", "pack", "outcome"
        )
        for name, number, outcome in updates.packs:
            version.add_metric([name, outcome], number)
        yield from (checked, failures, version)


def exposition(collector: StatusCollector) -> bytes:
    """Return all metrics in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _one_hot(item: WatchStatus) -> Iterator[tuple[str, float]]:
    present = None if item.state is None else item.state.name
    for name in dict.fromkeys((*item.states, UNKNOWN, *((present,) if present else ()))):
        yield name, float(name == present)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"edge_sim_{name}", text, labels=labels)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"edge_sim_{name}", text, labels=labels)
