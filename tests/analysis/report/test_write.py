"""The report as a file: what a reader finds in it, and what a mistake gives."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edge_sim.analysis.report import check_path, write
from edge_sim.analysis.report.timeline import Timeline
from edge_sim.core.types import UNKNOWN, State, UnknownReason
from edge_sim.errors import DataError
from tests.analysis.report.runs import BOWL_PLAN, BOWL_TRUTH, outcome_at, run

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Reads a page and fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str, name: str | None = None) -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag and (name is None or a.get("class") == name)]


def bowl() -> Timeline:
    timeline = Timeline()
    for outcome in run(BOWL_PLAN):
        timeline.add(outcome)
    return timeline


def html_of(timeline: Timeline, folder: Path, title: str = "a run") -> str:
    path = folder / "out.html"
    write(timeline, path, title=title, truth={"bowl": BOWL_TRUTH})
    return path.read_text(encoding="utf-8")


def test_html_holds_one_marker_row_and_picture_per_event(tmp_path: Path) -> None:
    timeline = bowl()
    events = len(timeline.tracks[0].events)
    page = Page(html_of(timeline, tmp_path))
    targets = {f"w0-event-{i}" for i in range(1, events + 1)}
    for figure in ("wide", "narrow"):
        assert len(page.all("figure", figure)) == 1
    # Once in the picture for a desk, once in that for a telephone.
    markers = [str(a["href"]) for a in page.all("a", "marker")]
    assert sorted(markers) == sorted(2 * [f"#{target}" for target in targets])
    assert {a["id"] for a in page.all("tr") if "id" in a} == targets
    assert len(page.all("img")) == events


def test_html_needs_nothing_but_itself(tmp_path: Path) -> None:
    page = Page(html_of(bowl(), tmp_path))
    links = [a.get(key) for _, a in page.tags for key in ("src", "href") if a.get(key)]
    assert links
    assert all(link is not None and link.startswith(("#", "data:image/jpeg")) for link in links)
    assert page.all("link") == []
    assert all("src" not in a for a in page.all("script"))


def test_html_escapes_every_name(tmp_path: Path) -> None:
    timeline = Timeline()
    evil = "<script>alert('x')</script>\"&"
    timeline.add(outcome_at(0.0, State(evil), State("a"), scores={evil: 0.9}, watch=evil))
    timeline.add(outcome_at(1.0, State(evil), scores={evil: 0.9}, watch=evil, condition=evil))
    path = tmp_path / "out.html"
    write(timeline, path, title=evil, truth={evil: [(0.0, evil)]})
    text = path.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert evil not in text
    page = Page(text)
    assert len(page.all("script")) == 2
    assert page.words.count(evil) >= 4


def test_values_under_the_pointer_are_those_of_the_run(tmp_path: Path) -> None:
    page = html_of(bowl(), tmp_path)
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    data = json.loads(text)
    assert data["end"] == 119.5
    assert data["at"] == [i * 0.5 for i in range(240)]
    words = data["words"][65]
    assert words.startswith("32.5 s · unknown (covered) · empty 0.6")
    assert words.endswith("day")


def test_html_says_what_was_run_and_how_it_went(tmp_path: Path) -> None:
    words = Page(html_of(bowl(), tmp_path, title="bowl, seed 1")).words
    for part in ("bowl, seed 1", "fake-1234", "2026-09-21", "covered", "of the time right", "240"):
        assert part in words


def test_state_bands_lie_where_their_time_is(tmp_path: Path) -> None:
    timeline = Timeline()
    for i in range(101):
        state = State("empty") if i < 50 else State("food")
        timeline.add(outcome_at(float(i), state, scores={"empty": 0.9, "food": 0.5}))
    root = ET.fromstring(re.findall(r"<svg viewBox.*?</svg>", html_of(timeline, tmp_path), re.S)[0])
    bands = {
        (rect.findtext("title") or "").split(",")[0]: rect
        for rect in root.iter("rect")
        if rect.get("height") == "30"
    }
    empty, food = (
        (float(bands[name].get("x", "")), float(bands[name].get("width", "")))
        for name in ("empty", "food")
    )
    assert empty[0] + empty[1] == pytest.approx(food[0], abs=0.02)
    assert empty[1] == pytest.approx(food[1], abs=0.02)


def test_empty_timeline_says_that_there_were_no_observations(tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    write(Timeline(), path, title="nothing")
    page = Page(path.read_text(encoding="utf-8"))
    assert "No observations" in page.words
    assert page.all("figure") == []


@pytest.mark.parametrize(
    "scores", [None, {"only": 0.4}, {f"state-{i}": i / 12 for i in range(12)}], ids=[0, 1, 12]
)
def test_one_observation_is_enough_whatever_the_gallery(
    tmp_path: Path, scores: dict[str, float] | None
) -> None:
    timeline = Timeline()
    timeline.add(outcome_at(3.0, State(UNKNOWN, UnknownReason.NOVEL), scores=scores))
    path = tmp_path / "out.html"
    write(timeline, path, title="one observation")
    assert len(Page(path.read_text(encoding="utf-8")).all("figure")) == 2


def test_many_watches_each_have_a_section(tmp_path: Path) -> None:
    timeline = Timeline()
    for i in range(12):
        for outcome in run([(0.0, State("a")), (9.0, State("b"))], watch=f"slot-{i}", states="ab"):
            timeline.add(outcome)
    page = Page(html_of(timeline, tmp_path))
    assert len(page.all("section")) == 12
    ids = [a["id"] for a in page.all("tr") if "id" in a]
    assert len(ids) == len(set(ids)) == 24


def test_names_in_any_script_are_drawn(tmp_path: Path) -> None:
    timeline = Timeline()
    timeline.add(outcome_at(0.0, State("naïve→状态"), State("a"), scores={"naïve→状态": 0.9}))
    assert "naïve→状态" in Page(html_of(timeline, tmp_path)).words


def test_crowded_events_keep_their_markers(tmp_path: Path) -> None:
    timeline = Timeline()
    states = (State("a"), State("b"))
    for i in range(300):
        timeline.add(outcome_at(i / 10, states[i % 2], states[(i + 1) % 2], scores={"a": 0.5}))
    page = Page(html_of(timeline, tmp_path))
    assert len(page.all("a", "marker")) == 2 * 300


def test_long_run_gives_a_page_of_bounded_size(tmp_path: Path) -> None:
    timeline = Timeline()
    for outcome in run([(0.0, State("empty"))], end_s=10_000.0):
        timeline.add(outcome)
    assert len(html_of(timeline, tmp_path)) < 1_000_000


@pytest.mark.parametrize("name", ["out.png", "out.pdf", "out", "out.html.gz"])
def test_other_suffix_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        DataError,
        match=r"out.*: reports are HTML; give a name that ends in \.html, such as out.*\.html",
    ):
        write(bowl(), tmp_path / name, title="x")
    assert list(tmp_path.iterdir()) == []


def test_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    write(bowl(), tmp_path / "OUT.HTML", title="x")
    assert (tmp_path / "OUT.HTML").read_text().startswith("<!DOCTYPE html>")


def test_missing_folder_is_named_before_the_run(tmp_path: Path) -> None:
    path = tmp_path / "none" / "out.html"
    with pytest.raises(DataError, match=r"out\.html: there is no folder .*none"):
        check_path(path)


def test_target_that_is_a_folder_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    path.mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write(bowl(), path, title="x")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="Permission denied"):
        write(bowl(), tmp_path / "out.html", title="x")


def test_old_report_is_replaced_whole_and_stays_readable_to_others(tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    path.write_text("old")
    write(bowl(), path, title="new")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.write_text("")
    assert path.stat().st_mode == plain.stat().st_mode


def test_same_run_gives_the_same_file(tmp_path: Path) -> None:
    assert html_of(bowl(), tmp_path) == html_of(bowl(), tmp_path)
