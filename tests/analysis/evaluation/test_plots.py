"""Plots: a picture of each kind, and one line where there can be none."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from edge_sim.analysis.evaluation.events import Played, default_stages, play
from edge_sim.analysis.evaluation.retrieval import evaluate_retrieval
from edge_sim.analysis.evaluation.states import Protocol, evaluate_states
from edge_sim.analysis.report.figures import check, plot_events, plot_retrieval, plot_states
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.errors import DataError
from tests.analysis.evaluation.folders import embedded_set

pytest.importorskip("matplotlib", reason="plots need the extra `plot`")

SEEN = embedded_set(["empty"] * 9 + [None] * 2 + ["left"] * 9)


def size_of(path: Path) -> tuple[int, ...]:
    pixels = cv2.imread(str(path))
    assert pixels is not None
    return tuple(pixels.shape)


@pytest.mark.parametrize("open_set", [True, False], ids=["open set", "closed"])
def test_states_have_a_row_each(tmp_path: Path, open_set: bool) -> None:
    answers = evaluate_states(SEEN, GalleryScorer, Protocol(3, 1, open_set=open_set))
    plot_states([answers], tmp_path / "one.png")
    plot_states([answers, answers], tmp_path / "two.png")
    assert size_of(tmp_path / "two.png")[0] == 2 * size_of(tmp_path / "one.png")[0]


def test_a_clip_has_a_timeline_with_or_without_states(tmp_path: Path) -> None:
    rows = range(len(SEEN.probes))
    said = play(SEEN, rows, SEEN.gallery(SEEN.clean_rows), default_stages())
    plot_events([(SEEN, said)], tmp_path / "states.png")
    plot_events([(SEEN, Played(tuple(rows), (), (), (), (3, 12)))], tmp_path / "alarms.png")
    assert size_of(tmp_path / "states.png") == size_of(tmp_path / "alarms.png")


def test_retrieval_is_drawn_for_all_collections_together(tmp_path: Path) -> None:
    vectors = SEEN.gallery(SEEN.clean_rows).matrix
    found = evaluate_retrieval("drawn", vectors, ["a", "b"] * 9)
    plot_retrieval([found, found], tmp_path / "curves.png")
    assert size_of(tmp_path / "curves.png")[2] == 3


def test_where_no_plot_can_be_is_reported(tmp_path: Path) -> None:
    check(tmp_path / "plot.png")
    with pytest.raises(DataError, match="no folder"):
        check(tmp_path / "nowhere" / "plot.png")
    with pytest.raises(DataError, match="cannot be such a file"):
        check(tmp_path / "plot.mp4")
    with pytest.raises(DataError, match="cannot be such a file"):
        check(tmp_path / "plot")
