"""Before a gallery is used, the audit says how sure it will be and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from zlib import crc32

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.analysis.audit import Audit, audit, distances, redundant_rows
from edge_sim.analysis.pruning import keepers, representative
from edge_sim.core.types import Reference
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.errors import GalleryError
from edge_sim.gallery.gallery import Gallery
from tests import pictured
from tests.analysis.looks import answers, look


def fan(state: str, start: float, number: int = 6, *, light: str = "day") -> Iterator[Reference]:
    for row in range(number):
        name = f"{state}{light[0]}{row}"
        yield look(name, state, start + 9.0 * row, condition=light, seed=crc32(name.encode()))


def gallery(*groups: Iterable[Reference]) -> Gallery:
    return Gallery(item for group in groups for item in group)


def examined(made: Gallery, **odds: float) -> Audit:
    return audit(made, answers(made, **odds), watch="gate")


FULL = gallery(fan("open", 0.0), fan("shut", 120.0))


def test_a_sure_gallery_is_called_so_with_an_interval() -> None:
    found = examined(FULL)
    assert found.sure is not None
    assert (found.sure.value, found.sure.number) == (1.0, 12)
    assert 0.7 < found.sure.low < 0.8  # twelve witnesses prove no more than that
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.condition) == ("open", "shut", "any")
    assert pair.gap is not None
    assert pair.gap.median == pytest.approx(0.9)
    assert not found.suspects
    assert not found.redundant
    assert found.next_picture.startswith("Nothing is missing; the most useful would be")


def test_every_pair_of_states_is_judged_in_every_light() -> None:
    made = gallery(
        fan("open", 0.0), fan("shut", 120.0), fan("ajar", 60.0), fan("shut", 200.0, light="ir")
    )
    found = examined(made, shuti0=0.3, shuti1=0.2, shuti2=0.4)
    by_key = {(item.first, item.second, item.condition): item for item in found.pairs}
    assert len(by_key) == 3 + 3 + 2  # any, day; and ir where shut is one of the two
    night = by_key["open", "shut", "ir"]
    assert night.accuracy is not None
    assert night.accuracy.number == 6
    assert night.accuracy.value == pytest.approx(4 / 6)  # 0.3 and 0.2 lose against half the rest
    assert night.gap is not None
    assert night.gap.low <= night.gap.median <= night.gap.high


def test_a_reference_that_looks_like_another_state_is_named_with_what_it_looks_like() -> None:
    found = examined(FULL, shutd3=0.1)
    (suspect,) = found.suspects
    assert (suspect.id, suspect.state, suspect.similar_to) == ("shutd3", "shut", "open")
    assert suspect.probability == pytest.approx(0.9)
    assert FULL[suspect.nearest].state == "open"
    assert found.next_picture.startswith("Look at shutd3 before you take another picture")


def test_the_first_picture_in_a_light_is_doubted_where_it_sits_among_another_state() -> None:
    night = list(fan("shut", 200.0, light="ir"))
    inside = look("new", "open", 204.0, condition="ir", seed=crc32(b"shuti0"))
    outside = look("new", "open", 20.0, condition="ir", seed=4)
    for item, names in ((inside, ["new"]), (outside, [])):
        found = examined(gallery(fan("open", 0.0), fan("shut", 120.0), night, [item]))
        assert [suspect.id for suspect in found.suspects] == names
    assert found.next_picture.startswith("Take another picture of 'open' at night")


def test_twins_are_redundant_and_no_witnesses() -> None:
    twins = [look(f"t{row}", "open", 0.1 * row, seed=5) for row in range(4)]
    made = gallery(twins, fan("open", 30.0, 2), fan("shut", 150.0))
    found = examined(made, t0=0.4, t1=0.4, t2=0.4, t3=0.4)
    assert len(found.redundant) == 3
    assert {item.covered_by for item in found.redundant} < {"t0", "t1", "t2", "t3"}
    assert all(item.distance < 0.001 for item in found.redundant)
    assert found.sure is not None
    assert found.sure.number == 9
    cell = next(item for item in found.cells if item.state == "open")
    assert (cell.references, cell.distinct, cell.enough) == (6, 3, False)


def test_looks_near_another_state_are_never_redundant() -> None:
    made = gallery(
        [look("a", "open", 0.0), look("b", "open", 3.0), look("c", "shut", 5.0)],
        [look("d", "shut", 90.0)],
    )
    assert examined(made).redundant == ()


@pytest.mark.parametrize(
    ("made", "odds", "words"),
    [
        (gallery(), {}, "pictures of 'gate': of each state, or good ones of a single state"),
        (
            gallery(fan("open", 0.0), fan("shut", 120.0, 1)),
            {},
            "Take a second picture of 'shut'",
        ),
        (
            gallery(fan("open", 0.0), fan("shut", 120.0), fan("shut", 200.0, light="ir")),
            {},
            "picture of 'open' at night in infrared light: there is none, while 'shut' has 6",
        ),
        (
            gallery(fan("open", 0.0), fan("shut", 120.0, 3)),
            {},
            "another picture of 'shut' by day, different from what is there: it has 3 of the five",
        ),
        (
            FULL,
            {"opend2": 0.45},
            "looks like opend2: without that one it would be taken for 'shut'",
        ),
    ],
    ids=["nothing", "one picture", "no night", "few looks", "weak look"],
)
def test_the_next_picture_is_one_concrete_sentence(
    made: Gallery, odds: dict[str, float], words: str
) -> None:
    left_out = [None] * len(made) if len(made.states) < 2 else answers(made, **odds)
    advice = audit(made, left_out, watch="gate").next_picture
    assert words in advice
    assert advice.endswith(".")
    assert "\n" not in advice


def test_a_state_with_one_reference_cannot_be_judged() -> None:
    made = pictured.gallery(1, ("empty", "left"))
    found = audit(made, GalleryScorer(made).leave_one_out(), watch="gate")
    assert found.sure is None
    assert (found.pairs[0].accuracy, found.pairs[0].gap) == (None, None)


def test_the_findings_are_json() -> None:
    found = examined(FULL, shutd3=0.1)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Audit) == found


def test_with_the_real_scorer_a_wrong_label_is_found() -> None:
    made = pictured.gallery(8)
    wrong = replace(made.references[3], state="left")
    spoiled = Gallery([*made.references[:3], wrong, *made.references[4:]])
    found = audit(spoiled, GalleryScorer(spoiled).leave_one_out(), watch="w")
    assert [(item.id, item.similar_to) for item in found.suspects] == [
        (wrong.reference_id, "empty")
    ]
    clean = audit(made, GalleryScorer(made).leave_one_out(), watch="w")
    assert clean.suspects == ()
    assert clean.sure is not None
    assert clean.sure.value == 1.0


def test_distances_are_those_of_all_views() -> None:
    apart = distances(FULL)
    np.testing.assert_allclose(np.diag(apart), 0.0, atol=1e-5)
    np.testing.assert_allclose(apart, apart.T, atol=1e-5)


@given(st.integers(0, 10_000), st.integers(1, 14))
def test_the_representative_are_distinct_and_cover_better_than_the_first_ones(
    seed: int, number: int
) -> None:
    points = np.random.default_rng(seed).normal(size=(14, 2))
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    chosen = representative(apart, number)
    assert len(set(chosen)) == number
    assert representative(apart, number) == chosen
    assert sorted(representative(apart, 99)) == list(range(14))


@given(st.integers(0, 10_000))
def test_what_is_redundant_lies_within_reach_of_one_that_stays(seed: int) -> None:
    generator = np.random.default_rng(seed)
    points = generator.normal(scale=0.02, size=(20, 2))
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    labels = generator.integers(0, 2, 20)
    found = redundant_rows(apart, labels, labels)
    assert not set(found) & set(found.values())
    for row, keeper in found.items():
        assert labels[row] == labels[keeper]
        assert apart[row, keeper] <= 0.02
        assert 4 * apart[row, keeper] <= apart[row, labels != labels[row]].min()


def test_pruning_keeps_every_state_and_light_and_shares_the_rest() -> None:
    made = gallery(fan("open", 0.0, 12), fan("shut", 120.0, 4), fan("open", 200.0, 2, light="ir"))
    kept = [made[name] for name in keepers(made, 8)]
    counts = {state: sum(item.state == state for item in kept) for state in made.states}
    assert counts == {"open": 4, "shut": 4}
    assert any(item.condition == "ir" for item in kept)
    assert [item.reference_id for item in kept] == [
        item.reference_id for item in made.references if item in kept
    ]


def test_pruning_drops_twins_first_and_keeps_the_rare_picture() -> None:
    twins = [look(f"t{row}", "open", 0.1 * row, seed=5) for row in range(6)]
    made = gallery(twins, [look("rare", "open", 80.0, seed=9)], fan("shut", 150.0, 3))
    kept = keepers(made, 4)
    assert "rare" in kept
    assert sum(name.startswith("t") for name in kept) == 1


def test_doubted_references_go_first() -> None:
    doubted = examined(FULL, shutd3=0.1, opend0=0.1).suspects
    assert {item.id for item in doubted} == {"shutd3", "opend0"}
    assert not {"shutd3", "opend0"} & set(keepers(FULL, 10, doubted))
    assert len(keepers(FULL, 12, doubted)) == 12


def test_a_prune_that_would_lose_a_state_is_refused() -> None:
    with pytest.raises(GalleryError, match=r"keep 2 references at least: .*open, shut"):
        keepers(FULL, 1)
    assert len(keepers(FULL, 2)) == 2
    assert len(keepers(FULL, 99)) == 12


def test_one_picture_under_two_states_is_reported_before_anything_else() -> None:
    (first, *rest) = fan("open", 0.0)
    twin = replace(first, reference_id="twin", state="shut")
    found = examined(gallery([first, *rest], fan("shut", 120.0), [twin]))
    (one,) = found.contradictions
    assert (one.id, one.state, one.same_as, one.other_state) == ("twin", "shut", "opend0", "open")
    assert found.next_picture.startswith("Remove twin or opend0 before")
    assert examined(FULL).contradictions == ()


def test_references_of_one_moment_are_named_with_what_to_do() -> None:
    flat = np.tile(np.arange(96, dtype=np.uint8), (96, 1))
    burst = gallery(
        replace(item, thumbnail=flat + np.uint8(at % 2)) for at, item in enumerate(fan("open", 0.0))
    )
    made = Gallery([*burst.references, *fan("shut", 120.0)])
    found = audit(made, GalleryScorer(made).leave_one_out(), watch="gate")
    assert found.one_moment == ("open",)
    assert "of open look as if taken in one moment" in found.next_picture
    spread = audit(FULL, GalleryScorer(FULL).leave_one_out(), watch="gate")
    assert spread.one_moment == ()
    assert "moment" not in spread.next_picture


def test_one_state_is_enough_for_advice() -> None:
    made = gallery(fan("good", 0.0, 6))
    found = audit(made, GalleryScorer(made).leave_one_out(), watch="part")
    assert "two states" not in found.next_picture
