"""The page of an event shows where pictures differ, and never breaks on what was not kept."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.explain import account_of
from edge_sim.analysis.report.explanation import (
    ReferencePicture,
    explanation_page,
    similarity_picture,
)
from edge_sim.core.types import BgrImage
from tests import pictured
from tests.analysis.logs import looks
from tests.analysis.test_account import explained

LEFT = pictured.probe("left", 1).thumbnail
RIGHT = pictured.probe("right", 2).thumbnail


def redness(picture: BgrImage) -> NDArray[np.float64]:
    return picture[..., 2].astype(np.float64) - picture[..., 1].astype(np.float64)


def test_a_picture_beside_itself_shows_no_red() -> None:
    same = similarity_picture(LEFT, LEFT)
    assert same.shape == (192, 192, 3)
    assert redness(same).max() <= 1.0


def test_red_lies_where_the_pictures_differ() -> None:
    red = redness(similarity_picture(LEFT, RIGHT))
    disc, wall = red[80:112, 32:64], red[160:, 80:112]
    assert disc.mean() > 4.0 * wall.mean()
    assert disc.mean() > 40.0


def test_names_cannot_break_out_of_the_page() -> None:
    explanation = explained(looks("ooosss"))
    event = msgspec.structs.replace(explanation.event, source="<script>alert(1)</script>")
    explanation = msgspec.structs.replace(explanation, event=event)
    page = explanation_page(explanation, account_of(explanation), {})
    assert "<script>alert" not in page
    assert "\\u003cscript>alert(1)" in page


def test_pictures_that_cannot_be_decoded_are_left_out() -> None:
    explanation = msgspec.structs.replace(
        explained(looks("ooosss")), picture=b"no jpeg", thumbnail=b"no png"
    )
    shown = {"shut-1": ReferencePicture(np.zeros((40, 30, 3), np.uint8), LEFT)}
    page = explanation_page(explanation, account_of(explanation), shown)
    assert page.count("data:image/jpeg") == 1
    assert "not in the gallery at hand" in page  # the other state's
