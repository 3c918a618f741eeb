"""Checks of a configuration without running it: model, gallery, files, sources, masks, sinks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import msgspec

from edge_sim.core.files import is_dir, is_file, write_private
from edge_sim.core.images import crop
from edge_sim.core.types import BgrImage, Frame, Roi
from edge_sim.decision.scorer import size_warning
from edge_sim.decision.thresholds import one_moment_text, states_of_one_moment
from edge_sim.errors import DataError, EdgeSimError, SourceError
from edge_sim.gallery.calibrations import STATE_SCORE, kept_calibrations
from edge_sim.gallery.enrolment_checks import conflicts
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.records import LEAST_SIDE_PX, moved_region
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sinks.connection_check import REMOTE, try_sink
from edge_sim.runtime import assembly
from edge_sim.runtime.config import Config
from edge_sim.runtime.config.sinks import kind_of, sink_options
from edge_sim.runtime.config.yaml_reader import nearest
from edge_sim.search.store import IndexStore
from edge_sim.vision.light import light_words
from edge_sim.vision.probe import Mask

_NO_REFERENCE = (
    "no reference yet: its state will be unknown; take some with `edge-sim gallery capture`, or on "
    "the page"
)
_KEY_FRAME_S = 5.0
"""Seconds after which the first picture of a stream is late."""

ReadFrame = Callable[[Config, str], tuple[Frame, str]]
"""Returns the first frame of a source, and a remark on it for people, which may be empty."""


class Finding(msgspec.Struct, frozen=True):
    """Result of one check; for a gallery `coverage` is state -> light -> references."""

    part: str
    ok: bool
    detail: str
    coverage: dict[str, dict[str, int]] | None = None


class CheckReport(msgspec.Struct, frozen=True):
    """Results of all checks."""

    config: str
    ok: bool
    findings: tuple[Finding, ...]
    schema: int = 1


def device_findings(
    config: Config,
    *,
    masks: Path | None = None,
    read_frame: ReadFrame | None = None,
) -> Iterator[Finding]:
    """Yield the results of trying everything but the sinks.

    Args:
        config: Configuration to try.
        masks: Folder for a picture of each mask over its region; None writes none.
        read_frame: Reader of a frame of each source; by default the source is opened.

    Raises:
        ConfigError: Nothing is watched, and no page is served on which a watch could be added.
    """
    if config.is_served and not config.watches:
        yield Finding("configuration", True, "nothing is watched yet; add a watch on the page")
        watches_of: Mapping[str, object] = {}
    else:
        watches_of = assembly.watches_by_source(config)
        yield Finding("configuration", True, "; ".join([_count_text(config), *config.hints]))
    model_ids: list[str] = []

    def model() -> str:
        model_ids.append(assembly.open_model(config).model_id)
        return model_ids[0]

    yield tried("model", model)
    yield from _gallery_findings(config, model_ids[0] if model_ids else None)
    yield from _storage_findings(config)
    if config.web.collection is not None:
        yield tried("collection", partial(_collection_text, config, config.web.collection))
    regions: dict[str, BgrImage] = {}
    read = read_frame or opened_frame
    for name in watches_of:
        yield tried(f"source {name}", partial(_source_text, config, name, regions, read))
    for name, watch in config.watches.items():
        if watch.mask is not None:
            yield tried(f"mask of {name}", partial(_mask_text, config, name, regions, masks))


def sink_findings(config: Config, *, offline: bool = False) -> Iterator[Finding]:
    """Yield the result of trying each sink; no event is sent.

    Args:
        config: Configuration to try.
        offline: Whether sinks that need the network are left out.
    """
    for number, sink in enumerate(config.sinks, start=1):
        kind = kind_of(sink)
        if offline and kind in REMOTE:
            yield Finding(f"sink {number}, {kind}", True, "not tried (--offline)")
            continue
        yield sink_finding(config, number)


def sink_finding(config: Config, number: int) -> Finding:
    """Return the result of trying one sink, counted from 1."""
    sink = config.sinks[number - 1]
    options = sink_options(sink, device=config.device, folder=config.path(""))
    return tried(f"sink {number}, {kind_of(sink)}", partial(_try_sink, config, number - 1, options))


def _try_sink(config: Config, at: int, options: dict[str, Any]) -> str:
    with config.located(f"sinks[{at}]"):
        return try_sink(kind_of(config.sinks[at]), **options)


def _storage_findings(config: Config) -> Iterator[Finding]:
    """Yield a failure for each file of the daemon in whose place a folder lies, or the reverse."""
    files = {
        "daemon.state": config.daemon.state,
        "outbox.path": config.outbox.path if config.outbox.storage == "disk" else None,
        "score_log.path": config.score_log.path,
        "explanations.path": config.explanations.path,
    }
    for key, path in files.items():
        if path is not None and is_dir(config.path(path)):
            yield Finding(key, False, f"{config.path(path)} is a folder; name a file")
    review = config.review.path
    if review is not None and is_file(config.path(review)):
        yield Finding("review.path", False, f"{config.path(review)} is a file; name a folder")


def _collection_text(config: Config, path: str) -> str:
    """Return what the index of the page's collection holds.

    Raises:
        ConfigError: No page is served that could show it.
        SearchError: It cannot be opened.
    """
    place = config.path(path)
    with IndexStore.open(place) as store:
        info = store.info()
    if config.web.address is None:
        raise config.error(
            "web.collection", "web.collection: no page shows it; set web.listen as well"
        )
    again = "not finished: run `edge-sim index build` again"
    rest = [] if info.ready or not info.pictures else [again]
    unread = [f"{info.unread} files cannot be read"] if info.unread else []
    return "; ".join([f"{info.pictures} pictures", *unread, *rest])


def _gallery_findings(config: Config, model_id: str | None) -> Iterator[Finding]:
    try:
        store = assembly.open_gallery(config)
    except EdgeSimError as error:
        yield Finding("gallery", False, str(error))
        return
    with store:
        for name in config.watches:
            yield _gallery_finding(config, store, name, model_id)


def _gallery_finding(
    config: Config, store: GalleryStore, name: str, model_id: str | None
) -> Finding:
    part = f"gallery of {name}"
    try:
        gallery = store.gallery(name, model_id=model_id)
        assembly.check_states(config, name, gallery)
    except EdgeSimError as error:
        return Finding(part, False, str(error))
    counts = [f"{state} {len(gallery.of_state(state))}" for state in gallery.states]
    if not counts:
        strays = [other for other in store.watches() if other not in config.watches]
        if strays:
            hint = f"{nearest(name, strays)}; the gallery holds references of {', '.join(strays)}"
            return Finding(part, False, f"no reference{hint}, which no watch is called", {})
        return Finding(part, True, _NO_REFERENCE, {})
    coverage = gallery.coverage()
    levels = [*_lacking(gallery), *_calibration(store, name, gallery)]
    wrong = [str(found) for found in conflicts(gallery)]
    advice = ["remove the wrong ones with `edge-sim gallery rm`"] if wrong else []
    moved = moved_region(gallery, Roi(*config.watches[name].roi))
    wrong += [] if moved is None else [moved]
    large = size_warning(gallery)
    advice += [] if large is None else [large]
    detail = "; ".join([", ".join(counts), *wrong, *advice, *levels])
    return Finding(part, not wrong, detail, coverage)


def _lacking(gallery: Gallery) -> list[str]:
    """Return what to do about lights without references, and about references all alike."""
    coverage = gallery.coverage()
    missing = [
        (state, light)
        for state, lights in coverage.items()
        for light, number in lights.items()
        if not number
    ]
    found = [f"no reference of {state} {light_words(light)}" for state, light in missing]
    if missing:
        state, light = missing[0]
        found.append(
            f"next take a picture of {state} {light_words(light)}: until then no change to or from "
            f"it is reported in that light"
        )
    alike = states_of_one_moment(gallery)
    if alike:
        found.append(one_moment_text(alike))
    return found


def _calibration(store: GalleryStore, watch: str, gallery: Gallery) -> list[str]:
    """Return what the levels start from, where something was calibrated."""
    if gallery.calibrated:
        return sorted({f"levels {item.origin}" for item in gallery.calibrated.values()})
    kept = kept_calibrations(store.path)
    if any(item.watch == watch and item.score == STATE_SCORE for item in kept):
        return ["its references changed since it was calibrated: run `edge-sim calibrate` again"]
    return []


def _count_text(config: Config) -> str:
    number = len(config.watches)
    return "1 watch" if number == 1 else f"{number} watches"


def _mask_text(
    config: Config, name: str, regions: Mapping[str, BgrImage], masks: Path | None
) -> str:
    """Return how much of the region of a watch its mask hides; write the picture of it.

    Raises:
        ConfigError: The mask hides nothing, or leaves too little.
        DataError: The picture cannot be written.
    """
    mask = assembly.region_of(config, name).mask
    assert mask is not None
    share, pixels = mask.hidden_share, regions.get(name)
    place = ""
    if masks is not None and pixels is not None:
        place = f"; see {_write_mask(masks, name, mask, pixels)}"
    if share == 0.0:
        raise config.error(
            f"watches.{name}.mask",
            f"watches.{name}.mask: hides nothing; paint black what does not count{place}",
        )
    left = 0.0 if pixels is None else (1.0 - share) * pixels.shape[0] * pixels.shape[1]
    if pixels is not None and left < LEAST_SIDE_PX**2:
        raise config.error(
            f"watches.{name}.mask",
            f"watches.{name}.mask: leaves {left:.0f} pixels of the region, too few to tell states "
            f"apart{place}",
        )
    return f"hides {share:.1%} of the region{place}"


def _write_mask(folder: Path, name: str, mask: Mask, pixels: BgrImage) -> Path:
    path = folder / f"{name.replace('/', '_')}.png"
    done, data = cv2.imencode(".png", mask.shown(pixels))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_private(path, data.tobytes() if done else b"")
    except OSError as error:
        raise DataError(f"{path}: cannot write ({error.strerror})") from error
    return path


def opened_frame(config: Config, name: str) -> tuple[Frame, str]:
    """Open a source and return its first frame, and a remark on it; the source is closed again.

    Raises:
        SourceError: It cannot be opened, or gives no picture.
    """
    with closing(assembly.open_configured(config, name, threaded=True)) as source:
        opened_s = time.monotonic()
        frame = source.read()
        if frame is None:
            raise SourceError(f"{name}: ended before its first frame")
        waited_s = time.monotonic() - opened_s
        poll_s = getattr(source, "poll_s", 0.0)
        if poll_s:
            return frame, f"gives single pictures, asked every {poll_s:g} s"
        if waited_s > _KEY_FRAME_S:
            return frame, (
                f"first picture after {waited_s:.0f} s: its key frames are far apart, shorten "
                "their interval in the camera"
            )
        return frame, ""


def _source_text(
    config: Config, name: str, regions: dict[str, BgrImage], read_frame: ReadFrame
) -> str:
    frame, remark = read_frame(config, name)
    sizes = []
    for watch_name in assembly.watches_by_source(config)[name]:
        pixels = crop(frame.pixels, Roi(*config.watches[watch_name].roi))
        regions[watch_name] = pixels
        if min(pixels.shape[:2]) < LEAST_SIDE_PX:
            raise config.error(
                f"watches.{watch_name}.roi",
                f"watches.{watch_name}.roi: the region is {pixels.shape[1]}x{pixels.shape[0]} "
                f"pixels of the frame; states cannot be told apart below "
                f"{LEAST_SIDE_PX}x{LEAST_SIDE_PX}, enlarge it",
            )
        sizes.append(f"{watch_name} {pixels.shape[1]}x{pixels.shape[0]}")
    height, width = frame.pixels.shape[:2]
    size = f"{width}x{height}{f'; {remark}' if remark else ''}"
    return f"{size}; regions: {', '.join(sizes)}"


def tried(part: str, attempt: Callable[[], str]) -> Finding:
    """Return the result of an attempt that returns a summary, or raises an error of ours."""
    try:
        return Finding(part, True, attempt())
    except EdgeSimError as error:
        return Finding(part, False, str(error))
