"""A program with its own frames and its own loop has one object to talk to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import edge_sim
from edge_sim.core.events import StateChanged
from edge_sim.core.types import BgrImage
from edge_sim.errors import (
    ConfigError,
    GalleryError,
    ModelError,
    PictureError,
    PictureRejectedError,
)
from edge_sim.gallery.enrolment_checks import Refusal
from edge_sim.io.sources.synthetic.source import reference_frames, scene_roi
from edge_sim.runtime.config import WatchConfig, load_config
from edge_sim.runtime.watcher import Watcher, WatchSettings
from tests.devices import make_device, make_gallery

START_S = 1_767_225_600.0
ROI = scene_roi("lamp")


@pytest.fixture
def gallery_file(tmp_path: Path) -> Path:
    make_gallery(tmp_path / "gallery.db", "lamp", watch="lamp")
    return tmp_path / "gallery.db"


@pytest.fixture
def watcher(gallery_file: Path) -> Iterator[Watcher]:
    with Watcher.open(gallery_file, watch="lamp", model="thumbnail", roi=ROI) as opened:
        yield opened


def lamp(state: str) -> BgrImage:
    (frame,) = reference_frames("lamp", state, 1)
    return frame.pixels


def pushed(watcher: Watcher, state: str, *, count: int = 6, from_s: float = 0.0) -> list[Any]:
    found: list[Any] = []
    for second in range(count):
        found += watcher.process(lamp(state), at=START_S + from_s + second)
    return found


def test_frames_that_are_pushed_give_events_when_the_state_changes(watcher: Watcher) -> None:
    events = [*pushed(watcher, "on"), *pushed(watcher, "off", from_s=10.0)]
    changes = [event for event in events if isinstance(event, StateChanged)]
    assert [(event.before, event.after) for event in changes] == [(None, "on"), ("on", "off")]
    assert changes[0].at == "2026-01-01T00:00:02.000Z"
    assert changes[1].captured_at_s - changes[0].captured_at_s >= 10.0
    assert changes[1].source == "frames"


def test_a_watcher_decides_as_the_device_of_the_same_configuration_does(tmp_path: Path) -> None:
    config = load_config(make_device(tmp_path, "lamp"))
    with edge_sim.build(config) as device:
        expected = [event for event in device.events() if isinstance(event, StateChanged)]
    source = edge_sim.open_source(config.sources["camera"].uri)
    found = []
    with Watcher.from_config(config, "lamp") as watcher, closing(source):
        while (frame := source.read()) is not None:
            found += [e for e in watcher.process(frame) if isinstance(e, StateChanged)]
    assert expected
    assert [event.id for event in found] == [event.id for event in expected]
    assert found == expected


def test_state_scores_and_observation_are_those_of_the_last_frame(watcher: Watcher) -> None:
    assert (watcher.state.name, watcher.state.reason) == ("unknown", "starting")
    assert watcher.observation is None
    assert watcher.scores == {}
    pushed(watcher, "on")
    assert watcher.state.name == "on"
    assert next(iter(watcher.scores)) == "on"
    assert sum(watcher.scores.values()) == pytest.approx(1.0)
    assert watcher.observation is not None
    assert watcher.observation.unix_time_s == START_S + 5
    assert watcher.states == ("off", "on")
    assert watcher.thresholds.keys() == {"off", "on"}
    assert repr(watcher) == "Watcher('lamp', on)"


def test_a_recording_gives_the_same_events_whenever_it_is_played(gallery_file: Path) -> None:
    def play() -> list[Any]:
        with Watcher.open(gallery_file, watch="lamp", model="thumbnail", roi=ROI) as watcher:
            return pushed(watcher, "on") + pushed(watcher, "off", from_s=10.0)

    assert play() == play()


def test_a_clock_that_is_set_back_loses_no_event(watcher: Watcher) -> None:
    pushed(watcher, "on")
    events = pushed(watcher, "off", from_s=-3600.0)
    assert [event.after for event in events if isinstance(event, StateChanged)] == ["off"]


def test_settings_are_those_of_the_configuration() -> None:
    settings = WatchSettings.__annotations__.keys()
    fields = {field.name for field in msgspec.structs.fields(WatchConfig)}
    assert settings == fields - {"source", "mask"}


def test_settings_are_obeyed(gallery_file: Path) -> None:
    confirm = {"matches": 1, "of": 1}
    with Watcher.open(
        gallery_file, watch="lamp", model="thumbnail", roi=ROI, confirm=confirm, interval_s=60.0
    ) as watcher:
        (event,) = watcher.process(lamp("on"), at=START_S)
        assert isinstance(event, StateChanged)
        assert event.after == "on"
        observed = []
        for second in (59, 60):
            watcher.process(lamp("off"), at=START_S + second)
            assert watcher.observation is not None
            observed.append(watcher.observation.unix_time_s - START_S)
        assert observed == [0.0, 60.0]


def test_a_mask_may_be_an_array(gallery_file: Path) -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[0, 0] = 255  # all but a corner is hidden
    with Watcher.open(gallery_file, watch="lamp", model="thumbnail", roi=ROI, mask=mask) as watcher:
        pushed(watcher, "on")
        assert watcher.state.name == "unknown"  # "on" without the mask


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sensitvity": 0.4}, "unknown setting 'sensitvity' (did you mean 'sensitivity'?)"),
        ({"sensitivity": 4}, "watch 'lamp', sensitivity: needs a number of at most 1"),
        ({"roi": (0, 0, 2, 1)}, "roi: needs x1, y1, x2, y2 in 0..1, got (0, 0, 2, 1)"),
        ({"roi": (0, 0, 1)}, "roi: needs x1, y1, x2, y2 in 0..1, got (0, 0, 1)"),
        ({"rules": {"overdue": {"on": 3}}}, "watch 'lamp', rules: unknown key 'overdue'"),
        ({"confirm": (3, 5)}, "watch 'lamp', confirm: needs keys with values, got a list"),
        ({"roi": "all"}, "roi: needs x1, y1, x2, y2 in 0..1, got 'all'"),
        ({"mask": "missing.png"}, "mask: missing.png"),
        ({"mask": np.zeros((4, 4, 3), np.uint8)}, "mask: a mask must be uint8 (h, w)"),
        ({"confirm": {"matches": 6, "of": 5}}, "matches 6 is more than of 5"),
        ({"states": ["on", "of"]}, "no reference of of"),
        ({"followers": ["nobody"]}, "there is no follower 'nobody'"),
        ({"source": "none"}, "'none' cannot be the name of a source: the word is reserved"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_cannot_be_is_named(
    gallery_file: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Watcher.open(gallery_file, watch="lamp", model="thumbnail", **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("frame.png", "got the path 'frame.png': read the file with edge_sim.read_picture"),
        (None, "got None: the camera gave no picture"),
        (b"\xff\xd8", "got bytes: decode them"),
        ((True, np.zeros((4, 4, 3), np.uint8)), "got a tuple: pass the picture alone"),
        ([[0]], "got builtins.list: make it an array"),
        (np.zeros((4, 4), np.uint8), "got uint8 (4, 4): make grey to BGR"),
        (np.zeros((4, 4, 4), np.uint8), "got uint8 (4, 4, 4): drop the fourth channel"),
        (np.zeros((3, 4, 4), np.uint8), "drop the fourth channel"),
        (np.zeros((3, 4, 5), np.uint8), "got uint8 (3, 4, 5): put the channels last"),
        (np.zeros((4, 4, 3), np.float32), "got float32 (4, 4, 3): make 0..1 to bytes"),
        (np.zeros((4, 4, 3), np.int64), "got int64 (4, 4, 3): scale it to 0..255"),
        (np.zeros((0, 4, 3), np.uint8), "got an empty picture (0, 4, 3)"),
    ],
    ids=str,
)
def test_what_is_no_picture_is_named_with_the_way_out_wherever_it_is_given(
    watcher: Watcher, picture: Any, message: str
) -> None:
    embedder = edge_sim.open_embedder("thumbnail")
    entries: list[Callable[[], object]] = [
        lambda: watcher.process(picture, at=START_S),
        lambda: embedder.embed(picture),
        lambda: edge_sim.compare(lamp("on"), picture, embedder),
        lambda: edge_sim.Frame(picture, 0.0, 0.0, 0, "mine"),
        lambda: edge_sim.make_reference(embedder, picture, "on"),
    ]
    for entry in entries:
        with pytest.raises(PictureError) as caught:
            entry()
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_bad_frame_changes_nothing(watcher: Watcher) -> None:
    pushed(watcher, "on")
    with pytest.raises(PictureError):
        watcher.process(np.zeros((4, 4), np.uint8), at=START_S + 99)
    assert watcher.state.name == "on"
    assert watcher.process(lamp("on"), at=START_S + 7) == ()


def test_pictures_of_any_memory_layout_are_taken(watcher: Watcher) -> None:
    rgb = lamp("on")[:, :, ::-1].copy()
    for second in range(5):
        watcher.process(rgb[:, :, ::-1], at=START_S + second)
    assert watcher.state.name == "on"


def test_times_of_two_clocks_are_not_mixed(watcher: Watcher) -> None:
    watcher.process(lamp("on"))
    with pytest.raises(ValueError, match="`at` for every frame or for none"):
        watcher.process(lamp("on"), at=START_S)
    with pytest.raises(ValueError, match="a Frame carries its time"):
        watcher.process(edge_sim.Frame(lamp("on"), 0.0, 0.0, 0, "mine"), at=START_S)


@pytest.mark.parametrize("at", [float("nan"), -1.0, "now", 1.7e12], ids=str)
def test_what_is_no_time_is_refused(watcher: Watcher, at: Any) -> None:
    with pytest.raises(ValueError, match="`at` must be seconds since 1970"):
        watcher.process(lamp("on"), at=at)


def test_teaching_the_last_frame_changes_the_gallery_file_and_the_decision(
    watcher: Watcher, gallery_file: Path
) -> None:
    strange = np.full((240, 320, 3), 90, np.uint8)
    strange[60:180, 90:200] = (200, 40, 120)
    strange[100:140, 20:300] = (20, 220, 200)
    for second in range(6):
        watcher.process(strange, at=START_S + second)
    assert watcher.state.name == "unknown"
    taught = watcher.teach("stripes")
    assert watcher.states == ("off", "on", "stripes")
    with edge_sim.GalleryStore.open(gallery_file, read_only=True) as store:
        record = store.record(taught.reference_id or "")
    assert (record.watch, record.state, record.metadata["from"]) == ("lamp", "stripes", "frames#5")
    for second in range(6, 12):
        watcher.process(strange, at=START_S + second)
    assert watcher.state.name == "stripes"


def test_a_picture_that_teaches_nothing_is_rejected_with_the_reason(watcher: Watcher) -> None:
    with pytest.raises(GalleryError, match="no frame was processed yet"):
        watcher.teach("on")
    watcher.process(np.zeros((240, 320, 3), np.uint8), at=START_S)
    with pytest.raises(PictureRejectedError, match="rejected as dark") as caught:
        watcher.teach("on")
    assert caught.value.reason == "dark"
    with pytest.raises(PictureRejectedError, match="rejected as duplicate"):
        watcher.teach("on", lamp("on"))


def test_a_person_overrules_a_likeness_to_another_state(watcher: Watcher) -> None:
    watcher.process(lamp("on"), at=START_S)
    taught = watcher.teach("off")
    assert taught.overruled is Refusal.CONFLICT


def test_a_gallery_that_somebody_else_changes_is_taken_over(
    watcher: Watcher, gallery_file: Path
) -> None:
    pushed(watcher, "on")
    with edge_sim.GalleryStore.open(gallery_file) as store:
        store.remove([item.reference_id for item in store.records(state="off")])
    watcher.process(lamp("on"), at=START_S + 10)
    assert watcher.states == ("on",)
    assert watcher.state.name == "on"


def test_no_file_is_needed() -> None:
    with Watcher.in_memory(model="thumbnail", roi=ROI) as watcher:
        pushed(watcher, "on")
        assert watcher.state.reason == "no_references"
        for state in ("on", "off"):
            for frame in reference_frames("lamp", state, 4):
                with contextlib.suppress(PictureRejectedError):  # a duplicate
                    watcher.teach(state, frame.pixels)
        pushed(watcher, "off", from_s=10.0)
        assert watcher.state.name == "off"
        assert len(watcher.gallery) >= 2


def test_a_gallery_in_memory_can_be_made_first_and_replaced_later() -> None:
    embedder = edge_sim.open_embedder("thumbnail")
    gallery = edge_sim.Gallery()
    for state in ("on", "off"):
        reference = edge_sim.make_reference(embedder, lamp(state), state, gallery=gallery, roi=ROI)
        gallery = gallery.adding(reference)
    with Watcher.in_memory(gallery, model=embedder, roi=ROI) as watcher:
        pushed(watcher, "on")
        assert watcher.state.name == "on"
        watcher.use(gallery.removing(reference.reference_id))
        assert watcher.states == ("on",)


def test_references_of_another_model_are_refused() -> None:
    embedder = edge_sim.open_embedder("thumbnail")
    gallery = edge_sim.Gallery([edge_sim.make_reference(embedder, lamp("on"), "on")])
    with pytest.raises(GalleryError, match="made with the model thumbnail"):
        Watcher.in_memory(gallery, model="default")


def test_a_watch_that_is_not_in_the_file_is_named_unless_it_is_to_be_made(
    gallery_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(GalleryError, match=r"no watch 'lmap' \(did you mean 'lamp'\?\)"):
        Watcher.open(gallery_file, watch="lmap", model="thumbnail")
    with pytest.raises(GalleryError, match=r"new\.db"):
        Watcher.open(tmp_path / "new.db", watch="lamp", model="thumbnail")
    with Watcher.open(tmp_path / "new.db", watch="lamp", create=True, model="thumbnail") as watcher:
        assert not watcher.states
        watcher.teach("on", lamp("on"))
        assert watcher.states == ("on",)


def test_a_watch_of_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = load_config(make_device(tmp_path, "lamp"))
    with pytest.raises(ConfigError, match="no watch 'lmp'"):
        Watcher.from_config(config, "lmp")


def test_a_closed_watcher_says_so(watcher: Watcher) -> None:
    watcher.close()
    watcher.close()
    with pytest.raises(ValueError, match="the watcher of 'lamp' is closed"):
        watcher.process(lamp("on"), at=START_S)


def test_another_thread_is_told_to_make_its_own(watcher: Watcher) -> None:
    said: list[str] = []

    def use() -> None:
        try:
            watcher.process(lamp("on"), at=START_S)
        except RuntimeError as error:
            said.append(str(error))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert "made in another thread" in said[0]


def test_pictures_are_enrolled_in_one_call_and_the_bad_ones_named(tmp_path: Path) -> None:
    embedder = edge_sim.open_embedder("thumbnail")
    with edge_sim.GalleryStore.open(tmp_path / "gallery.db", create=True) as store:
        pictures = [lamp("on"), lamp("on"), np.zeros((240, 320, 3), np.uint8)]
        report = edge_sim.enrol_pictures(
            store, embedder, pictures, watch="lamp", state="on", roi=ROI
        )
        assert [item.name for item in report.accepted] == ["picture 1"]
        assert [(item.name, item.refusal.value) for item in report.rejected] == [
            ("picture 2", "duplicate"),
            ("picture 3", "dark"),
        ]
        assert store.gallery("lamp").states == ("on",)
        with pytest.raises(PictureError, match="got the path"):
            edge_sim.enrol_pictures(
                store,
                embedder,
                "picture.png",  # type: ignore[arg-type]
                watch="lamp",
                state="on",
            )
        one = edge_sim.enrol_pictures(store, embedder, [lamp("off")], watch="lamp", state="off")
        assert one.revision == store.revision


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: Watcher.in_memory(model=3),  # type: ignore[arg-type]
            ModelError,
            "open it with edge_sim.open_embedder",
        ),
        (
            lambda: Watcher.in_memory("gallery.db"),  # type: ignore[arg-type]
            GalleryError,
            "Watcher.open opens a file",
        ),
        (
            lambda: edge_sim.Gallery("gallery.db"),  # type: ignore[arg-type]
            GalleryError,
            "GalleryStore.open opens a file",
        ),
        (
            lambda: edge_sim.make_reference("default", lamp("on"), "on"),  # type: ignore[arg-type]
            ModelError,
            "got 'default': open it with edge_sim.open_embedder",
        ),
        (
            lambda: edge_sim.enrol_pictures("gallery.db", None, [], watch="a", state="b"),  # type: ignore[arg-type]
            GalleryError,
            "open it with edge_sim.GalleryStore.open",
        ),
        (
            lambda: edge_sim.build("config.yaml"),  # type: ignore[arg-type]
            ConfigError,
            "load_config(path) reads one",
        ),
        (lambda: edge_sim.open_source(0), ConfigError, "takes the uri as text, as in '0'"),  # type: ignore[arg-type]
        (
            lambda: edge_sim.register_source("abc", None),  # type: ignore[arg-type]
            ConfigError,
            "cannot be called",
        ),
        (
            lambda: edge_sim.register_sink("abc", 3),  # type: ignore[arg-type]
            ConfigError,
            "cannot be called",
        ),
    ],
)
def test_a_part_of_the_wrong_type_is_named_with_what_makes_it(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_a_search_without_an_embedding_says_what_it_wants() -> None:
    with pytest.raises(GalleryError, match="search takes an Embedding, got ndarray"):
        edge_sim.Gallery().search(lamp("on"))  # type: ignore[arg-type]


def test_reading_something_else_than_a_path_says_what_it_wants() -> None:
    with pytest.raises(edge_sim.SourceError, match="the path of a file, got ndarray"):
        edge_sim.read_picture(lamp("on"))  # type: ignore[arg-type]
