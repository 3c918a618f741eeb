"""Clips give the same events whether frames are converted whole or region by region."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_sim.core.images import encode_jpeg
from edge_sim.core.raw_pictures import (
    JpegPicture,
    LazyRegion,
    RawFrame,
    RawPicture,
    gate_part_of,
    reduction_of,
)
from edge_sim.core.types import BgrImage, Frame, Roi
from edge_sim.io.sources.csi import open_csi
from edge_sim.io.sources.options import SourceOptions
from edge_sim.vision.embedders import open_embedder
from tests.core.test_raw_pictures import packed_of, planes_of
from tests.golden.cases import Decision, DemoCase
from tests.golden.comparing import WITH_MODEL, differences
from tests.io.sources.devices import Picamera2Module

SIDE_PX = 160


def enlarged(pixels: BgrImage) -> BgrImage:
    large = cv2.resize(pixels, None, fx=2.5, fy=2.5, interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.uint8)


def jpeg_of(pixels: BgrImage, roi: Roi) -> RawPicture:
    """Return a larger JPEG of a picture, decoded at the size that its region needs."""
    large = enlarged(pixels)
    size = large.shape[1], large.shape[0]
    assert gate_part_of(size, roi) > reduction_of(size, roi, SIDE_PX) or roi.x2 - roi.x1 < 0.3
    return JpegPicture(encode_jpeg(large), gate_part_of(size, roi))


def csi_of(pixels: BgrImage, _: Roi) -> RawPicture:
    """Return a larger picture of a CSI camera, with a small one for the gate."""
    large = enlarged(pixels)
    options = SourceOptions(width=large.shape[1], height=large.shape[0], threaded=False)
    frame = open_csi("0", options, picamera2=Picamera2Module(shown=large)).read()
    assert isinstance(frame, RawFrame)
    assert frame.picture is not None
    return frame.picture


MAKERS: dict[str, Callable[[BgrImage, Roi], RawPicture]] = {
    "planes": lambda pixels, _: planes_of(pixels),
    "packed": lambda pixels, _: packed_of(pixels),
    "jpeg": jpeg_of,
    "csi": csi_of,
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    "case",
    [
        DemoCase("gate", 14, "noise,light_drift", frames=45),
        DemoCase("parking", 14, "person,noise", frames=45),
    ],
    ids=lambda case: case.name,
)
def test_events_are_those_of_frames_that_were_converted_whole(
    case: DemoCase, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_embedder(None).input_px == SIDE_PX

    def played(*, raw: bool) -> list[Decision]:
        def view(frame: Frame, roi: Roi, side_px: int) -> LazyRegion:
            pixels = frame.pixels
            picture = MAKERS[kind](pixels, roi)
            moment = frame.captured_at_s, frame.unix_time_s, frame.index, frame.source
            seen = RawFrame(picture, *moment) if raw else Frame(picture.pixels(), *moment)
            return LazyRegion(seen, roi, side_px)

        monkeypatch.setattr("edge_sim.vision.probe.LazyRegion", view)
        return case.play(tmp_path, None)

    whole = played(raw=False)
    assert whole
    assert not differences(whole, played(raw=True), WITH_MODEL)
