"""A large gallery is fitted beside the loop: frames go on, and nothing of a change is missed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_sim.errors import GalleryError
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime import assembly, fitting
from edge_sim.runtime.assembly import Device, build
from edge_sim.runtime.config import load_config
from tests.devices import make_device

LIMIT_S = 30.0


class SlowReading:
    """Reading of a gallery that a test lets go on."""

    def __init__(self, inner: Callable[..., fitting.GalleryFits]) -> None:
        self._inner = inner
        self.begun = threading.Semaphore(0)
        self.may_go_on = threading.Semaphore(0)

    def __call__(self, *args: object) -> fitting.GalleryFits:
        self.begun.release()
        assert self.may_go_on.acquire(timeout=LIMIT_S)
        return self._inner(*args)


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> SlowReading:
    slow = SlowReading(fitting.read_fits)
    monkeypatch.setattr(fitting, "FITTED_AT_ONCE", 0)
    monkeypatch.setattr(assembly, "read_fits", slow)
    return slow


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with build(load_config(make_device(tmp_path, "lamp"))) as built:
        yield built


def remove(folder: Path, state: str) -> None:
    with GalleryStore.open(folder / "gallery.db") as store:
        store.remove([item.reference_id for item in store.gallery("lamp").of_state(state)])


def states(device: Device) -> list[str]:
    return list(device.watches["lamp"].gallery.states)


def refreshed(device: Device) -> None:
    for _ in range(int(LIMIT_S / 0.01)):
        if device.refresh():
            return
        threading.Event().wait(0.01)
    raise AssertionError("the gallery is not in force")


def test_frames_are_observed_with_the_old_references_while_a_gallery_is_fitted(
    device: Device, reading: SlowReading, tmp_path: Path
) -> None:
    remove(tmp_path, "on")
    steps = device.steps()
    first = list(itertools.islice(steps, 5))
    assert reading.begun.acquire(timeout=LIMIT_S)
    assert all(step.outcomes for step in first)
    assert states(device) == ["off", "on"]
    reading.may_go_on.release()
    refreshed(device)
    assert states(device) == ["off"]
    assert next(steps).outcomes


def test_a_change_made_during_a_fit_is_fitted_after_it(
    device: Device, reading: SlowReading, tmp_path: Path
) -> None:
    remove(tmp_path, "on")
    assert not device.refresh()
    assert reading.begun.acquire(timeout=LIMIT_S)
    remove(tmp_path, "off")
    reading.may_go_on.release(2)
    refreshed(device)
    while device.watches["lamp"].gallery.states:
        refreshed(device)


def test_a_gallery_that_cannot_be_read_beside_the_loop_keeps_the_references(
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise GalleryError("gallery.db: is damaged")

    monkeypatch.setattr(fitting, "FITTED_AT_ONCE", 0)
    monkeypatch.setattr(assembly, "read_fits", broken)
    remove(tmp_path, "on")
    for _ in range(int(LIMIT_S / 0.01)):
        device.refresh()
        if "kept as it was: gallery.db: is damaged" in caplog.text:
            break
        threading.Event().wait(0.01)
    assert "kept as it was: gallery.db: is damaged" in caplog.text
    assert device.watches["lamp"].gallery.states == ("off", "on")


def test_a_change_made_while_a_device_is_built_is_not_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = load_config(make_device(tmp_path, "lamp"))
    before = assembly.build_pipeline

    def changed_meanwhile(*args: object, **named: object) -> object:
        pipeline = before(*args, **named)  # type: ignore[arg-type]
        remove(tmp_path, "on")
        return pipeline

    monkeypatch.setattr(assembly, "build_pipeline", changed_meanwhile)
    with build(config) as device:
        assert device.refresh()
        assert device.watches["lamp"].gallery.states == ("off",)


def test_a_fit_changes_nothing_before_it_is_used(device: Device, tmp_path: Path) -> None:
    watch = device.watches["lamp"]
    list(itertools.islice(device.steps(), 20))
    state, decider = watch.decider.state, watch.decider
    remove(tmp_path, "off" if state.name == "on" else "on")
    with GalleryStore.open(tmp_path / "gallery.db", read_only=True) as store:
        fit = watch.fit(store.gallery("lamp"))
    assert watch.decider is decider
    assert watch.gallery.states == ("off", "on")
    watch.use_fit(fit)
    assert watch.decider is not decider
    assert watch.decider.state == state


def test_a_job_that_no_thread_is_given_for_is_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    rung: list[bool] = []
    future = fitting.in_thread(lambda: 7, lambda: rung.append(True))
    assert future.result(0) == 7
    assert rung
