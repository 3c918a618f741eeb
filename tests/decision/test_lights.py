"""Light that was never taught: a state can be stayed in, but not be entered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_sim.core.types import UNKNOWN, Match, Observation, Reference, State, UnknownReason
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.lights import is_level_taught, is_taught, lights_of, share_light
from edge_sim.gallery.gallery import Gallery
from tests.builders import match, observation, reference


def less_familiar(match: Match) -> Match:
    """The same with scores as another light gives them."""
    states = (replace(item, score=replace(item.score, combined=0.4)) for item in match.states)
    return Match(tuple(states))


UNTAUGHT = State(UNKNOWN, UnknownReason.UNTAUGHT_LIGHT)
OPEN, CLOSED = match(("open", 0.95), ("closed", 0.05)), match(("closed", 0.95), ("open", 0.05))


def taken(name: str, state: str, light: str, luma: int = 120) -> Reference:
    thumbnail = np.full((96, 96), luma, np.uint8)
    return replace(reference(name, state, 1.0, 0.0), condition=light, thumbnail=thumbnail)


BY_DAY = [taken(f"{state}-{at}", state, "day") for state in ("open", "closed") for at in range(5)]
BY_NIGHT = taken("night", "open", "ir", 100)


def told(references: list[Reference], looks: str) -> list[tuple[int, State]]:
    """What is said: `o` and `c` are looks by day, `O` and `C` by night, `x` as `o` but grey."""
    gallery = Gallery(references)
    left_out = [OPEN if item.state == "open" else CLOSED for item in gallery.references]
    decider = AdaptiveDecider(left_out, gallery)
    changes = []
    for at, letter in enumerate(looks):
        change = decider.observe(look(letter, at))
        if change is not None:
            changes.append((at, change.after))
    return changes


def look(letter: str, at: int) -> Observation:
    match = OPEN if letter in "oOx" else CLOSED
    seen = observation(less_familiar(match) if letter.isupper() else match, index=at)
    return seen if letter in "oc" else replace(seen, condition="ir")


@pytest.mark.parametrize(
    ("references", "looks", "expected"),
    [
        pytest.param(BY_DAY, "ccc", [(2, State("closed"))], id="by day"),
        pytest.param(BY_DAY, "cccCCCC", [(2, State("closed"))], id="stays by night"),
        pytest.param(
            BY_DAY, "cccOOO", [(2, State("closed")), (5, UNTAUGHT)], id="not entered by night"
        ),
        pytest.param(
            BY_DAY,
            "cccOOOccccc",
            [(2, State("closed")), (5, UNTAUGHT), (8, State("closed"))],
            id="back by day",
        ),
        pytest.param(
            BY_DAY,
            "cccOOCCC",
            [(2, State("closed"))],
            id="what stays needs no reference of the night",
        ),
        pytest.param(
            [*BY_DAY, BY_NIGHT, taken("other", "closed", "ir", 100)],
            "cccOOO",
            [(2, State("closed")), (5, State("open"))],
            id="one picture of each state by night is enough",
        ),
        pytest.param(
            [*BY_DAY, BY_NIGHT],
            "cccOOO",
            [(2, State("closed")), (5, UNTAUGHT)],
            id="one of a single state is not: by night everything is most like it",
        ),
        pytest.param(
            [*BY_DAY, BY_NIGHT, taken("other", "closed", "ir", 30)],
            "cccOOO",
            [(2, State("closed")), (5, UNTAUGHT)],
            id="nor is a night of another brightness where the picture is like both",
        ),
        pytest.param(
            [
                *(taken(f"day-{at}", "open", "day") for at in range(5)),
                *(taken(f"night-{at}", "closed", "ir", 100) for at in range(5)),
            ],
            "oooCCC",
            [(2, State("open")), (5, State("closed"))],
            id="a light that only one state has is that state",
        ),
        pytest.param(
            BY_DAY,
            "cccxxx",
            [(2, State("closed")), (5, State("open"))],
            id="a picture like the references is in their light whatever it is called",
        ),
        pytest.param(
            BY_DAY,
            "cccOooo",
            [(2, State("closed"))],
            id="at the border all votes are asked for",
        ),
        pytest.param(
            BY_DAY,
            "cccOooooo",
            [(2, State("closed")), (8, State("open"))],
            id="and enter when they are there",
        ),
    ],
)
def test_what_is_said_in_a_light(
    references: list[Reference], looks: str, expected: list[tuple[int, State]]
) -> None:
    assert told(references, looks) == expected


def test_day_and_dusk_are_one_light_where_the_levels_are_near() -> None:
    lights = lights_of(Gallery([taken("a", "open", "day", 70), taken("b", "open", "day", 90)]))
    assert is_taught(lights["open"], "dusk", 60.0)
    assert not is_taught(lights["open"], "dusk", 30.0)
    assert not is_taught(lights["open"], "ir", 70.0)
    assert not is_taught(lights["open"], "dark", 70.0)


def test_a_level_is_taught_for_a_state_where_its_references_are_about_as_bright() -> None:
    lights = lights_of(Gallery([taken("a", "open", "ir", 50), taken("b", "open", "day", 120)]))
    assert is_level_taught(lights["open"], "ir", 60.0)
    assert not is_level_taught(lights["open"], "ir", 30.0)
    assert is_level_taught(lights["open"], "dusk", 100.0)
    assert is_level_taught({}, "ir", 30.0)


@pytest.mark.parametrize(
    ("condition", "luma", "shared"), [("day", 130, True), ("day", 220, False), ("ir", 120, False)]
)
def test_states_share_a_light_in_which_both_are_about_equally_bright(
    condition: str, luma: int, shared: bool
) -> None:
    references = [taken("a", "off", "day", 120), taken("b", "on", condition, luma)]
    lights = lights_of(Gallery(references))
    assert share_light(lights["off"], lights["on"]) is shared


def test_the_change_names_the_states_that_were_never_taught_in_the_light() -> None:
    gallery = Gallery([*BY_DAY, BY_NIGHT])
    left_out = [OPEN if item.state == "open" else CLOSED for item in gallery.references]
    decider = AdaptiveDecider(left_out, gallery)
    changes = [decider.observe(look(letter, at)) for at, letter in enumerate("cccOOO")]
    found = [(change.after, change.untaught) for change in changes if change is not None]
    assert found == [(State("closed"), ()), (UNTAUGHT, ("closed",))]


def test_a_novel_picture_in_a_new_light_names_the_light_too() -> None:
    gallery = Gallery(BY_DAY)
    left_out = [OPEN if item.state == "open" else CLOSED for item in gallery.references]
    decider = AdaptiveDecider(left_out, gallery)
    score = replace(OPEN.best.score, combined=0.01)
    strange = Match(tuple(replace(item, score=score) for item in OPEN.states))
    looks = [replace(observation(strange, index=at), condition="ir") for at in range(3)]
    changes = [decider.observe(item) for item in looks]
    found = [(change.after.reason, change.untaught) for change in changes if change is not None]
    assert found == [(UnknownReason.NOVEL, ("closed", "open"))]


def test_dusk_that_has_lost_its_colour_is_dusk_and_a_brighter_infrared_picture_is_not() -> None:
    lights = lights_of(Gallery([taken("a", "open", "dusk", 30), taken("b", "open", "dusk", 50)]))
    assert is_taught(lights["open"], "ir", 24.0)
    assert not is_taught(lights["open"], "ir", 15.0)
    assert not is_taught(lights["open"], "ir", 55.0)


def test_a_gallery_whose_lights_are_not_known_forbids_nothing() -> None:
    assert is_taught({}, "ir", 60.0)
