"""References as the page adds them: the present picture, a still, dropped files, a review item.

Pictures are embedded by an embedder of the page's own, in the thread of the request, so that the
loop goes on meanwhile; the running watch takes the gallery over between two frames.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from edge_sim.core.files import printable
from edge_sim.core.images import decode
from edge_sim.core.picture_header import read_header
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import BgrImage, Roi
from edge_sim.errors import CommandError, GalleryError
from edge_sim.gallery.candidates import CandidateResult, EnrolmentCandidate, Unreadable
from edge_sim.gallery.enrolment import EnrolmentPlan, EnrolmentReport, enrol_batches
from edge_sim.gallery.gallery import checked_name
from edge_sim.gallery.records import REGION, region_text
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime import assembly
from edge_sim.runtime.config import Config
from edge_sim.runtime.config.yaml_reader import nearest
from edge_sim.vision.probe import Region

if TYPE_CHECKING:
    from edge_sim.runtime.daemon.access import DeviceAccess

MAX_FILES = 200
MAX_FILE_BYTES = 32_000_000
MAX_FILE_PIXELS = 24_000_000
"""Decoded, such a picture takes 72 MB, on a device that has 400."""
_LOCKED_S = 5.0
_SAME_SHAPE = 0.02  # relative difference of two proportions that count as the same


class EnrolledPicture(msgspec.Struct, frozen=True):
    """Outcome of one picture; `refused` is a word as in `duplicate`, with its measurements."""

    name: str
    reference_id: str | None
    light: str | None
    refused: str | None = None
    detail: str | None = None
    like: str | None = None


class EnrolmentResult(msgspec.Struct, frozen=True):
    """Outcome of an enrolment; `revision` is null if nothing was added, `count` is of the state."""

    revision: int | None
    count: int
    pictures: tuple[EnrolledPicture, ...]


@dataclass(frozen=True, slots=True)
class UploadedPicture:
    """File that was dropped on the page."""

    name: str
    content: bytes


class Enrolments:
    """Enrolment of pictures into the gallery file of a device; for any thread, one at a time.

    Args:
        device: Access to the daemon.
        open_model: Opener of the embedder of a configuration; tests give their own.
        now: Seconds since 1970 UTC.
    """

    def __init__(
        self,
        device: DeviceAccess,
        *,
        open_model: Callable[[Config], Embedder] = assembly.open_model,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._device = device
        self._open_model = open_model
        self._now = now
        self._lock = threading.Lock()
        self._embedder: tuple[object, Embedder] | None = None

    def present(self, watch: str, state: str, *, force: bool = False) -> EnrolmentResult:
        """Enrol the present picture of a watch.

        Raises:
            CommandError: There is no such watch or state, or its camera gives no picture.
            GalleryError: The gallery cannot be written.
        """
        config = self.checked(watch, state)
        source = config.source_of(watch)
        lost = next(
            (item for item in self._device.board.sources if item.name == source and not item.up),
            None,
        )
        if lost is not None:
            raise CommandError(f"source {source} gives no picture: {lost.error or 'no frame yet'}")
        picture = self._device.picture(watch)
        if picture is None:
            raise CommandError(f"source {source} has given no frame yet")
        name = f"{source}#{picture.frame.index}"
        taken_s = picture.frame.unix_time_s or None
        candidate = EnrolmentCandidate(name, picture.region_pixels, taken_s)
        return self._enrol(config, watch, state, [candidate], force=force)

    def still(
        self, watch: str, state: str, still_id: str, *, force: bool = False
    ) -> EnrolmentResult:
        """Enrol a still that the device has proposed; it is not proposed any more then.

        Raises:
            CommandError: There is no such watch, state or still.
            GalleryError: The gallery cannot be written.
        """
        config = self.checked(watch, state)
        still = self._device.stills.still(watch, still_id)
        candidate = EnrolmentCandidate(
            f"still {still_id}", decode(still.jpeg), still.unix_time_s or None
        )
        result = self._enrol(config, watch, state, [candidate], force=force)
        if result.revision is not None:
            self._device.stills.drop(watch, still_id)
        return result

    def files(
        self,
        watch: str,
        state: str,
        files: Iterable[UploadedPicture],
        *,
        force: bool = False,
        whole: bool | None = None,
    ) -> EnrolmentResult:
        """Enrol files, as one revision.

        Args:
            watch: Name of the watch.
            state: State that all of them show.
            files: Names and contents.
            force: Enrol what the checks would reject.
            whole: Whether the pictures are whole frames of the camera, not regions; None takes
                those for frames whose proportions are the frame's.

        Raises:
            CommandError: There is no such watch or state.
            GalleryError: The gallery cannot be written.
        """
        config = self.checked(watch, state)
        region = assembly.region_of(config, watch)
        picture = self._device.picture(watch)
        frame = None if picture is None else picture.frame.pixels

        def cropped(pixels: BgrImage) -> BgrImage:
            is_frame = _is_frame(pixels, frame, region) if whole is None else whole
            return (
                region.pixels_of(pixels) if is_frame else Region(mask=region.mask).pixels_of(pixels)
            )

        return self._enrol(config, watch, state, _candidates(files, cropped), force=force)

    def regions(
        self,
        watch: str,
        batches: Sequence[tuple[str, Sequence[CandidateResult]]],
    ) -> EnrolmentReport:
        """Enrol pictures of the region of a watch that a person has labelled, as one revision.

        A picture that resembles another state is enrolled: the label overrules that.

        Raises:
            CommandError: There is no such watch or state.
            GalleryError: The gallery cannot be written.
        """
        for state, _ in batches:
            config = self.checked(watch, state)
        with self._lock:
            return self._report(config, watch, batches, labelled=True)

    def _enrol(
        self,
        config: Config,
        watch: str,
        state: str,
        candidates: Iterable[CandidateResult],
        *,
        force: bool,
    ) -> EnrolmentResult:
        with self._lock:
            report = self._report(config, watch, [(state, candidates)], force=force)
            with assembly.open_gallery(config) as store:
                count = len(store.records(watch=watch, state=state))
        return EnrolmentResult(report.revision, count, pictures_of(report))

    def _report(
        self,
        config: Config,
        watch: str,
        batches: Sequence[tuple[str, Iterable[CandidateResult]]],
        *,
        force: bool = False,
        labelled: bool = False,
    ) -> EnrolmentReport:
        metadata = {"taught": "yes"}
        if not labelled:  # the region of an earlier picture is not known
            metadata[REGION] = region_text(Roi(*config.watches[watch].roi))
        plans = [
            (_plan(watch, state, metadata, force, labelled), candidates)
            for state, candidates in batches
        ]
        embedder = self._embedder_of(config)
        path = config.path(config.gallery.path)
        with GalleryStore.open(path, create=True, timeout_s=_LOCKED_S) as store:
            return enrol_batches(store, embedder, plans, now=self._now)

    def checked(self, watch: str, state: str) -> Config:
        """Return the configuration in force, in which a watch may have references of a state.

        Raises:
            CommandError: There is no such watch or state.
            GalleryError: The state has no valid name.
        """
        config = self._device.config
        known = config.watches.get(watch)
        if known is None:
            raise CommandError(f"there is no watch {watch!r}{nearest(watch, config.watches)}")
        if known.states and state not in known.states:
            raise CommandError(
                f"watch {watch} has no state {state!r}{nearest(state, known.states)}"
            )
        checked_name("state", state)
        return config

    def _embedder_of(self, config: Config) -> Embedder:
        key = config.model, config.folder
        if self._embedder is None or self._embedder[0] != key:
            self._embedder = None
            self._embedder = key, self._open_model(config)
        return self._embedder[1]


def _plan(
    watch: str, state: str, metadata: Mapping[str, str], force: bool, labelled: bool
) -> EnrolmentPlan:
    return EnrolmentPlan(watch, state, metadata=metadata, force=force, labelled=labelled)


def pictures_of(report: EnrolmentReport) -> tuple[EnrolledPicture, ...]:
    """Return the outcome of every picture, the accepted ones first."""
    accepted = [
        EnrolledPicture(item.name, item.reference_id, item.condition) for item in report.accepted
    ]
    rejected = [
        EnrolledPicture(item.name, None, None, item.refusal.value, item.detail, item.like)
        for item in report.rejected
    ]
    return (*accepted, *rejected)


def checked_undo(store: GalleryStore, revision: int) -> int:
    """Revert a change if it is still the last one; return the new revision.

    Raises:
        GalleryError: Something else was changed since.
    """
    if store.revision != revision:
        raise GalleryError(
            f"the gallery is at revision {store.revision} and not at {revision} any more: take "
            "back the later changes first"
        )
    return store.undo().number


def _candidates(
    files: Iterable[UploadedPicture], cropped: Callable[[BgrImage], BgrImage]
) -> Iterator[CandidateResult]:
    for number, file in enumerate(files):
        name = printable(file.name.replace("\\", "/").rpartition("/")[2])[:120] or f"file {number}"
        if number >= MAX_FILES:
            yield Unreadable(name, f"more than {MAX_FILES} files at once")
        elif len(file.content) > MAX_FILE_BYTES:
            yield Unreadable(name, f"larger than {MAX_FILE_BYTES // 1_000_000} MB")
        else:
            try:
                _check_pixels(file.content)
                yield EnrolmentCandidate(name, cropped(decode(file.content)))
            except ValueError as error:
                yield Unreadable(name, str(error))


def _check_pixels(content: bytes) -> None:
    header = read_header(content)
    size = None if header is None else header.size
    if size is not None and size[0] * size[1] > MAX_FILE_PIXELS:
        raise ValueError(
            f"{size[0]} x {size[1]} pixels are more than {MAX_FILE_PIXELS // 1_000_000} "
            "megapixels; make it smaller"
        )


def _is_frame(pixels: BgrImage, frame: BgrImage | None, region: Region) -> bool:
    """Return whether a picture has the proportions of the frame rather than those of the region."""
    if frame is None:
        return False
    roi, (height, width) = region.roi, frame.shape[:2]
    own = pixels.shape[1] / pixels.shape[0]
    of_frame = width / height
    of_region = (roi.x2 - roi.x1) * width / ((roi.y2 - roi.y1) * height)
    distance, other = abs(own / of_frame - 1.0), abs(own / of_region - 1.0)
    return bool(distance <= _SAME_SHAPE and distance <= other)
