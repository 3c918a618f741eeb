"""What the student is taught: both teachers' features on the same view, reduced by PCA.

The work folder holds, per view, three arrays (pixels, global, spatial) and a marker written last;
a view without its marker is made again. Training may start once view 0 is there.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from embedder_training.pack import STORED_SIZE, Photo, Pixels, cut_view, decode_rgb, squash
from embedder_training.teachers import GRID, Floats, Teacher, run_teachers

GLOBAL_DIM = 256
SPATIAL_DIM = 48
TEACHER_WEIGHTS = (0.7, 1.0)  # MobileNetV2 is the better teacher on both retrieval sets
WHITENING = 0.15
FIT_PHOTOS = 5000


@dataclass(frozen=True)
class Basis:
    """The linear maps from teacher features to targets."""

    global_means: list[Floats]
    global_centre: Floats
    global_axes: Floats
    spatial_means: list[Floats]
    spatial_scales: Floats
    spatial_axes: Floats

    def global_target(self, pooled: Sequence[Floats]) -> Floats:
        """Return the unit vector (GLOBAL_DIM,) for the pooled features of both teachers."""
        joined = np.concatenate(_weighted_global(pooled, self.global_means))
        target = (joined - self.global_centre) @ self.global_axes
        return np.asarray(target / max(float(np.linalg.norm(target)), 1e-9), dtype=np.float32)

    def spatial_target(self, grids: Sequence[Floats]) -> Floats:
        """Return (GRID, GRID, SPATIAL_DIM) for the grids of both teachers."""
        parts = [
            (grid - mean) * scale
            for grid, mean, scale in zip(
                grids, self.spatial_means, self.spatial_scales, strict=True
            )
        ]
        return np.asarray(np.concatenate(parts, axis=-1) @ self.spatial_axes, dtype=np.float32)

    def save(self, path: Path) -> None:
        """Write the basis as one .npz."""
        arrays: dict[str, Any] = {
            "global_centre": self.global_centre,
            "global_axes": self.global_axes,
            "spatial_scales": self.spatial_scales,
            "spatial_axes": self.spatial_axes,
        }
        for number, (first, second) in enumerate(
            zip(self.global_means, self.spatial_means, strict=True)
        ):
            arrays[f"global_mean_{number}"], arrays[f"spatial_mean_{number}"] = first, second
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Basis":
        """Read a basis written by `save`."""
        with np.load(path) as stored:
            count = len(stored["spatial_scales"])
            return cls(
                [stored[f"global_mean_{number}"] for number in range(count)],
                stored["global_centre"],
                stored["global_axes"],
                [stored[f"spatial_mean_{number}"] for number in range(count)],
                stored["spatial_scales"],
                stored["spatial_axes"],
            )


def _unit(rows: Floats) -> Floats:
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-9), dtype=np.float32)


def _weighted_global(pooled: Sequence[Floats], means: Sequence[Floats]) -> list[Floats]:
    return [
        weight * _unit(_unit(rows) - mean)
        for rows, mean, weight in zip(pooled, means, TEACHER_WEIGHTS, strict=True)
    ]


def _principal_axes(rows: Floats, count: int) -> tuple[Floats, Floats]:
    values, axes = np.linalg.eigh(np.cov(rows.T))
    order = np.argsort(values)[::-1][:count]
    return values[order].astype(np.float32), axes[:, order].astype(np.float32)


def fit_basis(pooled: Sequence[Floats], grids: Sequence[Floats]) -> Basis:
    """Return the basis fitted on stacked teacher features, one array per teacher."""
    global_means = [_unit(rows).mean(axis=0) for rows in pooled]
    joined = np.concatenate(_weighted_global(pooled, global_means), axis=1)
    centre = joined.mean(axis=0)
    spread, axes = _principal_axes(joined - centre, GLOBAL_DIM)
    axes = (axes * np.maximum(spread, 1e-9) ** -WHITENING).astype(np.float32)
    spatial_means = [rows.mean(axis=(0, 1, 2)) for rows in grids]
    cells = [
        (rows - mean).reshape(-1, rows.shape[-1])
        for rows, mean in zip(grids, spatial_means, strict=True)
    ]
    scales = np.array(
        [
            weight / np.sqrt(np.square(rows).sum(axis=1).mean())
            for rows, weight in zip(cells, TEACHER_WEIGHTS, strict=True)
        ]
    )
    stacked = np.concatenate([rows * scale for rows, scale in zip(cells, scales, strict=True)], 1)
    _, spatial_axes = _principal_axes(stacked[::2], SPATIAL_DIM)
    return Basis(
        global_means,
        centre.astype(np.float32),
        axes.astype(np.float32),
        spatial_means,
        scales.astype(np.float32),
        spatial_axes.astype(np.float32),
    )


@dataclass(frozen=True)
class Views:
    """The arrays of one finished view, memory-mapped."""

    pixels: Pixels
    global_targets: npt.NDArray[np.float16]
    spatial_targets: npt.NDArray[np.float16]


def view_path(work: Path, view: int, kind: str) -> Path:
    """Return the file of one array of a view."""
    return work / f"view{view}_{kind}.npy"


def ready_views(work: Path) -> list[int]:
    """Return the numbers of the finished views."""
    return sorted(int(path.stem[4:]) for path in work.glob("view*.done"))


def open_view(work: Path, view: int) -> Views:
    """Return the finished view."""
    pixels, first, second = (
        np.load(view_path(work, view, kind), mmap_mode="r")
        for kind in ("pixels", "global", "spatial")
    )
    return Views(pixels, first, second)


_WORKER: dict[str, object] = {}


def _start_worker(paths: Sequence[Path]) -> None:
    cv2.setNumThreads(1)
    _WORKER["teachers"] = [Teacher(path) for path in paths]


def _start_projecting(paths: Sequence[Path], basis: Basis, seed: int) -> None:
    _start_worker(paths)
    _WORKER.update(basis=basis, seed=seed)


def _raw_features(photo: Photo) -> tuple[list[Floats], list[Floats]]:
    teachers = _WORKER["teachers"]
    assert isinstance(teachers, list)
    pooled, grids = run_teachers(teachers, decode_rgb(photo.encoded))
    return pooled, [grid.astype(np.float16) for grid in grids]


def _project(task: tuple[Photo, int]) -> tuple[int, Pixels, Floats, Floats]:
    photo, view = task
    teachers, basis, seed = _WORKER["teachers"], _WORKER["basis"], _WORKER["seed"]
    assert isinstance(teachers, list)
    assert isinstance(basis, Basis)
    assert isinstance(seed, int)
    crop = cut_view(decode_rgb(photo.encoded), view, photo.index, seed)
    pooled, grids = run_teachers(teachers, crop)
    return (
        photo.index,
        squash(crop, STORED_SIZE),
        basis.global_target(pooled),
        basis.spatial_target(grids),
    )


def make_basis(
    photos: Sequence[Photo], teachers: Sequence[Path], work: Path, processes: int
) -> Basis:
    """Return the basis of the work folder, fitted first if it is not there."""
    path = work / "basis.npz"
    if path.is_file():
        return Basis.load(path)
    chosen = photos[:: max(1, len(photos) // FIT_PHOTOS)]
    with get_context("spawn").Pool(processes, _start_worker, (teachers,)) as pool:
        features = list(
            tqdm(pool.imap(_raw_features, chosen, chunksize=32), total=len(chosen), desc="basis")
        )
    pooled = [np.stack(rows) for rows in zip(*(item[0] for item in features), strict=True)]
    grids = [
        np.stack(rows).astype(np.float32)
        for rows in zip(*(item[1] for item in features), strict=True)
    ]
    basis = fit_basis(pooled, grids)
    basis.save(path)
    return basis


def make_view(
    photos: Sequence[Photo],
    view: int,
    work: Path,
    results: Iterable[tuple[int, Pixels, Floats, Floats]],
) -> None:
    """Write the arrays of one view as its results arrive, and the marker at the end."""
    shapes = {
        "pixels": ((STORED_SIZE, STORED_SIZE, 3), np.uint8),
        "global": ((GLOBAL_DIM,), np.float16),
        "spatial": ((GRID, GRID, SPATIAL_DIM), np.float16),
    }
    arrays = {
        kind: np.lib.format.open_memmap(
            view_path(work, view, kind), "w+", dtype, (len(photos), *shape)
        )
        for kind, (shape, dtype) in shapes.items()
    }
    for index, pixels, first, second in tqdm(results, total=len(photos), desc=f"view {view}"):
        arrays["pixels"][index] = pixels
        arrays["global"][index], arrays["spatial"][index] = first, second
    for array in arrays.values():
        array.flush()
    (work / f"view{view}.done").write_text(json.dumps({"photos": len(photos)}))


def prepare(
    photos: Sequence[Photo],
    teachers: Sequence[Path],
    work: Path,
    *,
    views: int,
    seed: int,
    processes: int,
) -> None:
    """Make the basis and every view that is not finished."""
    work.mkdir(parents=True, exist_ok=True)
    basis = make_basis(photos, teachers, work, processes)
    missing = [view for view in range(views) if view not in ready_views(work)]
    if not missing:
        return
    with get_context("spawn").Pool(processes, _start_projecting, (teachers, basis, seed)) as pool:
        for view in missing:
            tasks = ((photo, view) for photo in photos)
            make_view(photos, view, work, pool.imap_unordered(_project, tasks, chunksize=32))
