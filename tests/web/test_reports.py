"""Reports in a real browser: each opens from a file, draws what it holds, and reports no error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_sim.analysis.report import write
from edge_sim.analysis.report.document import document, table, texts
from edge_sim.analysis.report.figures import Axis, Diagram, Series, diagrams_block
from edge_sim.analysis.report.pages import CaptionedPicture, PictureRow, grid, map_block
from edge_sim.analysis.report.timeline import Timeline
from edge_sim.core.types import State
from tests.analysis.report.runs import BOWL_PLAN, BOWL_TRUTH, outcome_at, run
from tests.web.conftest import OpenPage

pytestmark = pytest.mark.browser
EVIL = "<img src=x onerror=alert(1)>\"'&"


def timeline_file(folder: Path) -> str:
    timeline = Timeline()
    for outcome in run(BOWL_PLAN):
        timeline.add(outcome)
    write(timeline, folder / "out.html", title=EVIL, truth={"bowl": BOWL_TRUTH})
    return (folder / "out.html").as_uri()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_a_timeline_is_drawn_and_fits_the_screen(
    open_page: OpenPage, tmp_path: Path, width: int, scheme: str
) -> None:
    page = open_page(
        timeline_file(tmp_path), viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    page.locator("canvas").first.wait_for()
    assert page.locator("h1").inner_text() == EVIL
    assert page.locator("img[src=x]").count() == 0
    assert page.locator(".chart canvas").count() == 3  # scores, margin, light
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    events = page.locator(".events tbody tr")
    assert page.locator(".marker").count() == events.count() > 3


def test_a_marker_leads_to_its_event_and_the_chart_can_be_read(
    open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(timeline_file(tmp_path))
    page.get_by_role("button", name="Event 2:").click()
    focused = page.evaluate("document.activeElement.querySelector('.badge').textContent")
    assert focused == "2"
    page.locator(".u-over").first.hover()
    page.locator(".readout", has_text="empty 0.").wait_for()


def test_dragging_zooms_in_and_a_double_click_shows_everything(
    open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(timeline_file(tmp_path))
    plot = page.locator(".u-over").first
    plot.wait_for()
    markers = page.locator(".marker")
    every = markers.count()
    box = plot.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 5, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, middle, steps=4)
    page.mouse.up()
    page.wait_for_function("n => document.querySelectorAll('.marker').length < n", arg=every)
    plot.dblclick()
    page.wait_for_function("n => document.querySelectorAll('.marker').length === n", arg=every)


def test_crowded_events_keep_their_markers(open_page: OpenPage, tmp_path: Path) -> None:
    timeline = Timeline()
    states = (State("a"), State("b"))
    for i in range(300):
        timeline.add(outcome_at(i / 10, states[i % 2], states[(i + 1) % 2], scores={"a": 0.5}))
    write(timeline, tmp_path / "out.html", title="crowd")
    page = open_page((tmp_path / "out.html").as_uri())
    page.locator(".marker").first.wait_for()
    assert page.locator(".marker").count() == 300


def test_grids_tables_texts_and_diagrams_are_drawn(open_page: OpenPage, tmp_path: Path) -> None:
    picture = np.full((40, 60, 3), 128, np.uint8)
    cards = [CaptionedPicture(picture, (EVIL, "b"), "warn"), CaptionedPicture(None, ("gone",))]
    curve = Series("", ((0.0, 0.0), (1.0, 1.0)), "state0", dashed=True)
    bars = Series("share", ((0.25, 0.4), (0.75, 1.0)), "state1", bar=0.5)
    diagram = Diagram("ROC", Axis("false"), Axis("found"), (curve, bars), ((0.8, "0.80"),))
    blocks = [
        texts([("Why", (EVIL, "because"))]),
        grid(PictureRow("Row", "note", cards)),
        table("Numbers", ("state", "score"), [("open", EVIL)]),
        diagrams_block([diagram]),
    ]
    path = tmp_path / "out.html"
    path.write_text(document("All", blocks, facts=["a fact"], footer="the end"), encoding="utf-8")
    page = open_page(path.as_uri(), viewport={"width": 360, "height": 800})
    page.get_by_text("the end").wait_for()
    assert page.locator("img").count() == 1
    assert page.locator(".marked.warn").count() == 1
    assert page.get_by_text("no picture").count() == 1
    assert page.get_by_role("cell", name=EVIL).count() == 1
    assert page.get_by_role("img", name="ROC: false, found").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_long_key_under_a_picture_breaks_between_its_words(
    open_page: OpenPage, tmp_path: Path
) -> None:
    lines = ("The picture", "set explanations.pictures to keep one, 0.987")
    block = grid(PictureRow("Pictures", "", [CaptionedPicture(None, lines)]))
    (tmp_path / "out.html").write_text(document("Report", [block]))
    page = open_page((tmp_path / "out.html").as_uri(), viewport={"width": 360, "height": 740})
    caption = page.locator(".picture-grid figcaption")
    assert caption.inner_text().split("\n") == list(lines), "what is copied stays whole"
    before = caption.locator("wbr").evaluate_all("all => all.map(it => it.previousSibling.data)")
    assert before == ["set explanations."]


def test_no_two_modules_of_a_report_use_one_name(open_page: OpenPage, tmp_path: Path) -> None:
    write(Timeline(), tmp_path / "out.html", title="nothing")
    page = open_page((tmp_path / "out.html").as_uri())
    page.get_by_text("No observations").wait_for()


def test_a_lasso_on_a_map_lists_the_files_inside_it(open_page: OpenPage, tmp_path: Path) -> None:
    points = np.array([[0.1, 0.1], [0.2, 0.1], [0.9, 0.9]], np.float32)
    names = [f"/photos/{EVIL}.jpg", "/photos/b.jpg", "/photos/c.jpg"]
    block = map_block(points, np.array([0, 0, -1]), names, "how to tag them")
    (tmp_path / "map.html").write_text(document(EVIL, [block]), encoding="utf-8")
    page = open_page((tmp_path / "map.html").as_uri(), viewport={"width": 360, "height": 740})
    canvas = page.get_by_role("img", name="Map of 3 pictures")
    box = canvas.bounding_box()
    assert box is not None
    # The origin lies at the bottom on the left.
    corners = [(0.01, 0.99), (0.5, 0.99), (0.5, 0.5), (0.01, 0.5)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()
    page.get_by_text("2 chosen").wait_for()
    assert page.get_by_label("how to tag them").input_value() == "\n".join(names[:2])
    page.mouse.click(*places[2])
    page.get_by_text("0 chosen").wait_for()
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
