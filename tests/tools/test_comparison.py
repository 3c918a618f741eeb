"""Several methods on the same sets and clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from comparing.comparison import Candidate, candidates, measure_method

from edge_sim.analysis.evaluation.datasets import EmbeddedSet
from edge_sim.analysis.evaluation.states import Protocol
from tests.analysis.evaluation.folders import embedded_set
from tests.pictured import picture

PROTOCOL = Protocol(references=3, draws=1)
HOUR_S = 3600.0


def tracked(items: Sequence[EmbeddedSet], label: str) -> Sequence[EmbeddedSet]:
    return items


def shelf(name: str, labels: Sequence[str | None], **settings: float) -> EmbeddedSet:
    seen = embedded_set(labels, **settings)  # type: ignore[arg-type]
    return replace(seen, name=name, read_region=lambda row: picture(labels[row] or "top", row))


SETS = {
    "cells": [shelf("a", ["empty"] * 9 + ["left"] * 9), shelf("b", ["left"] * 9 + ["right"] * 9)]
}
STILL = shelf("still", ["empty"] * 30)


def test_models_matter_only_to_methods_that_embed() -> None:
    found = candidates(["gallery", "ssim", "mog2"], ["small", "large"])
    assert found == (
        Candidate("gallery", "small"),
        Candidate("gallery", "large"),
        Candidate("ssim", None),
        Candidate("mog2", None),
    )


def test_ours_is_measured_on_sets_and_clips() -> None:
    result = measure_method(
        Candidate("gallery", "cells"), SETS, {"cells": [STILL]}, PROTOCOL, track=tracked
    )
    assert result.skipped is None
    assert [result.name for result in result.states or ()] == ["a", "b"]
    assert [result.name for result in result.events or ()] == ["a", "b", "still"]
    summary = result.summary
    assert summary.balanced_accuracy == pytest.approx(1.0)
    assert summary.worst_set in ("a", "b")
    assert summary.f1 == pytest.approx(1.0)
    assert summary.false_in_still_clips == 0.0


def test_a_detector_has_figures_of_events_only() -> None:
    result = measure_method(
        Candidate("mog2", None), SETS, {"cells": [STILL]}, PROTOCOL, track=tracked
    )
    assert result.states is None
    assert result.summary.balanced_accuracy is None
    assert result.summary.f1 is not None
    assert result.summary.unknown_share is None


def test_the_threshold_of_an_entrant_is_used() -> None:
    strict = Candidate("nearest-cosine", "cells", threshold=1.0)
    result = measure_method(strict, SETS, {}, PROTOCOL, track=tracked)
    assert result.threshold == 1.0
    assert result.summary.unknown_share == pytest.approx(1.0)


def test_an_unordered_set_is_not_played() -> None:
    loose = {"cells": [replace(SETS["cells"][0], is_ordered=False)]}
    result = measure_method(Candidate("thumbnail", None), loose, {}, PROTOCOL, track=tracked)
    assert result.events == ()
    assert result.summary.f1 is None


def test_a_clip_takes_references_from_the_set_of_the_same_view_on_other_days() -> None:
    other = shelf("days", ["empty"] * 60 + ["left"] * 60, step_s=HOUR_S)
    clip = shelf("clip", ["empty"] * 4 + ["left"] * 8, step_s=HOUR_S, start=140)
    result = measure_method(
        Candidate("gallery", "cells"),
        {"cells": [other]},
        {"cells": [clip]},
        PROTOCOL,
        track=tracked,
    )
    played = (result.events or ())[1]
    assert played.frames == 12
    assert played.f1 == 1.0
