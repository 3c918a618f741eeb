"""The training program: refuses what it cannot use, learns two steps on a tiny pack, resumes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

PHOTOS = 60
BATCH = 16
TEACHERS = ("v3-small_uint8_map.tflite", "mobilenet_v2_map.tflite")

needs_training = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("tqdm") is None, reason="the extra 'train' is absent"
)


def start(repository: Path, root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, repository / "tools" / "train_embedder.py", *arguments]
    return subprocess.run(
        [str(part) for part in command],
        env={**os.environ, "EDGE_SIM_DATA": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def write_pack(root: Path, photos: int) -> None:
    folder = root / "data" / "train"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with tarfile.open(folder / "train-000.tar", "w") as archive:
        for number in range(photos):
            picture = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            content = cv2.imencode(".png", picture)[1].tobytes()
            member = tarfile.TarInfo(f"made/0/{number:04d}.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_teachers(root: Path) -> None:
    (root / "models").mkdir(parents=True)
    for name in TEACHERS:
        (root / "models" / name).write_bytes(b"")


def write_view(work: Path) -> None:
    work.mkdir(parents=True)
    rng = np.random.default_rng(1)
    np.save(work / "view0_pixels.npy", rng.integers(0, 256, (PHOTOS, 144, 144, 3), dtype=np.uint8))
    np.save(work / "view0_global.npy", rng.normal(size=(PHOTOS, 256)).astype(np.float16))
    np.save(work / "view0_spatial.npy", rng.normal(size=(PHOTOS, 4, 4, 48)).astype(np.float16))
    (work / "view0.done").write_text("{}")


def assert_refused(done: subprocess.CompletedProcess[str], reason: str) -> None:
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_missing_pack_is_refused_in_one_line(repository: Path, tmp_path: Path) -> None:
    write_teachers(tmp_path)
    done = start(repository, tmp_path, "--work", tmp_path / "work", "--run", tmp_path / "run")
    assert_refused(done, "no train pack")


def test_missing_teachers_are_refused_by_name(repository: Path, tmp_path: Path) -> None:
    write_pack(tmp_path, 3)
    done = start(repository, tmp_path, "--work", tmp_path / "work", "--run", tmp_path / "run")
    assert_refused(done, f"teachers missing in {tmp_path / 'models'}: {', '.join(TEACHERS)}")


def test_a_pack_of_a_few_photos_is_refused_with_both_counts(
    repository: Path, tmp_path: Path
) -> None:
    write_pack(tmp_path, 3)
    write_teachers(tmp_path)
    done = start(repository, tmp_path, "--work", tmp_path / "work", "--run", tmp_path / "run")
    assert_refused(done, "train pack too small: 3 photos, 5000 needed")


def test_no_finished_view_is_refused(repository: Path, tmp_path: Path) -> None:
    done = start(repository, tmp_path, "--work", tmp_path, "--run", tmp_path, "--ready-views-only")
    assert_refused(done, "no finished view")


@pytest.mark.parametrize("sides", ["0:100", "64:96", "0:32"])
def test_a_side_the_network_cannot_take_is_refused(
    repository: Path, tmp_path: Path, sides: str
) -> None:
    done = start(repository, tmp_path, "--work", tmp_path, "--run", tmp_path, "--sides", sides)
    assert_refused(done, f"--sides {sides}")


@needs_training
@pytest.mark.parametrize("workers", [1, 2])
def test_two_steps_leave_a_checkpoint_and_a_curve_and_a_third_resumes(
    repository: Path, tmp_path: Path, workers: int
) -> None:
    work, run = tmp_path / "work", tmp_path / "run"
    write_view(work)
    settings = (
        "--work",
        work,
        "--run",
        run,
        "--ready-views-only",
        "--sides",
        "0:64",
        "--batch",
        BATCH,
        "--workers",
        workers,
    )
    step = BATCH * workers
    for steps in (2, 3):
        done = start(repository, tmp_path, *settings, "--samples", steps * step)
        assert done.returncode == 0, done.stderr
        points = json.loads((run / "curves.json").read_text())
        assert [point["samples"] for point in points] == [n * step for n in range(2, steps + 1)]
        assert all(-1.0 <= point["cosine_global"] <= 1.0 for point in points)
    assert (run / "checkpoint.pt").is_file()
