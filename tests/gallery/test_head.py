"""A head gives unit vectors of its own, and only for the model it was learned for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_sim.analysis.adaptation import fit_head
from edge_sim.errors import ModelError
from edge_sim.gallery.head import Head, HeadView, unit_cells
from tests.analysis.galleries import MODEL, gallery_of, look

HEAD = fit_head(gallery_of())


def test_one_picture_and_many_give_the_same_vectors() -> None:
    looks = [look(number % 2, number) for number in range(7)]
    vectors = np.stack([item.vector for item in looks])
    cells = np.stack([unit_cells(item.spatial) for item in looks if item.spatial is not None])
    rows = HEAD.rows(vectors, cells)
    each = np.stack([HEAD.adapted(item).vector for item in looks])
    np.testing.assert_allclose(rows, each, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    assert rows.dtype == np.float32


def test_an_adapted_embedding_keeps_its_model_and_has_no_cells() -> None:
    adapted = HEAD.adapted(look(0, 3))
    assert (adapted.model_id, adapted.spatial) == (MODEL, None)


def test_an_embedding_of_another_model_is_refused() -> None:
    with pytest.raises(ModelError, match=r"learned for the model model@1.*model adapt"):
        HEAD.adapted(look(0, 3, model_id="other@1"))


def test_an_embedding_without_the_cells_that_were_learned_is_refused() -> None:
    with pytest.raises(ModelError, match="needs the spatial cells"):
        HEAD.adapted(look(0, 3, cells=False))


def test_unit_cells_have_the_mean_of_the_cosines_as_their_cosine() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(2, 3, 3, 5)).astype(np.float32)
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    cosines = (first * second).sum(axis=-1) / lengths
    assert float(unit_cells(first) @ unit_cells(second)) == pytest.approx(cosines.mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": np.ones(3, np.float32)}, "needs centre and scale"),
        ({"weights": np.ones((3, 2), np.float32)}, "needs centre and scale"),
        ({"blocks": 5}, "blocks of equal length"),
        ({"blocks": 0}, "blocks of equal length"),
        ({"centre": np.full(8, np.nan, np.float32)}, "NaN or infinity"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    view = HeadView(np.zeros(8, np.float32), np.ones(8, np.float32), np.ones((8, 2), np.float32), 2)
    with pytest.raises(ValueError, match=message):
        replace(view, **changes)  # type: ignore[arg-type]


def test_a_head_has_a_weight_and_a_bias_for_every_state() -> None:
    with pytest.raises(ValueError, match="3 states"):
        Head(MODEL, ("a", "b", "c"), HEAD.vector, HEAD.cells, HEAD.bias)
