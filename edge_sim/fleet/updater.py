"""Thread of the daemon that takes packs: checks at an interval, and reports what became of each."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from edge_sim.core.backoff import pause_s
from edge_sim.core.events import PackReported, event_id, utc_text
from edge_sim.core.files import read_bounded
from edge_sim.errors import EdgeSimError, PackError
from edge_sim.fleet import signing
from edge_sim.fleet.fetching import PackFetcher
from edge_sim.fleet.installed import installed_packs, note_reported, standings, unreported
from edge_sim.fleet.signing import PackEntry
from edge_sim.fleet.trial import LastDayTrial
from edge_sim.fleet.update_state import (
    UpdateOutcome,
    UpdatePolicy,
    UpdateState,
    first_state,
    read_state,
)
from edge_sim.fleet.updates import is_selected, offered_in, preview, update
from edge_sim.gallery.database import stamp_of
from edge_sim.runtime.assembly import open_model
from edge_sim.runtime.config import Config
from edge_sim.runtime.daemon.access import UpdateAccess
from edge_sim.runtime.health.status import UpdateStatus

logger = logging.getLogger(__name__)

FAILED_S = (60.0, 300.0, 900.0, 3600.0)
"""Pauses after checks that failed, seconds."""
_SPREAD = 0.1
_FIRST_S = 60.0
"""The first check comes within so many seconds: not all devices come at once after a power cut."""
_REPORT_S = 60.0
"""Interval at which a changed gallery is noticed: an undone pack is reported without a network."""
_LEAVE_S = 0.5
_MAX_REASON = 300


class _ClosedError(PackError):
    """The daemon is to end during a download."""


class Updater:
    """Taker of packs; `RunningUpdater`.

    Args:
        config: Configuration with `updates.uri`.
        access: The daemon.
        clock: Clock that returns seconds since 1970.
        monotonic: Clock that returns monotonic seconds.
        spread: Function that returns a number from 0 to 1, another one for each device.
    """

    def __init__(
        self,
        config: Config,
        access: UpdateAccess,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.fault = ""
        self._config = config
        self._access = access
        self._clock = clock
        self._monotonic = monotonic
        self._spread = spread
        self._wakeup = threading.Event()
        self._is_closed = self._is_due = False
        self._failures = 0
        self._checked_s: float | None = None
        self._error = ""
        self._stamp: object = None
        self._next_check_s = monotonic() + spread() * min(_FIRST_S, config.updates.every_s)
        self._thread = threading.Thread(target=self._run, name="updates", daemon=True)

    def start(self) -> None:
        """Begin to check."""
        self._show()
        self._thread.start()

    def use(self, config: Config) -> None:
        """Check again at once, with this configuration; returns at once."""
        self._config = config
        self._is_due = True
        self._wakeup.set()

    def close(self) -> None:
        """Take nothing more; a check that has begun is given a moment. Safe to call twice."""
        self._is_closed = True
        self._wakeup.set()
        if self._thread.is_alive():
            self._thread.join(_LEAVE_S)
        self._access.board.updates = None

    def _run(self) -> None:
        while not self._is_closed:
            left_s = self.turn()
            self._wakeup.wait(left_s)
            self._wakeup.clear()

    def turn(self) -> float:
        """Check and report if it is time; return the seconds until the next turn."""
        if self._is_due or self._monotonic() >= self._next_check_s:
            self._is_due = False
            self._next_check_s = self._monotonic() + self._take()
        self._report()
        return min(max(self._next_check_s - self._monotonic(), 0.0), _REPORT_S)

    def _take(self) -> float:
        """Take what is offered; return the pause until the next check."""
        config = self._config
        every_s = config.updates.every_s
        try:
            update(self._fetcher(config), self._policy(config), first_of(config))
        except _ClosedError:
            return every_s
        except EdgeSimError as error:
            self.fault = ""
            self._fail(str(error))
        except Exception as error:
            self.fault = " ".join(f"{type(error).__name__}: {error}".split())
            logger.exception("updates failed: %s", self.fault)
            self._fail(self.fault)
        else:
            self._failures, self._error, self.fault = 0, "", ""
            self._checked_s = self._clock()
        self._show()
        pause = every_s if not self._failures else min(pause_s(self._failures, FAILED_S), every_s)
        return pause * (1.0 + _SPREAD * (2.0 * self._spread() - 1.0))

    def _fail(self, text: str) -> None:
        self._failures += 1
        if text != self._error:  # an hour without a network is one line
            logger.warning("no packs were taken: %s", text)
        self._error = text

    def _report(self) -> None:
        """Report what became of packs and was not reported yet, also what was undone by hand."""
        policy = self._policy(self._config)
        stamp = stamp_of(policy.gallery), self._failures == 0 and self._checked_s
        if stamp == self._stamp:
            return
        try:
            for item in unreported(policy):
                self._access.report(self._event_of(item))
                note_reported(policy, item)
        except EdgeSimError as error:
            logger.warning("what became of packs could not be reported: %s", error)
            return  # and is tried again
        self._stamp = stamp
        self._show()

    def _event_of(self, item: UpdateOutcome) -> PackReported:
        device = self._config.device
        key = f"{item.version} {item.outcome} {item.revision}"
        reason = None if item.reason is None else " ".join(item.reason.split())[:_MAX_REASON]
        return PackReported(
            id=event_id(device, "pack", item.name, key),
            device=device,
            at=utc_text(item.at_s),  # as before if it is reported again after a power cut
            pack=item.name,
            version=item.version,
            outcome=item.outcome,
            reason=reason,
            gallery_revision=item.revision,
            observations=item.observations,
        )

    def _show(self) -> None:
        try:
            found = standings(self._policy(self._config))
        except EdgeSimError:
            found = []  # the error stands in the check, or is that of the gallery
        self._access.board.updates = UpdateStatus(
            self._checked_s,
            self._failures,
            self._error,
            tuple((item.name, item.version, item.outcome) for item in found),
        )

    def _fetcher(self, config: Config) -> PackFetcher:
        return PackFetcher(place_of(config), check=self._check)

    def _check(self) -> None:
        if self._is_closed:
            raise _ClosedError("the daemon is about to end")

    def _policy(self, config: Config) -> UpdatePolicy:
        trial = LastDayTrial(config, self._access, self._clock())
        return policy_of(config, trial, self._clock)


def policy_of(
    config: Config, trial: LastDayTrial | None, clock: Callable[[], float] = time.time
) -> UpdatePolicy:
    """Return the policy of a device by its configuration, for a daemon: refusals are kept a day."""
    return UpdatePolicy(
        gallery=config.path(config.gallery.path),
        device=config.device,
        open_embedder=lambda: open_model(config),
        watches={name: tuple(watch.states) for name, watch in config.watches.items()},
        trial=trial,
        target=config.updates.target,
        group=config.updates.group or "",
        tries_again=False,
        clock=clock,
    )


def place_of(config: Config) -> str:
    """Return the address of the packs, or the path of their folder."""
    uri = config.updates.uri or ""
    return uri if uri.startswith(("http://", "https://")) else str(config.path(uri))


def first_of(config: Config) -> UpdateState | None:
    """Return the state to begin with, from `updates.root`; None where one is kept.

    Raises:
        PackError: The file cannot be read, or is no root.
    """
    gallery = config.path(config.gallery.path)
    if read_state(UpdatePolicy(gallery, "", lambda: open_model(config)).state_path) is not None:
        return None
    path = config.path(config.updates.root or "")
    try:
        data = read_bounded(path, signing.MAX_METADATA_BYTES)
    except OSError as error:
        raise PackError(
            f"updates.root: {path}: cannot read ({error.strerror or error}); bring root/1.json here"
        ) from error
    return first_state(data, config.updates.target or "", name=str(path))


def offer_text(config: Config, now: Callable[[], float] = time.time) -> str:
    """Return what the folder of packs offers to a device, for people; nothing is kept or taken.

    Raises:
        PackError: A daemon would reject it, or cannot reach it.
        GalleryError: The gallery cannot be read.
    """
    policy = policy_of(config, None, now)
    with TemporaryDirectory(prefix="edge-sim-packs-") as folder:
        fetcher = PackFetcher(place_of(config))
        state, listing = preview(fetcher, policy, first_of(config), Path(folder))
    installed = {item.name: item.version for item in installed_packs(policy.gallery)}
    texts = [
        f"{item.name} version {item.version} {_expected(item, installed, policy.device, state)}"
        for item in offered_in(listing, state, fetcher.place)
    ]
    if config.score_log.path is None:
        texts.append("no score_log.path: packs are not tried on the scores of the last day")
    return "; ".join([f"list {listing.version}, until {listing.expires}", *texts])


def _expected(
    entry: PackEntry, installed: Mapping[str, int], device: str, state: UpdateState
) -> str:
    present = installed.get(entry.name, 0)
    if entry.version < present:
        return f"would be rejected: version {present} was installed"
    if entry.version == present:
        return "was installed"
    return (
        "is to be tried" if is_selected(entry, device, state.group) else "is not for this one yet"
    )


def open_updater(config: Config, access: UpdateAccess) -> Updater:
    """Return the running taker of packs of a configuration.

    Raises:
        ConfigError: The extra is missing.
    """
    try:
        signing.check_library()
    except PackError as error:
        raise config.error("updates.uri", f"updates.uri: {error}") from error
    made = Updater(config, access)
    made.start()
    return made
