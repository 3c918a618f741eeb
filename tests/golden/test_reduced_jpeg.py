"""Clips of large JPEG pictures give the same events, decoded whole and at a part of their size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_sim.core.images import encode_jpeg
from edge_sim.core.raw_pictures import JpegPicture, RawPicture, reduction_of
from edge_sim.core.types import BgrImage, Frame, Roi
from tests.golden.cases import Decision, DemoCase
from tests.golden.comparing import WITH_MODEL, differences

CASES = [
    DemoCase("gate", 14, "noise,light_drift", frames=45),
    DemoCase("parking", 14, "person,noise", frames=45),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_events_are_the_same_whole_and_reduced(
    case: DemoCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: set[int] = set()

    def played(*, reduced: bool) -> list[Decision]:
        def region_of(frame: Frame, roi: Roi, side_px: int) -> BgrImage:
            large = cv2.resize(frame.pixels, None, fx=2.5, fy=2.5, interpolation=cv2.INTER_LINEAR)
            height, width = large.shape[:2]
            part = reduction_of((width, height), roi, side_px) if reduced else 1
            parts.add(part)
            picture: RawPicture = JpegPicture(encode_jpeg(np.asarray(large, np.uint8)), part)
            return picture.region(roi, side_px)

        monkeypatch.setattr("edge_sim.vision.probe.region_of", region_of)
        return case.play(tmp_path, None)

    whole = played(reduced=False)
    assert whole
    assert not differences(whole, played(reduced=True), WITH_MODEL)
    assert max(parts) > 1
