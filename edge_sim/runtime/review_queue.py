"""Review queue: frames of uncertain observations, kept for a person to label or discard.

    <folder>/<watch>/20260131T120000.250Z-1042-food.png   the region, as it would be enrolled
    <folder>/<watch>/20260131T120000.250Z-1042-food.json  when, why, and the score of every state

The last word of a name is the guess: the most probable state, `none` without references. A frame
counts once its .json is there, which is written last. Both are synced and renamed into place, so a
power cut leaves whole frames only. Frames that were decided lie below `<folder>/.decided` for a
while, so that decisions can be taken back. Files of other names are never touched.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import cv2
import msgspec

from edge_sim.core.events import utc_text
from edge_sim.core.files import write_whole
from edge_sim.core.images import decode
from edge_sim.core.types import BgrImage
from edge_sim.decision.pipeline import Outcome
from edge_sim.errors import DataError
from edge_sim.runtime.config.service import ReviewConfig

NO_GUESS = "none"
_SCHEMA = 1
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z-\d+-[A-Za-z0-9_-]+")
_PICTURE, _FACTS, _UNFINISHED = ".png", ".json", ".new"
_DECIDED = ".decided"
MOST_DECISIONS = 8
"""Decisions that can be taken back: the frames of older ones are deleted."""
_LARGEST_FACTS = 1 << 20  # far above a thousand states


class KeptScore(msgspec.Struct, frozen=True):
    """Score of the frame and its best reference of one state; fields as in `Score`."""

    state: str
    reference: str
    probability: float
    combined: float
    cosine: float
    ssim: float | None


class KeptFrame(msgspec.Struct, frozen=True):
    """Facts of a frame; `state` and `reason` are the state in force at the time."""

    watch: str
    at: str
    unix_time_s: float
    frame: int
    guess: str | None
    state: str = msgspec.field(name="said")
    reason: str | None
    condition: str
    model: str
    scores: tuple[KeptScore, ...]
    schema: int = _SCHEMA


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """Frame in the queue.

    Args:
        review_id: `<watch>/<name>`, as given on the command line.
        picture: Path of the .png.
        facts: Facts of the frame; None if its .json is damaged.
        size_bytes: Size of both files.
    """

    review_id: str
    picture: Path
    facts: KeptFrame | None
    size_bytes: int


class ReviewFolder:
    """Folder of one device. One process adds; any may list, read and discard.

    Args:
        root: Path of the folder, made with the first frame.
        config: Bounds of the folder, all watches together; beyond them the oldest frame of the
            watch with the most frames is deleted.
    """

    def __init__(self, root: Path, config: ReviewConfig | None = None) -> None:
        self.root = root
        config = config or ReviewConfig()
        self._max_frames = config.max_frames
        self._max_bytes = int(config.max_mb * 1e6)
        self._lock = Lock()

    def keep(self, outcome: Outcome, pixels: BgrImage) -> str:
        """Write one frame and return its id; may be called from any thread.

        Args:
            outcome: Result of the observation.
            pixels: (H, W, 3) uint8 BGR, the region as `enrolment.as_stored` returns it.

        Raises:
            DataError: The disk is full or gone.
        """
        done, buffer = cv2.imencode(_PICTURE, pixels)
        if not done:
            raise ValueError(f"OpenCV cannot encode a picture of shape {pixels.shape} as PNG")
        facts = _facts(outcome)
        folder, name = self.root / outcome.watch, _name(facts)
        with self._lock, _as_data_error(self.root):
            folder.mkdir(parents=True, exist_ok=True)
            self._sweep(folder)
            write_whole(folder / f"{name}{_PICTURE}", buffer.tobytes())
            write_whole(folder / f"{name}{_FACTS}", msgspec.json.encode(facts))
            self._trim()
        return f"{outcome.watch}/{name}"

    def items(self, watch: str | None = None) -> tuple[ReviewItem, ...]:
        """Return the frames, the oldest first; none without a folder.

        Raises:
            DataError: The folder cannot be read.
        """
        with _as_data_error(self.root):
            items = [_item(path) for path in self._places() if watch in (None, path.parent.name)]
        return tuple(sorted(items, key=lambda item: (item.picture.stem, item.review_id)))

    def item(self, review_id: str) -> ReviewItem:
        """Return one frame.

        Raises:
            DataError: There is no frame of this id.
        """
        watch, _, name = review_id.partition("/")
        if _NAME.fullmatch(name):  # and so no path to elsewhere
            with _as_data_error(self.root):
                for folder in self._folders():
                    path = folder / f"{name}{_FACTS}"
                    if folder.name == watch and _is_whole(path):
                        return _item(path)
        raise DataError(
            f"{self.root}: no kept frame {review_id!r}; `edge-sim gallery review` lists them"
        )

    def discard(self, items: tuple[ReviewItem, ...]) -> None:
        """Delete frames; one that is gone already is no error.

        Raises:
            DataError: They cannot be deleted.
        """
        with _as_data_error(self.root):
            for item in items:
                _delete(item.picture.with_suffix(_FACTS))

    def take_out(self, items: tuple[ReviewItem, ...]) -> str:
        """Take decided frames out of the queue and return a token for `put_back`.

        The frames of the last `MOST_DECISIONS` calls stay on the disk for that.

        Raises:
            DataError: They cannot be moved.
        """
        token = f"{time.time_ns():020d}"
        with self._lock, _as_data_error(self.root):
            for item in items:
                folder = self.root / _DECIDED / token / item.picture.parent.name
                folder.mkdir(parents=True, exist_ok=True)
                # The facts last: without its picture a frame does not count.
                for part in (item.picture, item.picture.with_suffix(_FACTS)):
                    with suppress(FileNotFoundError):
                        part.replace(folder / part.name)
            for old in self._tokens()[:-MOST_DECISIONS]:
                shutil.rmtree(self.root / _DECIDED / old, ignore_errors=True)
        return token

    def put_back(self, token: str) -> int:
        """Put the frames of a `take_out` back into the queue; return their number.

        Raises:
            DataError: They are not there any more, or cannot be moved.
        """
        with self._lock, _as_data_error(self.root):
            if token not in self._tokens():
                raise DataError("these decisions cannot be taken back any more")
            place, count = self.root / _DECIDED / token, 0
            for facts in sorted(place.glob(f"*/*{_FACTS}")):
                folder = self.root / facts.parent.name
                folder.mkdir(parents=True, exist_ok=True)
                for part in (facts.with_suffix(_PICTURE), facts):
                    part.replace(folder / part.name)
                count += 1
            shutil.rmtree(place, ignore_errors=True)
        return count

    def _tokens(self) -> list[str]:
        with suppress(FileNotFoundError, NotADirectoryError):
            return sorted(path.name for path in (self.root / _DECIDED).iterdir())
        return []

    def _folders(self) -> Iterator[Path]:
        """Yield the folder of every watch."""
        with suppress(FileNotFoundError):
            for folder in sorted(self.root.iterdir()):
                if not folder.is_symlink() and folder.is_dir():
                    yield folder

    def _places(self) -> Iterator[Path]:
        """Yield the .json of every whole frame."""
        with suppress(FileNotFoundError):
            for folder in self._folders():
                for path in sorted(folder.glob(f"*{_FACTS}")):
                    if _NAME.fullmatch(path.stem) and _is_whole(path):
                        yield path

    def _sweep(self, folder: Path) -> None:
        """Delete parts of frames that a power cut or another process left."""
        for path in folder.iterdir():
            whole = _FACTS if path.suffix == _PICTURE else _PICTURE
            stem = path.name.removesuffix(_UNFINISHED).rpartition(".")[0]
            is_ours = path.suffix in (_PICTURE, _FACTS, _UNFINISHED) and _NAME.fullmatch(stem)
            if is_ours and (path.suffix == _UNFINISHED or not path.with_suffix(whole).exists()):
                path.unlink(missing_ok=True)

    def _trim(self) -> None:
        sizes: dict[str, list[tuple[Path, int]]] = {}
        for path in self._places():
            sizes.setdefault(path.parent.name, []).append((path, _size(path)))
        count = sum(len(kept) for kept in sizes.values())
        size = sum(part for kept in sizes.values() for _, part in kept)
        # The newest frame stays, however large it is.
        while count > 1 and (count > self._max_frames or size > self._max_bytes):
            fullest = max(sizes.values(), key=len)
            path, part = fullest.pop(0)
            _delete(path)
            count, size = count - 1, size - part


def picture_of(item: ReviewItem) -> BgrImage:
    """Return the region that was kept.

    Raises:
        DataError: The picture is damaged or gone.
    """
    with _as_data_error(item.picture):
        data = item.picture.read_bytes()
    try:
        return decode(data)
    except ValueError as error:
        raise DataError(f"{item.picture}: {error}") from error


def _name(facts: KeptFrame) -> str:
    at = facts.at.replace("-", "").replace(":", "")
    return f"{at}-{facts.frame}-{facts.guess or NO_GUESS}"


def _facts(outcome: Outcome) -> KeptFrame:
    observation = outcome.observation
    states = () if observation.match is None else observation.match.states
    return KeptFrame(
        watch=outcome.watch,
        at=utc_text(observation.unix_time_s),
        unix_time_s=observation.unix_time_s,
        frame=observation.frame_index,
        guess=states[0].state if states else None,
        state=outcome.state.name,
        reason=None if outcome.state.reason is None else outcome.state.reason.value,
        condition=observation.condition,
        model=outcome.probe.embedding.model_id,
        scores=tuple(
            KeptScore(
                state=item.state,
                reference=item.reference_id,
                probability=round(item.probability, 4),
                combined=round(item.score.combined, 4),
                cosine=round(item.score.cosine, 4),
                ssim=None if item.score.ssim is None else round(item.score.ssim, 4),
            )
            for item in states
        ),
    )


def _is_whole(facts: Path) -> bool:
    return facts.is_file() and facts.with_suffix(_PICTURE).is_file()


def _item(path: Path) -> ReviewItem:
    facts = None
    if path.stat().st_size <= _LARGEST_FACTS:
        with suppress(msgspec.DecodeError, OSError):
            facts = msgspec.json.decode(path.read_bytes(), type=KeptFrame)
    return ReviewItem(
        f"{path.parent.name}/{path.stem}", path.with_suffix(_PICTURE), facts, _size(path)
    )


def _size(path: Path) -> int:
    size = 0
    for part in (path, path.with_suffix(_PICTURE)):
        with suppress(FileNotFoundError):
            size += part.stat().st_size
    return size


def _delete(path: Path) -> None:
    # The facts first: without them the frame no longer counts, and the rest is swept up.
    path.unlink(missing_ok=True)
    path.with_suffix(_PICTURE).unlink(missing_ok=True)


@contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from error
