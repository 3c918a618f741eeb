"""The measure of searches in words: names of coarse classes, and figures of a known encoder."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import cv2
import make_dual_encoder
import measure_search
import numpy as np
import pytest


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("horses", "horses"),
        ("Golden-Delicious", "apple"),
        ("Bravo-Apple-Juice", "juice"),
        ("Tropicana-Mandarin-Morning", "juice"),
        ("Arla-Standard-Milk", "milk"),
        ("Oatly-Oat-Milk", "oat milk"),
        ("Passion-Fruit", "passion fruit"),
    ],
)
def test_a_class_has_the_name_of_its_kind(name: str, expected: str) -> None:
    assert measure_search.coarse(name) == expected


def photos(path: Path) -> Path:
    """Write a tar with two pictures of each of three colours."""
    with tarfile.open(path, "w") as archive:
        for colour in ("red", "green", "blue"):
            for number in range(2):
                pixels = np.full((20, 20, 3), make_dual_encoder.COLOURS[colour][::-1], np.uint8)
                pixels[0, number] = 255
                data = cv2.imencode(".png", pixels)[1].tobytes()
                member = tarfile.TarInfo(f"{colour}/{number}.png")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def test_an_encoder_that_knows_every_name_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: edge_sim[text]")
    pytest.importorskip("tokenizers", reason="tokenizers is not installed: edge_sim[text]")
    from edge_sim.vision.dual_encoders.install import import_folder

    make_dual_encoder.make(tmp_path / "colours")
    folder = import_folder(tmp_path / "colours", tmp_path / "models").folder
    tar = photos(tmp_path / "three.tar")
    measure_search.main(["words", str(tar), "--text-model", str(folder)])
    shown = capsys.readouterr().out
    assert "unknown: none" in shown
    assert "mean of all 3: precision@10 0.333, mAP 1.000" in shown  # two of six are right
