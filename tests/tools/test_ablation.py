"""Parts turned off one at a time: each does what its name says, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import ablate
import numpy as np
import pytest
from comparing.ablation import (
    DECIDING,
    EVERYTHING,
    SCORING,
    Counting,
    Deaf,
    NearestFamiliarity,
    Steady,
    ablations,
    in_one_light,
    nearest_in_all_views,
)

from edge_sim.analysis.evaluation.datasets import EmbeddedSet
from edge_sim.analysis.evaluation.events import judge
from edge_sim.analysis.evaluation.states import Protocol
from edge_sim.core.types import Match, Score, StateScore, UnknownReason
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.probe import make_probe
from tests.analysis.evaluation.folders import write_set
from tests.builders import observation
from tests.pictured import CellsEmbedder, gallery, picture

STATES = ("empty", "left")
SURE = Match((StateScore("empty", "empty-0", Score(0.9, None, 0.9), 1.0),))


def seen(frames: int = 24) -> EmbeddedSet:
    labels = tuple(STATES[at // 4 % 2] for at in range(frames))
    probes = tuple(
        make_probe(CellsEmbedder(), picture(label, at), captured_at_s=at, frame_index=at)
        for at, label in enumerate(labels)
    )
    return EmbeddedSet("drawn", probes, labels)


def test_every_part_has_a_name_of_its_own_and_everything_comes_first() -> None:
    methods = ablations()
    assert next(iter(methods)) == EVERYTHING
    assert len(methods) == 1 + len(SCORING) + len(DECIDING)


@pytest.mark.parametrize("name", ablations())
def test_whatever_part_is_off_clear_states_are_told_apart_and_none_is_wrong(
    name: str,
) -> None:
    method, one = ablations()[name], seen()
    protocol = Protocol(references=3, draws=1, open_set=False)
    assert method.states(one, protocol).result.balanced_accuracy > 0.9
    played = method.play(one, range(8, 24), one.gallery(range(8)))
    assert judge(one, played).sure_wrong == 0


def test_in_one_light_no_reference_keeps_its_own() -> None:
    mixed = Gallery(
        replace(item, condition="ir" if at % 2 else "dusk")
        for at, item in enumerate(gallery(4).references)
    )
    alike = in_one_light(mixed)
    assert {item.condition for item in alike.references} == {"day"}
    assert [item.reference_id for item in alike.references] == [
        item.reference_id for item in mixed.references
    ]


def test_familiarity_by_the_nearest_reference_leaves_the_probabilities_alone() -> None:
    references = gallery(4)
    probe = make_probe(CellsEmbedder(), picture("left", 77))
    ours = GalleryScorer(references).best_match(probe)
    other = NearestFamiliarity(references).best_match(probe)
    nearest = nearest_in_all_views(references).best_match(probe)
    assert ours is not None
    assert other is not None
    assert nearest is not None
    assert [item.probability for item in other.states] == [item.probability for item in ours.states]
    near = {item.state: item.score.combined for item in nearest.states}
    assert {item.state: item.score.combined for item in other.states} == near
    left_out = NearestFamiliarity(references).leave_one_out()
    assert len(left_out) == len(references)
    assert NearestFamiliarity(Gallery()).best_match(probe) is None


def test_thresholds_that_do_not_adapt_stay_where_they_were() -> None:
    references = gallery(4, STATES)
    left_out = GalleryScorer(references).leave_one_out()
    steady, adapting = Steady(left_out, references), AdaptiveDecider(left_out, references)
    before = dict(steady.thresholds)
    for at in range(300):
        low = replace(SURE.best, score=Score(0.9, None, 0.8 + 0.01 * (at % 3)))
        look = observation(Match((low,)), index=at)
        steady.observe(look)
        adapting.observe(look)
    assert steady.state == adapting.state
    assert dict(adapting.thresholds) != before
    assert steady.thresholds["empty"].leave == pytest.approx(before["empty"].leave, abs=0.02)


def test_counting_votes_alone_believes_doubtful_looks() -> None:
    references = gallery(4, STATES)
    left_out = GalleryScorer(references).leave_one_out()
    doubtful = [StateScore("left", "left-0", Score(0.9, None, 0.9), 0.62)]
    doubtful.append(StateScore("empty", "empty-0", Score(0.9, None, 0.9), 0.38))
    looks = [observation(SURE, index=at) for at in range(3)]
    looks += [observation(Match(tuple(doubtful)), index=at) for at in range(3, 9)]
    said = []
    for make in (Counting, AdaptiveDecider):
        decider = make(left_out, references)
        for look in looks:
            decider.observe(look)
        said.append(decider.state.name)
    assert said == ["left", "empty"]


def test_a_deaf_monitor_keeps_only_what_it_was_told_to_keep() -> None:
    references = gallery(4)
    dark = make_probe(CellsEmbedder(), np.zeros((96, 96, 3), np.uint8))
    assert Deaf(references).inspect(dark).impediment is None
    lighting = Deaf(references, (UnknownReason.LIGHTING,))
    assert lighting.inspect(dark).impediment is UnknownReason.DARK


def test_the_program_reports_each_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["empty"] * 9 + ["left"] * 9 + ["empty"] * 9
    folder = write_set(tmp_path / "clip", labels, step=timedelta(minutes=15))
    arguments = [str(folder), "--draws", "1", "--references", "3", "--model", "thumbnail"]
    assert ablate.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "ablate"
    parts = {one["part"]: one["summary"] for one in found["parts"]}
    assert parts["everything"]["balanced_accuracy"] is not None
    assert parts["votes without cumulative evidence"]["balanced_accuracy"] is None
    assert parts["votes without cumulative evidence"]["f1"] is not None
    assert ablate.main([str(tmp_path / "nowhere"), "--model", "thumbnail"]) == 1
    assert "no such folder" in capsys.readouterr().err
