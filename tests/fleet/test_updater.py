"""The daemon takes packs by itself, says what became of each, and never stops for them."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed: pip install '.[fleet]'")

from edge_sim.core.events import Event, PackReported, from_json_line, to_json_line
from edge_sim.errors import CommandError
from edge_sim.fleet import updater
from edge_sim.fleet.fetching import PackFetcher
from edge_sim.fleet.installed import roll_back
from edge_sim.fleet.publishing import Rollout
from edge_sim.fleet.updater import Updater
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime.config import Config, parse_config
from edge_sim.runtime.daemon.teaching import Flip
from edge_sim.runtime.health.status import StatusBoard
from tests.fleet.depot import DAY_S, EMBEDDER, NOW_S, Depot, states_of, taken

BEFORE, AFTER = ["empty"] * 2, ["empty"] * 4 + ["food"] * 4


@dataclass
class Access:
    """The daemon's side."""

    board: StatusBoard = field(default_factory=lambda: StatusBoard("porch"))
    events: list[Event] = field(default_factory=list)
    pictures: int = 0
    flipped: int = 0
    is_busy: bool = False

    def report(self, event: Event) -> None:
        if self.is_busy:
            raise CommandError("the daemon is busy")
        self.events.append(event)

    def recent_pictures(self, watch: str) -> int:
        return self.pictures

    def flips(self, watch: str, gallery: Gallery) -> tuple[Flip, ...]:
        return tuple(Flip(f"{number}", "food", "empty", NOW_S) for number in range(self.flipped))

    @property
    def outcomes(self) -> list[tuple[int, str]]:
        found = [item for item in self.events if isinstance(item, PackReported)]
        assert len(found) == len(self.events)
        return [(item.version, item.outcome) for item in found]


class Clock:
    """Both clocks of an updater."""

    now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Fleet:
    """A publisher, and the updater of one device, which a test lets take its turns."""

    base: Path
    access: Access = field(default_factory=Access)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.depot = Depot(self.base)
        self.depot.root()
        self.depot.publish(self.depot.pack(1))
        with GalleryStore.open(self.gallery, create=True) as store:
            store.add("bowl", [taken("empty", 1), taken("empty", 2)])
        self.updater = Updater(
            self.config(), self.access, clock=self.clock, monotonic=self.clock, spread=lambda: 0.5
        )

    @property
    def gallery(self) -> Path:
        return self.base / "gallery.db"

    def config(self, **more: object) -> Config:
        options = {
            "uri": str(self.depot.folder),
            "root": str(self.depot.folder / "root/1.json"),
            "target": "feeder",
            **more,
        }
        lines = "".join(f"  {key}: {value}\n" for key, value in options.items())
        return parse_config(
            f"device: porch\nsources: {{camera: {{uri: 'synthetic:bowl'}}}}\n"
            f"watches: {{bowl: {{}}}}\nupdates:\n{lines}",
            folder=str(self.base),
        )

    def turn(self, later_s: float = DAY_S / 2) -> float:
        """Let time pass and the updater take its turn; return the time until the next check."""
        self.clock.now_s += later_s
        assert self.updater.turn() <= 60.0
        return self.updater._next_check_s - self.clock.now_s


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(updater, "open_model", lambda _config: EMBEDDER)
    return Fleet(tmp_path)


def test_a_pack_is_taken_and_reported_once(fleet: Fleet) -> None:
    fleet.turn(0.0)
    assert states_of(fleet.gallery) == BEFORE
    for _ in range(3):
        fleet.turn(60.0)
    assert states_of(fleet.gallery) == AFTER
    assert fleet.access.outcomes == [(1, "activated")]
    (event,) = fleet.access.events
    assert from_json_line(to_json_line(event)) == event
    assert isinstance(event, PackReported)
    assert (event.pack, event.gallery_revision, event.reason) == ("bowls", 2, None)
    board = fleet.access.board.updates
    assert board is not None
    assert (board.failures, board.packs) == (0, (("bowls", 1, "activated"),))


def test_a_refusal_is_reported_with_its_reason_and_tried_again_a_day_later(fleet: Fleet) -> None:
    fleet.access.pictures, fleet.access.flipped = 10, 3
    fleet.turn()
    assert states_of(fleet.gallery) == BEFORE
    (event,) = fleet.access.events
    assert isinstance(event, PackReported)
    assert event.reason == (
        "of 10 pictures of recent events of 'bowl' 3 show another state with it, "
        "at most 20% may: food becomes empty"
    )
    fleet.access.flipped = 0
    pack = fleet.depot.folder / "bowls-1.pack"
    pack.rename(pack.with_suffix(".away"))  # it is not even fetched
    fleet.turn()
    board = fleet.access.board.updates
    assert board is not None
    assert (board.failures, board.packs) == (0, (("bowls", 1, "refused"),))
    pack.with_suffix(".away").rename(pack)
    fleet.turn(DAY_S)
    assert states_of(fleet.gallery) == AFTER
    assert fleet.access.outcomes == [(1, "refused"), (1, "activated")]


def test_a_pack_that_is_taken_back_is_reported_without_a_network_and_not_taken_again(
    fleet: Fleet,
) -> None:
    fleet.turn()
    shutil.move(fleet.depot.folder, fleet.base / "away")
    found, _ = roll_back(fleet.gallery, None)
    assert (found.name, states_of(fleet.gallery)) == ("bowls", BEFORE)
    fleet.turn(61.0)
    assert fleet.access.outcomes == [(1, "activated"), (1, "rolled_back")]
    shutil.move(fleet.base / "away", fleet.depot.folder)
    for _ in range(3):
        fleet.turn()
    assert states_of(fleet.gallery) == BEFORE
    assert len(fleet.access.events) == 2


def test_a_configuration_that_is_read_again_is_followed_at_once(fleet: Fleet) -> None:
    fleet.turn()
    fleet.depot.publish(fleet.depot.pack(2), rollout=Rollout(0, ("lab",)))
    fleet.turn()
    assert fleet.access.outcomes == [(1, "activated")]
    fleet.updater.use(fleet.config(group="lab"))
    fleet.turn(0.0)
    assert fleet.access.outcomes == [(1, "activated"), (2, "activated")]


def test_a_report_that_the_daemon_could_not_take_is_made_at_the_next_turn(fleet: Fleet) -> None:
    fleet.access.is_busy = True
    fleet.turn()
    assert fleet.access.events == []
    fleet.access.is_busy = False
    fleet.turn(1.0)
    fleet.turn(1.0)
    assert fleet.access.outcomes == [(1, "activated")]


def test_a_list_that_cannot_be_had_is_one_line_and_asked_for_less_and_less_often(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.move(fleet.depot.folder / "packs.json", fleet.base / "away")
    assert [fleet.turn() for _ in range(5)] == [60.0, 300.0, 900.0, 3600.0, 3600.0]
    assert [record.getMessage() for record in caplog.records] == [
        f"no packs were taken: {fleet.depot.folder}: there is no packs.json"
    ]
    assert fleet.updater.fault == ""  # nothing of this device is broken
    board = fleet.access.board.updates
    assert board is not None
    assert (board.failures, board.checked_unix_s) == (5, None)
    shutil.move(fleet.base / "away", fleet.depot.folder / "packs.json")
    fleet.turn()
    assert states_of(fleet.gallery) == AFTER


def test_an_unexpected_error_is_a_fault_until_it_is_over(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a mistake")

    with monkeypatch.context() as patched:
        patched.setattr(updater, "update", broken)
        fleet.turn()
    assert fleet.updater.fault == "ZeroDivisionError: a mistake"
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    fleet.turn()
    assert (fleet.updater.fault, states_of(fleet.gallery)) == ("", AFTER)


@pytest.mark.parametrize(("spread", "pause_s"), [(0.0, 19_440.0), (0.5, 21_600.0), (1.0, 23_760.0)])
def test_devices_spread_over_a_fifth_of_the_interval(
    fleet: Fleet, spread: float, pause_s: float
) -> None:
    fleet.updater._spread = lambda: spread
    assert fleet.turn() == pytest.approx(pause_s)


def test_a_device_that_ends_gives_a_download_up(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = fleet.updater._fetcher

    def closing(config: Config) -> PackFetcher:
        fleet.updater.close()
        return opened(config)

    monkeypatch.setattr(fleet.updater, "_fetcher", closing)
    fleet.turn()
    assert states_of(fleet.gallery) == BEFORE
    assert fleet.access.events == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"root": "no/such.json"}, "updates.root: .*such.json: cannot read"),
        ({"root": "keys.db"}, "is cut off, damaged, or no signed metadata"),
        ({"target": "lamps"}, "no pack for 'lamps', only for feeder"),
    ],
)
def test_a_mistake_of_the_configuration_is_one_line(
    fleet: Fleet, change: dict[str, str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    (fleet.base / "keys.db").write_bytes(b"\0")
    fleet.updater.use(fleet.config(**change))
    fleet.turn(0.0)
    (record,) = caplog.records
    assert re.search(message, record.getMessage())


def test_check_says_what_a_daemon_would_do(fleet: Fleet) -> None:
    now: Callable[[], float] = fleet.clock
    text = updater.offer_text(fleet.config(), now)
    assert text.startswith("list 1, until 2027")
    assert "bowls version 1 is to be tried" in text
    assert not fleet.gallery.with_name("gallery.db.updates.json").exists()
    fleet.turn()
    assert "bowls version 1 was installed" in updater.offer_text(fleet.config(), now)
