"""The report as a file: what a reader finds in it, and what a mistake gives."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

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


def data_of(text: str) -> dict[str, Any]:
    found = re.findall(r'<script type="application/json" id="report">(.*?)</script>', text, re.S)
    assert len(found) == 1
    data: dict[str, Any] = json.loads(found[0])
    return data


def test_every_event_has_a_number_a_change_and_a_picture(tmp_path: Path) -> None:
    timeline = bowl()
    (block,) = data_of(html_of(timeline, tmp_path))["blocks"]
    events = timeline.tracks[0].events
    assert [item["number"] for item in block["events"]] == list(range(1, len(events) + 1))
    assert [item["after"] for item in block["events"]] == [e.change.after.name for e in events]
    assert all(item["picture"].startswith("data:image/jpeg;base64,") for item in block["events"])


def test_html_needs_nothing_but_itself(tmp_path: Path) -> None:
    text = html_of(bowl(), tmp_path)
    page = Page(text)
    links = [a.get(key) for _, a in page.tags for key in ("src", "href") if a.get(key)]
    assert links == []
    (policy,) = (a["content"] for a in page.all("meta") if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"^\s*(import|export) ", text, re.M)


def test_no_name_ends_the_data_early(tmp_path: Path) -> None:
    timeline = Timeline()
    evil = "</script><script>alert('x')</script>\"&"
    timeline.add(outcome_at(0.0, State(evil), State("a"), scores={evil: 0.9}, watch=evil))
    timeline.add(outcome_at(1.0, State(evil), scores={evil: 0.9}, watch=evil, condition=evil))
    path = tmp_path / "out.html"
    write(timeline, path, title=evil, truth={evil: [(0.0, evil)]})
    text = path.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    data = data_of(text)
    assert data["title"] == data["blocks"][0]["watch"] == evil
    assert data["blocks"][0]["lights"][1]["light"] == evil


def test_values_are_those_of_the_run(tmp_path: Path) -> None:
    (block,) = data_of(html_of(bowl(), tmp_path))["blocks"]
    assert [second - block["t"][0] for second in block["t"]] == [i * 0.5 for i in range(240)]
    assert block["states"] == ["empty", "food"]
    assert 0.6 <= block["scores"]["empty"][65] < 0.7
    reported = [s for s in block["spans"] if s["start"] - block["t"][0] <= 32.5][-1]
    assert (reported["state"], reported["reason"]) == ("unknown", "covered")
    assert {light["light"] for light in block["lights"]} == {"day", "dusk"}


def test_html_says_what_was_run_and_how_it_went(tmp_path: Path) -> None:
    text = json.dumps(data_of(html_of(bowl(), tmp_path, title="bowl, seed 1")))
    for part in ("bowl, seed 1", "fake-1234", "2026-09-21", "covered", "of the time right", "240"):
        assert part in text


def test_state_bands_lie_where_their_time_is(tmp_path: Path) -> None:
    timeline = Timeline()
    for i in range(101):
        state = State("empty") if i < 50 else State("food")
        timeline.add(outcome_at(float(i), state, scores={"empty": 0.9, "food": 0.5}))
    (block,) = data_of(html_of(timeline, tmp_path))["blocks"]
    start = block["t"][0]
    spans = [(s["state"], s["start"] - start, s["end"] - start) for s in block["spans"]]
    assert spans == [("empty", 0.0, 50.0), ("food", 50.0, 100.0)]


def test_empty_timeline_says_that_there_were_no_observations(tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    write(Timeline(), path, title="nothing")
    (block,) = data_of(path.read_text(encoding="utf-8"))["blocks"]
    assert block["kind"] == "texts"
    assert "No observations" in block["parts"][0]["paragraphs"][0]


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
    (block,) = data_of(path.read_text(encoding="utf-8"))["blocks"]
    assert len(block["t"]) == 1
    assert set(block["states"]) == set(scores or {})


def test_many_watches_each_have_a_block(tmp_path: Path) -> None:
    timeline = Timeline()
    for i in range(12):
        for outcome in run([(0.0, State("a")), (9.0, State("b"))], watch=f"slot-{i}", states="ab"):
            timeline.add(outcome)
    blocks = data_of(html_of(timeline, tmp_path))["blocks"]
    assert [block["watch"] for block in blocks] == [f"slot-{i}" for i in range(12)]
    assert all(len(block["events"]) == 2 for block in blocks)


def test_names_in_any_script_are_kept(tmp_path: Path) -> None:
    timeline = Timeline()
    timeline.add(outcome_at(0.0, State("naïve→状态"), State("a"), scores={"naïve→状态": 0.9}))
    (block,) = data_of(html_of(timeline, tmp_path))["blocks"]
    assert block["events"][0]["after"] == "naïve→状态"


def test_long_run_gives_a_page_of_bounded_size(tmp_path: Path) -> None:
    timeline = Timeline()
    for outcome in run([(0.0, State("empty"))], end_s=10_000.0):
        timeline.add(outcome)
    assert len(html_of(timeline, tmp_path)) < 600_000


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
