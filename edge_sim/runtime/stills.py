"""Diverse stills: the most different recent pictures of each watch, in memory, to be labelled.

A person who has to teach a watch needs pictures that differ, not the last hundred of one state. Of
each watch a few are kept whose embeddings lie farthest apart: a picture that is farther from all of
them than the two nearest are from each other replaces the older of these two (the online form of
farthest-first traversal, Gonzalez, Theoretical Computer Science 38, 1985).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np

from edge_sim.core.images import encode_jpeg
from edge_sim.core.types import FloatVector, UnknownReason
from edge_sim.decision.pipeline import Outcome, Watch
from edge_sim.errors import CommandError
from edge_sim.gallery.enrolment import as_stored
from edge_sim.runtime.config import Config
from edge_sim.runtime.loop import Step

STILLS_PER_WATCH = 12
MOST_BYTES = 6_000_000
"""Most bytes of stills, all watches together: the oldest of the largest watch is dropped first."""
LEAST_DISTANCE = 0.01
"""Least distance of two stills, 1 less the cosine: nearer ones show the same appearance."""
_USABLE = frozenset({None, UnknownReason.NOVEL, UnknownReason.AMBIGUOUS})
_JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """Picture of the region of a watch.

    Args:
        still_id: Id, unique in this process.
        watch: Name of the watch.
        unix_time_s: Time of the exposure, seconds since 1970 UTC.
        jpeg: Region as a JPEG, masked as the watch sees it.
        vector: (D,) float32, embedding of length 1.
        condition: Light regime, as in `day`.
        best: Most probable state; None without references.
    """

    still_id: str
    watch: str
    unix_time_s: float
    jpeg: bytes
    vector: FloatVector
    condition: str
    best: str | None


class DiverseStills:
    """Stills of the watches of one device; may be used from any thread.

    Args:
        config: Configuration in force; private watches and devices without pages keep none.
        per_watch: Most stills of one watch.
        most_bytes: Most bytes of all stills.
    """

    def __init__(
        self,
        config: Config,
        *,
        per_watch: int = STILLS_PER_WATCH,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._per_watch = per_watch
        self._most_bytes = most_bytes
        self._kept: dict[str, list[Still]] = {}
        self._lock = Lock()
        self._number = 0
        self._config = config
        self._watched = _watched(config)

    def use(self, config: Config) -> None:
        """Continue with another configuration; stills of another region or source are dropped."""
        with self._lock:
            watched = _watched(config)
            self._kept = {
                name: kept
                for name, kept in self._kept.items()
                if name in watched and _view_of(config, name) == _view_of(self._config, name)
            }
            self._config, self._watched = config, watched

    def note(self, watches: Mapping[str, Watch], step: Step) -> None:
        """Keep the pictures of a step that differ from those kept.

        Args:
            watches: Watches by name; at least those of the step.
            step: Step of any source.
        """
        if step.frame is None:
            return
        for outcome in step.outcomes:
            usable = outcome.embedded and outcome.observation.impediment in _USABLE
            if not usable or outcome.watch not in self._watched:
                continue
            with self._lock:
                kept = self._kept.setdefault(outcome.watch, [])
                if not _makes_room(kept, outcome.probe.embedding.vector, self._per_watch):
                    continue
                pixels = watches[outcome.watch].region.pixels_of(step.frame.pixels)
                kept.append(self._still(outcome, encode_jpeg(as_stored(pixels), _JPEG_QUALITY)))
                self._trim()

    def of(self, watch: str) -> tuple[Still, ...]:
        """Return the stills of a watch, the newest first."""
        with self._lock:
            return tuple(reversed(self._kept.get(watch, ())))

    def still(self, watch: str, still_id: str) -> Still:
        """Return one still.

        Raises:
            CommandError: It is not kept, or not any more.
        """
        for still in self.of(watch):
            if still.still_id == still_id:
                return still
        raise CommandError(f"watch {watch!r} keeps no still {still_id!r} any more; choose another")

    def drop(self, watch: str, still_id: str) -> None:
        """Forget a still, which was enrolled or is of no use."""
        with self._lock:
            kept = self._kept.get(watch, [])
            kept[:] = [still for still in kept if still.still_id != still_id]

    def _still(self, outcome: Outcome, jpeg: bytes) -> Still:
        self._number += 1
        match = outcome.observation.match
        return Still(
            f"s{self._number}",
            outcome.watch,
            outcome.observation.unix_time_s,
            jpeg,
            outcome.probe.embedding.vector,
            outcome.observation.condition,
            None if match is None else match.best.state,
        )

    def _trim(self) -> None:
        while sum(len(item.jpeg) for kept in self._kept.values() for item in kept) > (
            self._most_bytes
        ):
            largest = max(self._kept.values(), key=lambda kept: sum(len(i.jpeg) for i in kept))
            if len(largest) <= 1:
                return
            del largest[0]


def _makes_room(kept: list[Still], vector: FloatVector, most: int) -> bool:
    """Return whether a picture is to be kept, after one was removed for it if need be."""
    if not kept or kept[0].vector.shape != vector.shape:  # of another model
        kept.clear()
        return True
    vectors = np.stack([still.vector for still in kept])
    nearest = float((1.0 - vectors @ vector).min())
    if nearest < LEAST_DISTANCE:
        return False
    if len(kept) < most:
        return True
    apart = 1.0 - vectors @ vectors.T
    np.fill_diagonal(apart, np.inf)
    if nearest <= float(apart.min()):
        return False
    row, column = np.unravel_index(int(apart.argmin()), apart.shape)
    del kept[min(int(row), int(column))]
    return True


def _watched(config: Config) -> frozenset[str]:
    if not config.is_served:
        return frozenset()
    return frozenset(name for name, watch in config.watches.items() if not watch.private)


def _view_of(config: Config, name: str) -> object:
    """Return all that decides which picture a watch sees."""
    watch = config.watches.get(name)
    if watch is None:
        return None
    return config.sources[config.source_of(name)], watch.roi, watch.mask
