"""The path of one frame: regions, pace, and what happens when the gallery changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from edge_sim.core.events import (
    Event,
    EventDraft,
    StateChanged,
    TransitionImplausible,
    tag_of,
    to_json_line,
)
from edge_sim.core.protocols import Scorer
from edge_sim.core.types import (
    UNKNOWN,
    Frame,
    Match,
    Observation,
    Probe,
    Roi,
    SceneReading,
    Score,
    State,
    StateChange,
    StateScore,
    Threshold,
    UnknownReason,
)
from edge_sim.decision.pipeline import ObservationInterval, Pipeline, Stages, Watch
from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.light import condition_of
from edge_sim.vision.probe import Region, make_probe
from edge_sim.vision.scene_monitor import SceneMonitor
from tests.builders import BrightnessEmbedder, flat_frame, reference
from tests.drafts import implausible

EMPTY = Gallery()
LIGHT_AND_DARK = Gallery([reference("d-1", "dark", 1, 0), reference("l-1", "light", 0, 1)])


class NearestScorer:
    """The nearest reference by cosine; enough to drive the pipeline."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery

    def best_match(self, probe: Probe, condition: str | None = None) -> Match | None:
        if not len(self._gallery):
            return None
        scores = self._gallery.matrix @ probe.embedding.vector
        states = [
            StateScore(item.state, item.reference_id, Score(float(c), None, float(c)), float(c))
            for item, c in zip(self._gallery, scores, strict=True)
        ]
        return Match(tuple(sorted(states, key=lambda s: -s.probability)))

    def leave_one_out(self) -> tuple[Match | None, ...]:
        return (None,) * len(self._gallery)


class ImmediateDecider:
    """Says what the best match says, at once."""

    pending = False
    thresholds: Mapping[str, Threshold] = {}

    def __init__(self) -> None:
        self.state = State(UNKNOWN, UnknownReason.STARTING)

    def observe(self, observation: Observation) -> StateChange | None:
        best = observation.match
        after = State(best.best.state) if best else State(UNKNOWN, UnknownReason.NO_REFERENCES)
        before, self.state = self.state, after
        return None if before == after else StateChange(before, after, observation, {}, 1.0)

    def resume(self, state: State) -> None:
        self.state = state


class ClearMonitor:
    def inspect(self, probe: Probe) -> SceneReading:
        return SceneReading("day")


def make_decider(gallery: Gallery, scorer: Scorer) -> ImmediateDecider:
    return ImmediateDecider()


STAGES = Stages(NearestScorer, make_decider, lambda gallery: ClearMonitor())


def watch(
    gallery: Gallery = LIGHT_AND_DARK,
    *,
    pace: ObservationInterval | None = None,
    roi: Roi | None = None,
) -> Watch:
    region = Region(roi) if roi else None
    return Watch("light", gallery, STAGES, region=region, pace=pace)


def pipeline(*watches: Watch) -> Pipeline:
    return Pipeline(BrightnessEmbedder(), watches, "shed")


def half_lit(index: int = 0) -> Frame:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 20:] = 255
    return Frame(pixels, float(index), float(index), index, "fake")


class Counting:
    """Tells every third look."""

    def __init__(self) -> None:
        self.looks = 0

    def follow(
        self, look: Observation, said: State, change: StateChange | None
    ) -> list[EventDraft]:
        self.looks += 1
        return [implausible("a", said.name)] if self.looks % 3 == 0 else []


def test_what_a_follower_notices_becomes_an_event_after_the_change_of_the_same_look() -> None:
    stages = replace(STAGES, followers=lambda: (Counting(),))
    line = pipeline(Watch("light", LIGHT_AND_DARK, stages))
    frames = [flat_frame(level, index=at) for at, level in enumerate([10, 10, 240, 240, 240, 240])]
    events = [e for frame in frames for e in line.events_of(line.process(frame), "fake")]
    assert [tag_of(event) for event in events] == [
        "state_changed",
        "state_changed",
        "implausible_transition",
        "implausible_transition",
    ]
    first, second = (e for e in events if isinstance(e, TransitionImplausible))
    assert (first.change, second.change) == (events[1].id, None)


class Noting(NearestScorer):
    """Notes the light that it is told of."""

    def __init__(self, gallery: Gallery) -> None:
        super().__init__(gallery)
        self.conditions: list[str | None] = []

    def best_match(self, probe: Probe, condition: str | None = None) -> Match | None:
        self.conditions.append(condition)
        return super().best_match(probe, condition)


def test_scorer_and_decider_go_by_the_light_that_the_monitor_reports() -> None:
    scorer = Noting(LIGHT_AND_DARK)
    line = pipeline(
        Watch(
            "light",
            LIGHT_AND_DARK,
            replace(STAGES, scorer=lambda gallery: scorer, monitor=SceneMonitor),
        )
    )
    # Grey at the border of darkness: by itself the last one is infrared, after a dark one dark.
    levels = [12, 15]
    outcomes = [line.process(flat_frame(level, index=at))[0] for at, level in enumerate(levels)]
    reported = [outcome.observation.condition for outcome in outcomes]
    assert scorer.conditions == reported == ["dark", "dark"]
    assert condition_of(outcomes[1].observation.quality) == "ir"


def test_a_follower_goes_on_under_another_gallery() -> None:
    counting = Counting()
    light = Watch("light", LIGHT_AND_DARK, replace(STAGES, followers=lambda: (counting,)))
    line = pipeline(light)
    line.process(flat_frame(240))
    light.use(Gallery([*LIGHT_AND_DARK]))
    line.process(flat_frame(240, index=1))
    assert counting.looks == 2


def test_a_change_says_how_long_the_state_before_lasted() -> None:
    line = pipeline(watch())
    levels = [10, 10, 10, 240]
    frames = [flat_frame(level, index=at) for at, level in enumerate(levels)]
    events = [e for frame in frames for e in line.events_of(line.process(frame), "fake")]
    assert [e.before_lasted_s for e in events if isinstance(e, StateChanged)] == [0.0, 3.0]


def test_time_in_a_state_goes_on_after_a_restart() -> None:
    light = watch()
    light.decider.resume(State("dark"))
    light.recall_time(100.0)
    line = pipeline(light)
    frames = [flat_frame(level, index=at) for at, level in enumerate([10, 240])]
    (event,) = [e for frame in frames for e in line.events_of(line.process(frame), "fake")]
    assert isinstance(event, StateChanged)
    assert event.before_lasted_s == 101.0


def test_each_watch_sees_its_own_region() -> None:
    both = pipeline(watch(roi=Roi(0, 0, 0.5, 1)), watch(roi=Roi(0.5, 0, 1, 1)))
    left, right = both.process(half_lit())
    assert (left.state.name, right.state.name) == ("dark", "light")


def test_the_same_frames_give_the_same_events() -> None:
    frames = [flat_frame(level, index=at) for at, level in enumerate([10, 10, 240, 240, 10])]

    def events() -> list[Event]:
        line = pipeline(watch())
        return [e for frame in frames for e in line.events_of(line.process(frame), "fake")]

    first, second = events(), events()
    assert first == second
    assert [event.after for event in first if isinstance(event, StateChanged)] == [
        "dark",
        "light",
        "dark",
    ]


def test_an_event_names_model_gallery_and_source() -> None:
    line = pipeline(watch(Gallery(LIGHT_AND_DARK, revision=7)))
    (event,) = line.events_of(line.process(flat_frame(240)), "yard")
    assert isinstance(event, StateChanged)
    assert (event.device, event.source, event.watch) == ("shed", "yard", "light")
    assert (event.model, event.gallery_revision) == ("brightness@1", 7)


def test_an_empty_gallery_says_unknown() -> None:
    (outcome,) = pipeline(watch(EMPTY)).process(flat_frame())
    assert outcome.state == State(UNKNOWN, UnknownReason.NO_REFERENCES)


def test_a_new_gallery_counts_from_the_next_frame_and_keeps_what_was_decided() -> None:
    light = watch(LIGHT_AND_DARK)
    line = pipeline(light)
    line.process(flat_frame(240))
    light.use(LIGHT_AND_DARK.adding(reference("m-1", "middle", 1, 1)))
    assert light.decider.state == State("light")
    (outcome,) = line.process(flat_frame(128, index=1))
    assert outcome.state == State("middle")


def test_the_live_path_and_enrolment_make_the_same_probe() -> None:
    frame = half_lit()
    (outcome,) = pipeline(watch(roi=Roi(0.25, 0, 1, 1))).process(frame)
    probe = make_probe(BrightnessEmbedder(), Region(Roi(0.25, 0, 1, 1)).pixels_of(frame.pixels))
    np.testing.assert_array_equal(outcome.probe.embedding.vector, probe.embedding.vector)
    np.testing.assert_array_equal(outcome.probe.thumbnail, probe.thumbnail)
    assert outcome.probe.quality == probe.quality


@pytest.mark.parametrize(
    ("interval_s", "looks"), [(0.0, 6), (1.0, 6), (2.0, 3), (10.0, 1)], ids=str
)
def test_a_watch_keeps_its_pace(interval_s: float, looks: int) -> None:
    line = pipeline(watch(pace=ObservationInterval(interval_s)))
    assert sum(len(line.process(flat_frame(index=at))) for at in range(6)) == looks


def test_a_pending_change_is_looked_at_sooner() -> None:
    pace = ObservationInterval(interval_s=10.0, recheck_s=1.0)
    assert not pace.is_due(2.0, pending=False)
    assert pace.is_due(2.0, pending=True)


def test_time_that_runs_backwards_does_not_stop_a_watch() -> None:
    line = pipeline(watch(pace=ObservationInterval(5.0)))
    assert line.process(flat_frame(at_s=1000.0))
    assert line.process(flat_frame(at_s=10.0))


class NovelDecider(ImmediateDecider):
    """Says `unknown: novel` at once."""

    def observe(self, observation: Observation) -> StateChange | None:
        before, self.state = self.state, State(UNKNOWN, UnknownReason.NOVEL)
        if before == self.state:
            return None
        return StateChange(before, self.state, observation, {}, 0.0)


def part(*, faulty: bool = False) -> Frame:
    """Return a drawn part; `faulty` lacks the lower right quarter of what is drawn."""
    pixels = np.full((100, 100, 3), 60, np.uint8)
    pixels[20:80, 20:80] = 160
    if faulty:
        pixels[50:80, 50:80] = 60
    return Frame(pixels, 0.0, 0.0, 0, "test")


def located(region: Region, *, faulty: bool, decider: type[ImmediateDecider]) -> StateChanged:
    stages = Stages(
        NearestScorer, lambda gallery, scorer: decider(), lambda gallery: ClearMonitor()
    )
    good = make_probe(BrightnessEmbedder(), region.pixels_of(part().pixels))
    known = replace(reference("good-1", "good", 1, 0), thumbnail=good.thumbnail)
    watch = Watch("part", Gallery([known]), stages, region=region)
    pipeline = Pipeline(BrightnessEmbedder(), [watch], "device")
    (event,) = pipeline.events_of(pipeline.process(part(faulty=faulty)), "test")
    assert isinstance(event, StateChanged)
    return event


@pytest.mark.parametrize("roi", [Roi(), Roi(0.1, 0.0, 0.9, 1.0)])
def test_a_novel_event_names_the_part_in_fractions_of_the_frame(roi: Roi) -> None:
    event = located(Region(roi), faulty=True, decider=NovelDecider)
    ((x, y, width, height),) = event.regions or ()
    assert (x, y, x + width, y + height) == pytest.approx((0.5, 0.5, 0.8, 0.8), abs=0.03)
    assert b'"regions":[[' in to_json_line(event)


@pytest.mark.parametrize(("faulty", "decider"), [(False, NovelDecider), (True, ImmediateDecider)])
def test_without_a_novel_part_the_event_has_no_regions(
    faulty: bool, decider: type[ImmediateDecider]
) -> None:
    event = located(Region(), faulty=faulty, decider=decider)
    assert not event.regions
    assert b"regions" not in to_json_line(event)
    assert b"untaught" not in to_json_line(event)
