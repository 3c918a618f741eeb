"""Decisions of a person about the frames of the review queue, many at once, and their undo."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from edge_sim.core.events import utc_text
from edge_sim.core.types import UNKNOWN
from edge_sim.errors import CommandError, DataError, GalleryError
from edge_sim.gallery.candidates import CandidateResult, EnrolmentCandidate, Unreadable
from edge_sim.gallery.enrolment_checks import Refusal
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime import assembly
from edge_sim.runtime.config import Config
from edge_sim.runtime.review_queue import ReviewFolder, ReviewItem, picture_of
from edge_sim.web.enrolments import EnrolledPicture, Enrolments, pictures_of

if TYPE_CHECKING:
    from edge_sim.runtime.daemon.access import DeviceAccess

DISCARD = "discard"
MAX_DECISIONS = 500
_KEPT_UNDOS = 8


class ReviewScore(msgspec.Struct, frozen=True):
    """Probability of one state, 0 to 1."""

    state: str
    probability: float


class ReviewFrame(msgspec.Struct, frozen=True):
    """Frame that waits; `state` and `reason` were in force at the time. Null where not known."""

    id: str
    watch: str
    at: str | None
    guess: str | None
    state: str | None
    reason: str | None
    light: str | None
    scores: tuple[ReviewScore, ...]


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Frame and the state that it shows; `unknown` for none of them, `discard` for no use."""

    id: str
    state: str = msgspec.field(name="as")


class ChangedDecision(msgspec.Struct, frozen=True):
    """Recent event that would give another state now; empty names stand for none."""

    watch: str
    event: str
    at: str
    before: str = msgspec.field(name="from")
    after: str = msgspec.field(name="to")


class ReviewResult(msgspec.Struct, frozen=True):
    """Outcome of decisions.

    Args:
        revision: Revision of the gallery; null if no reference was added.
        undo: Token that takes all of it back; null if nothing was decided.
        enrolled: Number of new references.
        discarded: Number of frames that left the queue without a reference.
        duplicates: Frames that repeat a reference; they left the queue.
        refused: Frames that cannot be references, with the reason; they stay in the queue.
        changed: Recent events that would give another state now.
    """

    revision: int | None
    undo: str | None
    enrolled: int
    discarded: int
    duplicates: tuple[EnrolledPicture, ...]
    refused: tuple[EnrolledPicture, ...]
    changed: tuple[ChangedDecision, ...]


@dataclass(frozen=True, slots=True)
class _Undo:
    frames: str
    """Token of the frames that were taken out."""
    first: int | None
    last: int | None
    """Revisions of the gallery that were made."""


class ReviewDecisions:
    """Review queue of a device, as the page sees it; for any thread.

    Args:
        device: Access to the daemon.
        enrolments: Enrolment of pictures.
    """

    def __init__(self, device: DeviceAccess, enrolments: Enrolments) -> None:
        self._device = device
        self._enrolments = enrolments
        self._lock = threading.Lock()
        self._undos: OrderedDict[str, _Undo] = OrderedDict()

    def frames(self, watch: str | None = None) -> tuple[ReviewFrame, ...]:
        """Return the frames that wait, the newest first.

        Raises:
            DataError: The folder cannot be read, or none is configured.
        """
        watches = self._device.config.watches
        items = self._folder().items(watch)
        return tuple(_frame(item) for item in reversed(items) if _watch_of(item) in watches)

    def picture(self, review_id: str) -> bytes:
        """Return the picture of a frame, as PNG.

        Raises:
            DataError: There is no such frame.
        """
        item = self._folder().item(review_id)
        try:
            return item.picture.read_bytes()
        except OSError as error:
            raise DataError(f"frame {review_id}: {error.strerror}") from error

    def decide(self, decisions: Sequence[Decision]) -> ReviewResult:
        """Carry decisions out: enrol what shows a state, and take what is decided off the queue.

        Raises:
            EdgeSimError: Nothing is decided.
            CommandError: A frame is named twice, or a state is none of its watch.
            DataError: A frame is not there any more.
            GalleryError: The gallery cannot be written.
        """
        if len({item.id for item in decisions}) != len(decisions) or len(decisions) > MAX_DECISIONS:
            raise CommandError(f"decide on each frame once, and on {MAX_DECISIONS} at most")
        with self._lock:
            return self._decide(decisions)

    def undo(self, token: str) -> int | None:
        """Take decisions back; return the new revision of the gallery, None if it had no part.

        Raises:
            CommandError: They cannot be taken back any more.
            GalleryError: The gallery was changed since.
        """
        with self._lock:
            undo = self._undos.get(token)
            if undo is None:
                raise CommandError("these decisions cannot be taken back any more")
            revision = None
            if undo.first is not None:
                config = self._device.config
                with GalleryStore.open(config.path(config.gallery.path)) as store:
                    if store.revision != undo.last:
                        raise GalleryError(
                            f"the gallery was changed since (it is at revision {store.revision}): "
                            "take that back first"
                        )
                    revision = store.rollback(undo.first - 1).number
            del self._undos[token]
            self._folder().put_back(undo.frames)
            return revision

    def _decide(self, decisions: Sequence[Decision]) -> ReviewResult:
        config = self._device.config
        folder = self._folder()
        items = {item.id: folder.item(item.id) for item in decisions}
        batches = _batches(config, decisions, items)
        for watch, states in batches.items():
            for state in states:
                self._enrolments.checked(watch, state)
        revisions: list[int] = []
        outcomes: list[EnrolledPicture] = []
        with _all_or_nothing(config, revisions):
            for watch, states in batches.items():
                labelled = [
                    (state, [_candidate(items[name]) for name in names])
                    for state, names in states.items()
                ]
                report = self._enrolments.regions(watch, labelled)
                outcomes += pictures_of(report)
                if report.revision is not None:
                    revisions.append(report.revision)
            duplicates = tuple(item for item in outcomes if item.refused == Refusal.DUPLICATE.value)
            refused = tuple(item for item in outcomes if item.refused and item not in duplicates)
            stay = {item.name for item in refused}
            decided = tuple(item for name, item in items.items() if name not in stay)
            changed = tuple(self._changed(config, batches)) if revisions else ()
            token = self._remember(folder, decided, revisions) if decided else None
        enrolled = sum(item.reference_id is not None for item in outcomes)
        return ReviewResult(
            revisions[-1] if revisions else None,
            token,
            enrolled,
            len(decided) - enrolled - len(duplicates),
            duplicates,
            refused,
            changed,
        )

    def _remember(
        self, folder: ReviewFolder, decided: tuple[ReviewItem, ...], revisions: Sequence[int]
    ) -> str:
        token = folder.take_out(decided)
        first, last = (revisions[0], revisions[-1]) if revisions else (None, None)
        self._undos[token] = _Undo(token, first, last)
        while len(self._undos) > _KEPT_UNDOS:
            self._undos.popitem(last=False)
        return token

    def _changed(self, config: Config, watches: Iterable[str]) -> Iterator[ChangedDecision]:
        with assembly.open_gallery(config) as store:
            for watch in watches:
                for flip in self._device.flips(watch, store.gallery(watch)):
                    at = utc_text(flip.unix_time_s)
                    yield ChangedDecision(watch, flip.event_id, at, flip.before, flip.after)

    def _folder(self) -> ReviewFolder:
        config = self._device.config
        if config.review.path is None:
            raise DataError(
                "no uncertain frames are kept: set review.path in the configuration to a folder"
            )
        return ReviewFolder(config.path(config.review.path), config.review)


@contextmanager
def _all_or_nothing(config: Config, revisions: Sequence[int]) -> Iterator[None]:
    """Take the revisions back that were made inside the block, if it raises."""
    try:
        yield
    except Exception:
        if revisions:
            with GalleryStore.open(config.path(config.gallery.path)) as store:
                # Somebody else's change between them, or after them, is not taken back too.
                if store.revision != revisions[0] + len(revisions) - 1:
                    raise GalleryError(
                        "a part of the decisions is in the gallery, which was changed meanwhile: "
                        f"it is at revision {store.revision}, and was at {revisions[0] - 1}"
                    ) from None
                store.rollback(revisions[0] - 1)
        raise


def _batches(
    config: Config, decisions: Sequence[Decision], items: Mapping[str, ReviewItem]
) -> dict[str, dict[str, list[str]]]:
    """Return the ids of frames to enrol, by watch and state."""
    batches: dict[str, dict[str, list[str]]] = {}
    for decision in decisions:
        watch = _watch_of(items[decision.id])
        if watch not in config.watches:
            raise CommandError(f"there is no watch {watch!r}")
        if decision.state in (UNKNOWN, DISCARD):
            continue
        batches.setdefault(watch, {}).setdefault(decision.state, []).append(decision.id)
    return batches


def _candidate(item: ReviewItem) -> CandidateResult:
    taken_s = None if item.facts is None else item.facts.unix_time_s or None
    try:
        return EnrolmentCandidate(item.review_id, picture_of(item), taken_s)
    except DataError as error:
        return Unreadable(item.review_id, str(error))


def _frame(item: ReviewItem) -> ReviewFrame:
    facts = item.facts
    if facts is None:
        return ReviewFrame(item.review_id, _watch_of(item), None, None, None, None, None, ())
    return ReviewFrame(
        item.review_id,
        _watch_of(item),
        facts.at,
        facts.guess,
        facts.state,
        facts.reason,
        facts.condition,
        tuple(ReviewScore(score.state, score.probability) for score in facts.scores),
    )


def _watch_of(item: ReviewItem) -> str:
    return item.review_id.partition("/")[0]
