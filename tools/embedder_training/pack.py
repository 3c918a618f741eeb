"""The train pack: photos in tar shards, read once and cut into fixed views.

A view is a crop of a photo, squashed to a square. View 0 is the whole photo, the others are
random crops drawn from (seed, view, index), so every run sees the same views.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

STORED_SIZE = 144  # the short side of the pack's photos: more would be interpolation
MIN_PHOTOS = 5000  # below this a student memorises its pack; tests lower it on purpose
HELD_OUT_EVERY = 40
HELD_OUT_REST = 7
CROP_AREA = (0.30, 1.0)
CROP_ASPECT = (0.75, 1.333)


class PackError(Exception):
    """Data or teachers are missing or too few; the message is one line for a person."""


@dataclass(frozen=True)
class Photo:
    """One encoded photo of the pack."""

    index: int
    name: str
    encoded: bytes


def data_root() -> Path:
    """Folder that holds data/ and models/: EDGE_SIM_DATA, else ../shared beside the checkout."""
    given = os.environ.get("EDGE_SIM_DATA")
    return Path(given) if given else Path(__file__).resolve().parents[3] / "shared"


def find_shards(train_folder: Path) -> list[Path]:
    """Return the tar shards of the pack in order.

    Raises:
        PackError: there is none.
    """
    shards = sorted(train_folder.glob("*.tar"))
    if not shards:
        raise PackError(f"no train pack: {train_folder} has no .tar shards (set EDGE_SIM_DATA)")
    return shards


def read_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of every picture in a tar, in stored order."""
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and member.name.endswith((".webp", ".jpg", ".png")):
                yield member.name, content.read()


def read_photos(train_folder: Path, min_photos: int = MIN_PHOTOS) -> list[Photo]:
    """Return all photos of the pack, encoded.

    Raises:
        PackError: no shards, or fewer than `min_photos` photos.
    """
    named = [item for shard in find_shards(train_folder) for item in read_tar(shard)]
    if len(named) < min_photos:
        raise PackError(f"train pack too small: {len(named)} photos, {min_photos} needed")
    return [Photo(index, name, encoded) for index, (name, encoded) in enumerate(named)]


def held_out(count: int) -> npt.NDArray[np.bool_]:
    """Return the mask of photos that are never trained on (quality is measured on them)."""
    mask: npt.NDArray[np.bool_] = np.arange(count) % HELD_OUT_EVERY == HELD_OUT_REST
    return mask


def decode_rgb(encoded: bytes) -> Pixels:
    """Return the picture as RGB.

    Raises:
        PackError: it cannot be decoded.
    """
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise PackError("a picture of the pack cannot be decoded")
    return np.asarray(decoded[:, :, ::-1], dtype=np.uint8)


def squash(picture: Pixels, size: int) -> Pixels:
    """Return the picture resized to a square, the way probes and references are resized."""
    shrinks = picture.shape[0] > size or picture.shape[1] > size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(
        cv2.resize(np.ascontiguousarray(picture), (size, size), interpolation=how), dtype=np.uint8
    )


def cut_view(picture: Pixels, view: int, index: int, seed: int) -> Pixels:
    """Return the crop that is view `view` of photo `index`; view 0 is the whole picture."""
    if view == 0:
        return picture
    rng = np.random.default_rng([seed, view, index])
    height, width = picture.shape[:2]
    aspect = np.exp(rng.uniform(*np.log(CROP_ASPECT)))
    area = rng.uniform(*CROP_AREA)
    crop_h = round(height * min(1.0, float(np.sqrt(area / aspect))))
    crop_w = round(width * min(1.0, float(np.sqrt(area * aspect))))
    top = int(rng.integers(0, height - crop_h + 1))
    left = int(rng.integers(0, width - crop_w + 1))
    crop = picture[top : top + crop_h, left : left + crop_w]
    return crop[:, ::-1] if rng.random() < 0.5 else crop
