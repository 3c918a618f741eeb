"""Of each watch the most different recent pictures are kept, few, bounded, and none if private."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sim.core.types import State, UnknownReason
from edge_sim.decision.pipeline import Outcome, Watch
from edge_sim.errors import CommandError
from edge_sim.gallery.gallery import Gallery
from edge_sim.runtime.config import Config, parse_config
from edge_sim.runtime.loop import Step
from edge_sim.runtime.stills import DiverseStills
from tests.builders import embedding, flat_frame, observation
from tests.decision.test_pipeline import STAGES
from tests.runtime.daemon.test_doubts import LEVELS, PROBE, SURE

WATCHES = {"gate": Watch("gate", Gallery(), STAGES)}


def config(watch: str = "{}", listen: str = "web: {listen: '127.0.0.1:0'}") -> Config:
    return parse_config(f"sources: {{c: {{uri: a.mp4}}}}\nwatches: {{gate: {watch}}}\n{listen}\n")


def outcome(angle: float, at_s: float = 0.0) -> Outcome:
    probe = replace(PROBE, embedding=embedding(float(np.cos(angle)), float(np.sin(angle))))
    return Outcome("gate", probe, observation(SURE, at_s=at_s), State("open"), LEVELS, None)


def note(stills: DiverseStills, *angles: float) -> None:
    for at, angle in enumerate(angles):
        seen = outcome(angle, float(at))
        stills.note(WATCHES, Step(flat_frame(at_s=float(at)), (seen,), ()))


def angles_of(stills: DiverseStills) -> list[float]:
    found = [np.arctan2(item.vector[1], item.vector[0]) for item in stills.of("gate")]
    return sorted(round(float(angle), 3) for angle in found)


def test_a_picture_like_one_that_is_kept_is_not_kept_again() -> None:
    stills = DiverseStills(config())
    note(stills, 0.0, 0.05, 1.0, 1.05)
    assert angles_of(stills) == [0.0, 1.0]


def test_of_many_pictures_the_most_different_stay() -> None:
    stills = DiverseStills(config(), per_watch=3)
    note(stills, 0.0, 0.3, 0.6, 3.0, 1.5)
    assert angles_of(stills) == [0.6, 1.5, 3.0], "of the two nearest the older goes"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.0, 3.0), max_size=40))
def test_the_number_is_bounded_and_no_two_are_alike(angles: list[float]) -> None:
    stills = DiverseStills(config(), per_watch=4)
    note(stills, *angles)
    kept = stills.of("gate")
    assert len(kept) <= 4
    for at, item in enumerate(kept):
        assert all(float(item.vector @ other.vector) < 0.9901 for other in kept[:at])


def test_the_bytes_are_bounded() -> None:
    stills = DiverseStills(config(), most_bytes=1)
    note(stills, 0.0, 1.0, 2.0)
    assert angles_of(stills) == [2.0]


def test_a_private_watch_and_a_device_without_pages_keep_nothing() -> None:
    for silent in (config("{private: true}"), config(listen="")):
        stills = DiverseStills(silent)
        note(stills, 0.0, 1.0)
        assert stills.of("gate") == ()


def test_a_covered_picture_or_one_that_the_gate_spared_is_not_kept() -> None:
    stills = DiverseStills(config())
    covered = replace(observation(SURE), impediment=UnknownReason.COVERED)
    for seen in (replace(outcome(0), observation=covered), replace(outcome(0), embedded=False)):
        stills.note(WATCHES, Step(flat_frame(), (seen,), ()))
    assert stills.of("gate") == ()


def test_stills_of_another_region_are_dropped_and_others_stay() -> None:
    stills = DiverseStills(config())
    note(stills, 0.0)
    stills.use(config("{sensitivity: 0.7}"))
    assert len(stills.of("gate")) == 1
    stills.use(config("{roi: [0, 0, 0.5, 0.5]}"))
    assert stills.of("gate") == ()


def test_a_still_is_given_by_its_id_until_it_is_dropped(tmp_path: Path) -> None:
    stills = DiverseStills(config())
    note(stills, 0.0)
    (still,) = stills.of("gate")
    assert stills.still("gate", still.still_id).jpeg.startswith(b"\xff\xd8")
    assert still.best == "open"
    stills.drop("gate", still.still_id)
    with pytest.raises(CommandError, match="no still"):
        stills.still("gate", still.still_id)
