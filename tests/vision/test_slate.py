"""A slate without a camera is `no_signal`; colourful scenes, and watches of such walls, are not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_sim.core.images import decode, measure
from edge_sim.core.types import BgrImage, UnknownReason
from edge_sim.vision.probe import Mask, make_probe
from edge_sim.vision.scene_monitor import SceneMonitor, impediment_of, limits_of
from tests.pictured import CellsEmbedder, gallery, picture

BLUE, DARK_BLUE, GREEN = (255, 0, 0), (140, 20, 10), (0, 135, 0)


def slate(colour: tuple[int, int, int], *, text: str = "", noise: float = 0.0) -> BgrImage:
    pixels = np.full((480, 640, 3), colour, np.uint8)
    cv2.putText(pixels, text, (120, 260), cv2.FONT_HERSHEY_SIMPLEX, 2.4, (255, 255, 255), 6)
    grain = np.random.default_rng(0).normal(0.0, noise, pixels.shape)
    pixels = np.clip(pixels + grain, 0, 255).astype(np.uint8)
    encoded = cv2.imencode(".jpg", pixels)[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize("colour", [BLUE, DARK_BLUE, GREEN], ids=["blue", "dark blue", "green"])
@pytest.mark.parametrize("text", ["", "NO SIGNAL"])
@pytest.mark.parametrize("noise", [0.0, 8.0])
def test_a_slate_is_no_signal_with_text_and_noise(
    colour: tuple[int, int, int], text: str, noise: float
) -> None:
    probe = make_probe(CellsEmbedder(), slate(colour, text=text, noise=noise))
    assert probe.is_slate
    assert impediment_of(probe.quality, None, probe.thumbnail, is_slate=probe.is_slate) is (
        UnknownReason.NO_SIGNAL
    )


def shaded(colour: tuple[int, int, int], ramp: float) -> BgrImage:
    light = np.linspace(1.0 - ramp, 1.0, 320)[None, :, None]
    return np.asarray(np.full((240, 320, 3), colour, np.uint8) * light, np.uint8)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(shaded((235, 160, 90), 0.05), id="clear sky"),
        pytest.param(shaded((220, 40, 20), 0.6), id="blue wall in slanting light"),
        pytest.param(shaded((20, 20, 230), 0.05), id="finger on the lens"),
        pytest.param(np.full((240, 320, 3), 128, np.uint8), id="grey"),
        pytest.param(np.zeros((240, 320, 3), np.uint8), id="black"),
    ],
)
def test_what_a_camera_can_show_is_no_slate(pixels: BgrImage) -> None:
    assert not make_probe(CellsEmbedder(), pixels).is_slate


def test_half_a_slate_is_a_scene() -> None:
    pixels = slate(BLUE)
    pixels[:, :320] = np.random.default_rng(1).integers(0, 256, (480, 320, 3), dtype=np.uint8)
    assert not make_probe(CellsEmbedder(), pixels).is_slate


def test_a_mask_does_not_hide_that_the_rest_is_a_slate() -> None:
    plane = np.zeros((8, 8), np.uint8)
    plane[:, :4] = 255
    assert make_probe(CellsEmbedder(), Mask(plane).hide(slate(BLUE))).is_slate


def test_a_watch_of_a_blue_wall_takes_it_for_its_state() -> None:
    thumbnail = measure(slate(BLUE))[0]
    quality = measure(slate(BLUE))[1]
    assert impediment_of(quality, limits_of([thumbnail]), thumbnail, is_slate=True) is None


def test_the_monitor_reports_a_slate_and_clears_it() -> None:
    monitor = SceneMonitor(gallery(4))
    shown = [picture("empty", 1), slate(BLUE), slate(BLUE, text="NO SIGNAL"), picture("empty", 2)]
    readings = [
        monitor.inspect(make_probe(CellsEmbedder(), pixels, captured_at_s=float(at))).impediment
        for at, pixels in enumerate(shown)
    ]
    no_signal = UnknownReason.NO_SIGNAL
    assert readings[1:3] == [no_signal, no_signal]
    assert no_signal not in (readings[0], readings[3])


def test_pictures_of_cameras_hold_no_slate(real_data: Path) -> None:
    paths = sorted((real_data / "states").rglob("*.jpg"))[::20]
    assert paths
    slates = [
        path.name
        for path in paths
        if make_probe(CellsEmbedder(), decode(path.read_bytes())).is_slate
    ]
    assert slates == []
