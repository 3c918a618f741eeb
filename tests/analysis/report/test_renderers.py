"""Drawings as SVG: colours, items and lines."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.analysis.report import svg
from edge_sim.analysis.report.drawing import (
    COLOURS,
    AxisScale,
    Drawing,
    Item,
    Polyline,
    Rect,
    Text,
    colours_of,
    fitted,
    line,
    stacked,
    text_width,
)
from edge_sim.analysis.report.lanes import Scope, curve, plot_of, steps
from edge_sim.analysis.report.timeline import Timeline
from edge_sim.core.types import State
from tests.analysis.report.runs import outcome_at

ITEMS: dict[str, Item] = {
    "rect": Rect(10, 10, 30, 20, "state0", tip="a & b", href="x"),
    "faint": Rect(10, 10, 30, 20, "state1", opacity=0.4),
    "hatched": Rect(10, 10, 30, 20, "unknown", hatched=True),
    "pill": Rect(10, 10, 40, 20, "state2", radius=10),
    "line": line((5, 5), (60, 40), "ink", width=2),
    "dashed": Polyline(((5, 5), (60, 40), (70, 5)), "ink", dash=(5, 3)),
    "area": Polyline(((5, 5), (60, 40), (70, 5)), "luma", opacity=0.5, closed=True),
    "text": Text(40, 30, "food <1>", anchor="middle", bold=True),
}


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS.keys())
def test_every_item_is_one_element(item: Item) -> None:
    root = ET.fromstring(svg.render(Drawing(80, 50, (item,)), label="x"))
    assert len(list(root)) == 1


def test_rectangle_keeps_its_place_and_colour() -> None:
    (rect,) = ET.fromstring(svg.render(Drawing(40, 40, (Rect(10, 20, 5, 6, "state0"),)), label="x"))
    assert {key: rect.get(key) for key in ("x", "y", "width", "height", "class")} == {
        "x": "10",
        "y": "20",
        "width": "5",
        "height": "6",
        "class": "f-state0",
    }


def test_every_colour_has_two_colours_and_a_style() -> None:
    css = svg.style_sheet()
    for colour, codes in COLOURS.items():
        assert all(len(code) == 7 and code.startswith("#") for code in codes)
        assert f".f-{colour.replace('_', '-')}{{" in css


@pytest.mark.parametrize("surface", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("colour", [colour for colour in COLOURS if f"on_{colour}" in COLOURS])
def test_words_on_a_colour_can_be_read(colour: str, surface: int) -> None:
    assert _contrast(COLOURS[colour][surface], COLOURS[f"on_{colour}"][surface]) >= 3.9


@pytest.mark.parametrize("surface", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("colour", ["ink", "muted", "wrong"])
def test_words_on_the_page_can_be_read(colour: str, surface: int) -> None:
    assert _contrast(COLOURS[colour][surface], COLOURS["page"][surface]) >= 4.5


def test_first_eight_states_differ_and_unknown_is_grey() -> None:
    colours = colours_of([f"s{i}" for i in range(9)])
    assert len(set(colours.values())) == 9
    assert colours["s8"] == colours["s0"]
    assert colours["unknown"] == "unknown"


def test_stacked_drawings_lie_below_each_other() -> None:
    part = Drawing(10, 20, (Rect(0, 0, 10, 20, "ink"),))
    whole = stacked([part, part], 5)
    assert (whole.width, whole.height) == (10, 45)
    assert isinstance(whole.items[1], Rect)
    assert whole.items[1].y == 25


@pytest.mark.parametrize(
    ("states", "state", "width", "shown"),
    [
        (("container_gone", "container_here"), "container_gone", 200, "container_gone"),
        (("container_gone", "container_here"), "container_gone", 50, "…gone"),
        (("container_gone", "container_here"), "container_gone", 20, ""),
        (("container", "container_here"), "container", 80, "container"),
        (("empty", "full"), "empty", 20, ""),
        (("a_very_long_name_of_a_state", "b"), "a_very_long_name_of_a_state", 70, "a_very_lo…"),
    ],
)
def test_short_names_of_states_still_tell_which(
    states: tuple[str, ...], state: str, width: float, shown: str
) -> None:
    plot = plot_of(1000, Scope(0, 1), colours_of(states))
    assert plot.named(state, width, 11) == shown


@given(text=st.text(min_size=1, max_size=40), width=st.floats(0, 200))
def test_fitted_text_never_exceeds_its_room(text: str, width: float) -> None:
    assert text_width(fitted(text, width)) <= width


def test_steps_hold_a_value_until_the_next() -> None:
    assert steps([(0, 1), (5, 1), (6, 3), (9, 3)]) == ((0, 1), (6, 1), (6, 3), (9, 3))
    assert steps([]) == ()


def test_curve_keeps_peaks_and_breaks_where_nothing_was_measured() -> None:
    timeline = Timeline()
    for i in range(1000):
        scores = None if 400 <= i < 600 else {"a": 1.0 if i == 123 else 0.5}
        timeline.add(outcome_at(float(i), State("a"), scores=scores))
    points = timeline.tracks[0].points
    x, y = AxisScale(0, 999, 0, 50), AxisScale(0, 1, 100, 0)
    lines = curve(points, lambda point: point.scores.get("a"), x, y)
    assert len(lines) == 2
    assert min(py for _, py in lines[0]) == 0.0
    assert all(len(points) <= 4 * 51 for points in lines)


def _contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(code: str) -> float:
    parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
