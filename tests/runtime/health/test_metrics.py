"""What Prometheus reads."""

from __future__ import annotations

import pytest

pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")

from prometheus_client.parser import text_string_to_metric_families

from edge_sim.core.types import State, UnknownReason
from edge_sim.decision.drift import DriftReading
from edge_sim.runtime.health.metrics import StatusCollector, exposition
from edge_sim.runtime.health.status import OpenIssues, StatusBoard, UpdateStatus
from tests.builders import OUTBOX_COUNTS
from tests.runtime.health.test_board import CHANGED, Time, board, look

STANDING = OpenIssues(
    problems={"covered": "2026-01-31T12:00:00.000Z"},
    overdue=True,
    drifts=(DriftReading("open", "ir", 40, 0.5, 0.8, 0.61, 0.4, "fall", 0.3),),
)


def collector_of(board: StatusBoard) -> StatusCollector:
    return StatusCollector(board, lambda: OUTBOX_COUNTS, lambda: {"mqtt": 3}, lambda: 100)


def samples(of: StatusBoard) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = exposition(collector_of(of)).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def seen() -> StatusBoard:
    time = Time()
    made = board(time)
    look(made, State("open"))
    look(made, State("unknown", UnknownReason.DARK), index=4, embedded=False)
    made.add_event(CHANGED)
    made.add_inference(0.002)
    made.show_issues("gate", STANDING)
    time.now_s += 8.0
    return made


def test_the_figures_are_those_of_the_board() -> None:
    found = samples(seen())

    def value(name: str, **labels: str) -> float:
        return found[name, tuple(sorted(labels.items()))]

    assert value("edge_sim_frames_total", source="yard") == 2
    assert value("edge_sim_frame_age_seconds", source="yard") == 8.0
    assert value("edge_sim_source_up", source="yard") == 1
    assert value("edge_sim_state", watch="gate", state="unknown") == 1
    assert value("edge_sim_state", watch="gate", state="open") == 0
    assert value("edge_sim_state_duration_seconds", watch="gate") == 8.0
    assert value("edge_sim_problem_active", watch="gate", problem="covered") == 1
    assert value("edge_sim_overdue", watch="gate") == 1
    assert value("edge_sim_drift_psi", watch="gate", state="open", condition="ir") == 0.61
    assert value("edge_sim_drifted", watch="gate", state="open", condition="ir") == 1
    assert value("edge_sim_events_reported_total", type="state_changed") == 1
    changed = {"watch": "gate", "from": "closed", "to": "open"}
    assert found["edge_sim_state_changes_total", tuple(sorted(changed.items()))] == 1
    assert value("edge_sim_similarity_ratio", watch="gate", state="open") == 0.9
    assert value("edge_sim_margin_ratio", watch="gate") == pytest.approx(0.8)
    assert value("edge_sim_unknown_seconds_total", watch="gate", reason="dark") == 4.0
    assert value("edge_sim_inferences_skipped_total", reason="gate") == 1
    assert value("edge_sim_inference_duration_seconds_bucket", le="0.001") == 0
    assert value("edge_sim_inference_duration_seconds_bucket", le="0.0025") == 1
    assert value("edge_sim_inference_duration_seconds_count") == 1
    assert value("edge_sim_events_dropped_total", sink="mqtt", reason="age") == 1
    assert value("edge_sim_sink_failures", sink="mqtt") == 3
    assert value("edge_sim_storage_written_bytes_total") == 4196
    assert value("process_resident_memory_bytes") > 1e6


def test_names_keep_to_the_conventions() -> None:
    for family in text_string_to_metric_families(exposition(collector_of(seen())).decode()):
        assert family.name.startswith(("edge_sim_", "process_"))
        assert family.documentation
        assert not family.name.endswith(("_ms", "_percent", "_milliseconds"))


def test_packs_have_figures_where_they_are_taken() -> None:
    made = seen()
    assert not any("pack" in name or "updates" in name for name, _ in samples(made))
    packs = (("bowls", 3, "activated"), ("bowls", 4, "refused"))
    made.updates = UpdateStatus(1_700_000_000.0, 2, "no network", packs)
    found = samples(made)
    assert found["edge_sim_updates_last_success_timestamp_seconds", ()] == 1_700_000_000.0
    assert found["edge_sim_updates_failures", ()] == 2.0
    labels = (("outcome", "refused"), ("pack", "bowls"))
    assert found["edge_sim_pack_version", labels] == 4.0
