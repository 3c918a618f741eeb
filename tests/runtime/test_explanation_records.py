"""What decided an event is remembered while it happens, with pictures only if they are wanted."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sim.core.events import StateChanged
from edge_sim.core.images import decode
from edge_sim.core.types import Frame, Observation, Roi, State, StateChange
from edge_sim.decision.pipeline import Outcome, Pipeline, Stages, Watch
from edge_sim.gallery.gallery import Gallery
from edge_sim.runtime.config import Config, WatchConfig, parse_config
from edge_sim.runtime.explanations import Explanation, Recorder, configuration_digest
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.probe import Region
from tests import pictured
from tests.builders import reference

GALLERY = pictured.gallery(5, ("left", "right"))


def recorded(*, looks: int = 40, pictures: bool = False, count: int = 8) -> list[Explanation]:
    """Return the explanations of a watch that sees the disc left, then right."""
    watch = Watch("gate", GALLERY, stages_of(Config(), WatchConfig()))
    pipeline = Pipeline(pictured.CellsEmbedder(), [watch], "porch")
    recorder = Recorder(
        observations=looks, pictures=pictures, configuration=lambda name: f"of {name}"
    )
    found = []
    for place in range(2 * count):
        state = "left" if place < count else "right"
        pixels = pictured.picture(state, 100 + place)
        frame = Frame(pixels, float(place), 1_700_000_000.0 + place, place, "cam")
        (outcome,) = pipeline.process(frame)
        events = [e for e in pipeline.events_of([outcome], "cam") if isinstance(e, StateChanged)]
        kept = recorder.note(watch, outcome, events[0] if events else None, pixels)
        assert (kept is not None) == bool(events)
        found += [kept] if kept else []
    return found


def test_every_change_is_explained_with_what_decided_it() -> None:
    first, second = recorded()
    assert (first.event.before, first.event.after) == (None, "left")
    assert (second.event.before, second.event.after) == ("left", "right")
    assert second.cause.frame_index == second.event.frame
    assert second.standing is not None
    assert second.standing.votes[-1].state == State("right")
    assert second.settings is not None
    assert set(second.settings.levels) == {"left", "right"}
    assert second.configuration == "of gate"
    assert second.gallery == GALLERY.summary().digest


def test_the_looks_before_it_are_kept_and_no_more_than_asked_for() -> None:
    second = recorded()[1]
    assert [look.at_s for look in second.observations] == [
        float(at) for at in range(-len(second.observations) + 1, 1)
    ]
    assert [look.decided for look in second.observations[-2:]] == [False, True]
    assert (second.observations[-2].state, second.observations[-1].state) == ("left", "right")
    assert (
        set(second.observations[0].scores)
        == set(second.observations[0].levels)
        == {"left", "right"}
    )
    assert len(recorded(looks=3)[1].observations) == 3


def test_pictures_are_kept_only_if_they_are_wanted() -> None:
    assert {(item.picture, item.thumbnail) for item in recorded()} == {(None, None)}
    for item in recorded(pictures=True):
        assert item.picture is not None
        assert item.thumbnail is not None
        assert decode(item.picture).shape == (96, 96, 3)
        assert decode(item.thumbnail).shape == (96, 96, 3)


def test_a_kept_picture_is_of_the_region_and_small() -> None:
    watch = Watch(
        "gate", GALLERY, stages_of(Config(), WatchConfig()), region=Region(Roi(0.0, 0.0, 0.5, 1.0))
    )
    recorder = Recorder(observations=5, pictures=True, configuration=str)
    event = recorded()[0].event
    outcome = _outcome(watch)
    kept = recorder.note(watch, outcome, event, np.full((600, 1600, 3), 90, np.uint8))
    assert kept is not None
    assert kept.picture is not None
    assert decode(kept.picture).shape == (192, 256, 3)
    without = recorder.note(watch, outcome, event, None)
    assert without is not None
    assert without.picture is None
    assert without.thumbnail is not None


def _outcome(watch: Watch) -> Outcome:
    pipeline = Pipeline(pictured.CellsEmbedder(), [watch], "porch")
    (outcome,) = pipeline.process(Frame(pictured.picture("left", 5), 0.0, 0.0, 0, "cam"))
    return outcome


class Bare:
    """A decider that says nothing of its reasons."""

    state = State("left")
    thresholds: dict[str, object] = {}  # noqa: RUF012
    pending = False

    def observe(self, observation: Observation) -> StateChange | None:
        return StateChange(None, self.state, observation, {}, 1.0)

    def resume(self, state: State) -> None: ...


def test_a_decider_without_reasons_is_recorded_without_them() -> None:
    stages = stages_of(Config(), WatchConfig())
    bare = Stages(**{**_fields(stages), "decider": lambda gallery, scorer: Bare()})  # type: ignore[arg-type]
    watch = Watch("gate", GALLERY, bare)
    recorder = Recorder(observations=5, pictures=False, configuration=str)
    kept = recorder.note(watch, _outcome(watch), recorded()[0].event, None)
    assert kept is not None
    assert (kept.settings, kept.standing, kept.drifts) == (None, None, ())


def _fields(stages: Stages) -> dict[str, object]:
    return {name: getattr(stages, name) for name in stages.__dataclass_fields__}


def test_the_digest_of_a_gallery_depends_on_every_reference() -> None:
    gallery = Gallery([reference("a", "on", 1.0, 0.0), reference("b", "off", 0.0, 1.0)])
    others = (
        gallery.removing("b"),
        Gallery([reference("a", "on", 1.0, 0.0), reference("b", "off", 0.1, 1.0)]),
        Gallery([reference("a", "off", 1.0, 0.0), reference("b", "off", 0.0, 1.0)]),
        Gallery([reference("c", "on", 1.0, 0.0), reference("b", "off", 0.0, 1.0)]),
    )
    assert len({item.summary().digest for item in (gallery, *others)}) == 5
    later = Gallery(gallery.references, revision=9)
    assert gallery.summary().digest == later.summary().digest


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("watches: {gate: {sensitivity: 0.6}}", True),
        ("watches: {gate: {confirm: {of: 6}}}", True),
        ("model: {path: thumbnail}\nwatches: {gate: {}}", True),
        ("watches: {gate: {}, door: {sensitivity: 0.9}}", False),
        ("watches: {gate: {}}\nweb: {listen: '127.0.0.1:1'}", False),
    ],
)
def test_the_digest_of_a_configuration_depends_on_what_decides(line: str, changes: bool) -> None:
    sources = "sources: {cam: {uri: 'synthetic:gate'}}\n"
    plain = parse_config(sources + "watches: {gate: {}}", where="test")
    other = parse_config(sources + line, where="test")
    differs = configuration_digest(plain, "gate") != configuration_digest(other, "gate")
    assert differs == changes
