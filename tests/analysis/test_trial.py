"""A gain is claimed only where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sim.analysis.adaptation import cross_validated, folds
from edge_sim.errors import GalleryError
from tests.analysis.galleries import gallery_of


def test_a_state_that_light_hides_is_a_gain_with_its_interval() -> None:
    trial = cross_validated(gallery_of())
    assert trial.is_gain
    assert trial.after > 0.95
    assert trial.nearest_after >= trial.nearest_before
    assert 0.0 < trial.low < trial.gain < trial.high
    assert trial.gain == pytest.approx(trial.after - trial.before)
    assert trial.references == 24


def test_pictures_told_apart_without_a_head_give_none() -> None:
    trial = cross_validated(gallery_of(signal=5.0))
    assert (trial.before, trial.after, trial.is_gain) == (1.0, 1.0, False)


@pytest.mark.parametrize(("counts", "seeds"), [((5, 5), 40), ((12, 12), 20)])
def test_labels_that_say_nothing_hardly_ever_pass_for_a_gain(
    counts: tuple[int, ...], seeds: int
) -> None:
    trials = [
        cross_validated(gallery_of(counts, seed=seed, signal=0.0, cells=False))
        for seed in range(seeds)
    ]
    # An interval of 95 % lets one in forty through on this side: one of 40 is expected.
    assert sum(trial.is_gain for trial in trials) <= 3
    assert np.mean([trial.after for trial in trials]) < 0.55


def test_the_same_gallery_gives_the_same_trial() -> None:
    first, second = cross_validated(gallery_of()), cross_validated(gallery_of())
    assert (first.low, first.high, first.after) == (second.low, second.high, second.after)
    np.testing.assert_array_equal(first.head.bias, second.head.bias)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((12, 3), "there are 3 of s1"),
        ((2, 3), "there are 2 of s0, 3 of s1"),
        ((12,), "there are 12 of one state"),
        ((), "there are 0 of one state"),
    ],
)
def test_too_few_references_are_refused_by_number(counts: tuple[int, ...], words: str) -> None:
    with pytest.raises(GalleryError, match=words):
        cross_validated(gallery_of(counts))


@pytest.mark.parametrize("counts", [(4, 4), (12, 5), (30, 11, 4)])
def test_every_reference_is_left_out_once_and_every_state_stays(counts: tuple[int, ...]) -> None:
    labels = gallery_of(counts).state_rows
    parts = folds(labels)
    assert sorted(np.concatenate(parts).tolist()) == list(range(sum(counts)))
    for part in parts:
        kept = np.delete(np.arange(len(labels)), part)
        assert set(labels[kept]) == set(range(len(counts)))
        for state in set(labels[part]):
            rows = part[labels[part] == state]
            assert rows.tolist() == list(range(rows[0], rows[-1] + 1))
