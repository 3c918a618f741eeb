"""The page of an event shows where pictures differ, and never breaks on what was not kept."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.explain import account_of
from edge_sim.analysis.report.explanation import (
    ReferencePicture,
    explanation_page,
    novel_parts,
    similarity_picture,
)
from edge_sim.core.images import encode_jpeg
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


def test_what_is_new_is_framed_in_the_picture() -> None:
    good = np.full((120, 160, 3), 70, np.uint8)
    good[30:90, 40:120] = 160
    faulty = good.copy()
    faulty[60:90, 90:120] = 70
    red = redness(novel_parts(faulty, good)) > 60.0
    assert red[130:170, 190:230].any()
    assert not red[:100, :160].any()
    assert not (redness(novel_parts(good, good)) > 60.0).any()


def test_a_novel_event_shows_what_is_new_beside_the_nearest_reference() -> None:
    good = np.full((120, 160, 3), 70, np.uint8)
    picture = encode_jpeg(good)
    explanation = msgspec.structs.replace(explained(looks("ooonnn")), picture=picture)
    match = explanation.cause.match
    assert match is not None
    shown = {match.best.reference_id: ReferencePicture(good, LEFT)}
    assert "What is new" in explanation_page(explanation, account_of(explanation), shown)
    named = msgspec.structs.replace(explained(looks("ooosss")), picture=picture)
    assert "What is new" not in explanation_page(named, account_of(named), shown)
