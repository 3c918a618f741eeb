"""Trial of a pack on the device's own last day: its score log, and pictures of its recent events.

The score log holds no pictures, so what a pack would score is not known. Known is what the device
decided in which light, and how well it recognised it. A pack that has no reference of a state that
occurred, or none in its light, or whose levels lie above the scores that this camera reaches, would
leave those observations `unknown`. Pictures of recent events are in memory: they are matched anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_sim.core.events import unix_time_s
from edge_sim.core.files import is_file
from edge_sim.core.types import UNKNOWN
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.thresholds import Settings
from edge_sim.errors import PackError
from edge_sim.gallery.gallery import Gallery
from edge_sim.runtime.config import Config
from edge_sim.runtime.daemon.teaching import Flip
from edge_sim.runtime.score_log import ScoreLine, read_lines
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.light import DAY, DUSK, light_words

DAY_S = 86_400.0
LEAST_OBSERVATIONS = 20
"""Observations below which their share says nothing."""
LEAST_PICTURES = 5


class RecentPictures(Protocol):
    """Pictures of recent events of a device, in memory."""

    def recent_pictures(self, watch: str) -> int:
        """Return how many there are of a watch."""

    def flips(self, watch: str, gallery: Gallery) -> tuple[Flip, ...]:
        """Return those that would show another state with a gallery."""


@dataclass(frozen=True, slots=True)
class LastDayTrial:
    """Trial of the references of a pack; `updates.Trial`.

    Args:
        config: Configuration of the device.
        pictures: Pictures of recent events; None for none.
        now_s: Seconds since 1970; observations of the day before count.
    """

    config: Config
    pictures: RecentPictures | None
    now_s: float

    def __call__(self, galleries: Mapping[str, Gallery]) -> int:
        """Return how many observations the references were held against.

        Args:
            galleries: References of the pack, by watch.

        Raises:
            PackError: They would decide more of them otherwise than the configuration allows.
        """
        lines = _lines_of_day(self._log, self.now_s)
        by_watch: dict[str, list[ScoreLine]] = {}
        for line in lines:
            by_watch.setdefault(line.watch, []).append(line)
        return sum(
            self._held_against(watch, gallery, by_watch.get(watch, ()))
            for watch, gallery in galleries.items()
            if watch in self.config.watches
        )

    @property
    def _log(self) -> Path | None:
        path = self.config.score_log.path
        return None if path is None else self.config.path(path)

    def _held_against(self, watch: str, gallery: Gallery, lines: Iterable[ScoreLine]) -> int:
        settings = self._settings(watch, gallery)
        total, causes = 0, Counter[str]()
        for line in lines:
            total += 1
            cause = change_of(line, settings)
            if cause is not None:
                causes[cause] += 1
        changed, most = causes.total(), self.config.updates.most_changed
        if total >= LEAST_OBSERVATIONS and changed > most * total:
            raise PackError(
                f"of {total} observations of {watch!r} on this device's last day {changed} would "
                f"be decided otherwise, at most {most:.0%} may: {causes.most_common(1)[0][0]}"
            )
        return total + self._shown(watch, gallery)

    def _shown(self, watch: str, gallery: Gallery) -> int:
        """Match the pictures of recent events; return how many there are."""
        total = 0 if self.pictures is None else self.pictures.recent_pictures(watch)
        if self.pictures is None or total < LEAST_PICTURES:
            return total
        flips, most = self.pictures.flips(watch, gallery), self.config.updates.most_changed
        if len(flips) > most * total:
            raise PackError(
                f"of {total} pictures of recent events of {watch!r} {len(flips)} show another "
                f"state with it, at most {most:.0%} may: {flips[0].before or 'nothing'} becomes "
                f"{flips[0].after or 'nothing'}"
            )
        return total

    def _settings(self, watch: str, gallery: Gallery) -> Settings:
        stages = stages_of(self.config, self.config.watches[watch])
        decider = stages.decider(gallery, stages.scorer(gallery))
        assert isinstance(decider, AdaptiveDecider)
        return decider.settings


def change_of(line: ScoreLine, settings: Settings) -> str | None:
    """Return why an observation would not keep its state; None if nothing speaks against it.

    Args:
        line: Observation with a state other than `unknown`.
        settings: Settings of a decider with the references of the pack.
    """
    state, level = line.state, settings.levels.get(line.state)
    if level is None:
        return f"it has no reference of {state!r}"
    day = {DAY, DUSK}
    known = set(level.lights)
    if known and line.condition not in known and not (line.condition in day and known & day):
        return f"it has no reference of {state!r} {light_words(line.condition)}"
    if line.best != state or line.combined is None:
        return None  # it held its state against the observation then, too
    leave = settings.thresholds({}, line.condition)[state].leave
    if line.combined < leave:
        return f"its level of {state!r} is {leave:.2f}, above what this camera reaches"
    return None


def _lines_of_day(path: Path | None, now_s: float) -> Iterator[ScoreLine]:
    """Yield the observations of the last day with a state.

    Raises:
        DataError: The log cannot be read.
    """
    if path is None or not is_file(path):
        return
    for line in read_lines([path]):
        if not isinstance(line, ScoreLine) or line.state == UNKNOWN:
            continue
        try:
            is_recent = 0.0 <= now_s - unix_time_s(line.at) <= DAY_S
        except ValueError:
            continue
        if is_recent:
            yield line
