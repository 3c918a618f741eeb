"""Methods by name: ours and what one would take instead."""

from __future__ import annotations

import pytest
from comparing.baselines import SCORERS
from comparing.methods import DETECTORS, NAMES, THRESHOLDS, method_of, missing_package

from edge_sim.analysis.evaluation.events import judge
from edge_sim.analysis.evaluation.states import Protocol
from edge_sim.errors import DataError
from tests.analysis.evaluation.folders import embedded_set
from tests.pictured import gallery, probe

LABELS = ["empty"] * 12 + ["left"] * 12
NAMING = [name for name in NAMES if name not in DETECTORS]


@pytest.mark.parametrize("name", NAMING)
def test_a_method_that_names_states_answers_frame_by_frame(name: str) -> None:
    answers = method_of(name).states(embedded_set(LABELS), Protocol(references=3, draws=1))
    assert answers.result.balanced_accuracy == 1.0


@pytest.mark.parametrize("name", NAMING)
def test_a_method_that_names_states_plays_a_clip(name: str) -> None:
    seen = embedded_set(LABELS)
    gallery = embedded_set(["empty"] * 5 + ["left"] * 5, start=1000).gallery(range(10))
    threshold = 0.3 if name in THRESHOLDS else None  # drawn pictures are noisier than real ones
    found = judge(seen, method_of(name, threshold=threshold).play(seen, range(24), gallery))
    assert found.recall == 1.0
    assert found.false_events == 0


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_names_no_states(name: str) -> None:
    with pytest.raises(DataError, match="names no states"):
        method_of(name).states(embedded_set(LABELS), Protocol())


def test_a_fixed_threshold_calls_what_lies_below_unknown() -> None:
    seen = embedded_set(["empty"] * 12 + ["left"] * 12 + ["right"] * 12)
    protocol = Protocol(references=3, draws=1)
    lenient = method_of("nearest-cosine", threshold=0.0).states(seen, protocol).result.open_set
    strict = method_of("nearest-cosine", threshold=1.0).states(seen, protocol).result.open_set
    assert lenient is not None
    assert strict is not None
    assert (lenient.found, lenient.false_unknown) == (0.0, 0.0)
    assert strict.false_unknown > 0.9


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        pytest.param("ours", {}, "no method 'ours'", id="no such method"),
        pytest.param("gallery", {"sensitivity": float("nan")}, "0 to 1", id="sensitivity NaN"),
        pytest.param("gallery", {"threshold": 0.5}, "no fixed threshold", id="not fixed"),
        pytest.param("mog2", {"threshold": 0.5}, "no fixed threshold", id="detector"),
        pytest.param("ssim", {"threshold": float("nan")}, "0 to 1", id="threshold NaN"),
        pytest.param("ssim", {"threshold": 1.5}, "0 to 1", id="threshold above"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(
    name: str, settings: dict[str, float], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        method_of(name, **settings)


def test_only_what_needs_a_package_can_miss_one() -> None:
    assert all(missing_package(name) is None for name in NAMES if name != "scenedetect")


@pytest.mark.parametrize("name", ["nearest-cosine", "ssim", "thumbnail"])
def test_a_baseline_tells_clear_states_apart(name: str) -> None:
    scorer = SCORERS[name](gallery(4))
    for state in ("empty", "left", "right"):
        match = scorer.best_match(probe(state, 3))
        assert match is not None
        assert match.best.state == state
