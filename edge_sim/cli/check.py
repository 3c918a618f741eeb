"""`edge-sim check`: try a configuration without running it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge_sim.cli.output import print_json, print_table

if TYPE_CHECKING:
    from edge_sim.core.types import BgrImage
    from edge_sim.gallery.gallery import Gallery
    from edge_sim.gallery.store import GalleryStore
    from edge_sim.runtime.config import Config
    from edge_sim.vision.probe import Mask


_KEY_FRAME_S = 5.0
"""Seconds after which the first picture of a stream is late."""


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


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "check",
        help="try configuration, model, gallery, sources and sinks without running",
        description="Read the configuration, load the model, open the gallery, take one frame "
        "from every source and cut every region, log in at every broker, ask every web address, "
        "and see that files can be written; no event is sent. Exit code 0 if all is well, 78 if "
        "the configuration is wrong, 1 otherwise.",
    )
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--offline", action="store_true", help="leave out sinks that need the network"
    )
    parser.add_argument(
        "--masks",
        type=Path,
        metavar="DIR",
        help="write one picture per watch with a mask: its region, red where it does not count",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=_check)


def _check(args: argparse.Namespace) -> int:
    from edge_sim.cli.options import load

    config = load(args.config)
    findings = (*_findings(config, args.masks), *_sink_findings(config, offline=args.offline))
    report = CheckReport(str(args.config), all(item.ok for item in findings), findings)
    if args.json:
        print_json(report)
    else:
        rows = [("ok" if item.ok else "FAIL", item.part, item.detail) for item in findings]
        print_table(["", "part", "detail"], rows)
        for item in findings:
            _print_coverage(item)
    return 0 if report.ok else 1


def _findings(config: Config, masks: Path | None) -> Iterator[Finding]:
    from edge_sim.runtime import assembly

    watches_of = assembly.watches_by_source(config)
    yield Finding("configuration", True, "; ".join([_count_text(config), *config.hints]))
    model_ids: list[str] = []

    def model() -> str:
        model_ids.append(assembly.open_model(config).model_id)
        return model_ids[0]

    yield _tried("model", model)
    yield from _gallery_findings(config, model_ids[0] if model_ids else None)
    yield from _storage_findings(config)
    if config.web.address is not None:
        yield _tried("web", partial(_web_text, config))
    regions: dict[str, BgrImage] = {}
    for name in watches_of:
        yield _tried(f"source {name}", partial(_first_frame, config, name, regions))
    for name, watch in config.watches.items():
        if watch.mask is not None:
            yield _tried(f"mask of {name}", partial(_mask_text, config, name, regions, masks))


def _web_text(config: Config) -> str:
    """Return where the page is and who may see it; raise `ConfigError` if it cannot start."""
    from edge_sim.cli.daemon import web_server_module

    server = web_server_module()
    server.check_reach(config)
    encrypted = server.tls_context(config) is not None
    from edge_sim.web.accounts import Accounts, accounts_path

    number = len(Accounts(accounts_path(config)).roles)
    accounts = f"{number} account{'' if number == 1 else 's'}"
    scheme = "https" if encrypted else "http"
    return f"{scheme}://{config.web.listen}/, {accounts if number else 'no account'}"


def _sink_findings(config: Config, *, offline: bool) -> Iterator[Finding]:
    from edge_sim.io.sinks.connection_check import REMOTE
    from edge_sim.runtime.config.sinks import kind_of, sink_options

    for number, sink in enumerate(config.sinks, start=1):
        kind = kind_of(sink)
        part = f"sink {number}, {kind}"
        if offline and kind in REMOTE:
            yield Finding(part, True, "not tried (--offline)")
            continue
        options = sink_options(sink, device=config.device, folder=config.path(""))
        yield _tried(part, partial(_try_sink, config, number - 1, kind, options))


def _try_sink(config: Config, at: int, kind: str, options: dict[str, Any]) -> str:
    from edge_sim.io.sinks.connection_check import try_sink

    with config.located(f"sinks[{at}]"):
        return try_sink(kind, **options)


def _storage_findings(config: Config) -> Iterator[Finding]:
    """Yield a failure for each file of the daemon in whose place a folder lies, or the reverse."""
    from edge_sim.core.files import is_dir, is_file

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


def _gallery_findings(config: Config, model_id: str | None) -> Iterator[Finding]:
    from edge_sim.errors import EdgeSimError
    from edge_sim.runtime import assembly

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
    from edge_sim.decision.scorer import size_warning
    from edge_sim.errors import EdgeSimError
    from edge_sim.gallery.enrolment_checks import conflicts
    from edge_sim.gallery.records import moved_region
    from edge_sim.runtime import assembly
    from edge_sim.runtime.config.yaml_reader import nearest

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
        return Finding(part, True, "no reference yet: its state will be unknown", {})
    coverage = gallery.coverage()
    missing = [
        f"no {state} in {light}"
        for state, lights in coverage.items()
        for light, number in lights.items()
        if not number
    ]
    levels = _calibration(store, name, gallery)
    wrong = [str(found) for found in conflicts(gallery)]
    advice = ["remove the wrong ones with `edge-sim gallery rm`"] if wrong else []
    moved = moved_region(gallery, assembly.region_of(config, name).roi)
    wrong += [] if moved is None else [moved]
    large = size_warning(gallery)
    advice += [] if large is None else [large]
    detail = "; ".join([", ".join(counts), *wrong, *advice, *missing, *levels])
    return Finding(part, not wrong, detail, coverage)


def _calibration(store: GalleryStore, watch: str, gallery: Gallery) -> list[str]:
    """Return what the levels start from, where something was calibrated."""
    from edge_sim.gallery.calibrations import STATE_SCORE, kept_calibrations

    if gallery.calibrated:
        return sorted({f"levels {item.origin}" for item in gallery.calibrated.values()})
    kept = kept_calibrations(store.path)
    if any(item.watch == watch and item.score == STATE_SCORE for item in kept):
        return ["its references changed since it was calibrated: run `edge-sim calibrate` again"]
    return []


def _print_coverage(item: Finding) -> None:
    """Print which lights the references of a watch cover, where there are several."""
    rows = [(state, *lights.values()) for state, lights in (item.coverage or {}).items()]
    if rows and len(rows[0]) > 2:
        (first, *_) = (item.coverage or {}).values()
        print()
        print_table([item.part, *first], rows)


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
    from edge_sim.gallery.records import LEAST_SIDE_PX
    from edge_sim.runtime import assembly

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
    import cv2

    from edge_sim.core.files import write_private
    from edge_sim.errors import DataError

    path = folder / f"{name.replace('/', '_')}.png"
    done, data = cv2.imencode(".png", mask.shown(pixels))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_private(path, data.tobytes() if done else b"")
    except OSError as error:
        raise DataError(f"{path}: cannot write ({error.strerror})") from error
    return path


def _first_frame(config: Config, name: str, regions: dict[str, BgrImage]) -> str:
    from edge_sim.core.images import crop
    from edge_sim.errors import SourceError
    from edge_sim.gallery.records import LEAST_SIDE_PX
    from edge_sim.runtime import assembly

    with closing(assembly.open_configured(config, name, threaded=True)) as source:
        opened_s = time.monotonic()
        frame = source.read()
        if frame is None:
            raise SourceError(f"{name}: ended before its first frame")
        waited_s = time.monotonic() - opened_s
        sizes = []
        for watch_name in assembly.watches_by_source(config)[name]:
            pixels = crop(frame.pixels, assembly.region_of(config, watch_name).roi)
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
        poll_s = getattr(source, "poll_s", 0.0)
        kind = f"; gives single pictures, asked every {poll_s:g} s" if poll_s else ""
        if not poll_s and waited_s > _KEY_FRAME_S:
            kind = (
                f"; first picture after {waited_s:.0f} s: its key frames are far apart, shorten "
                f"their interval in the camera"
            )
        return f"{width}x{height}{kind}; regions: {', '.join(sizes)}"


def _tried(part: str, attempt: Callable[[], str]) -> Finding:
    from edge_sim.errors import EdgeSimError

    try:
        return Finding(part, True, attempt())
    except EdgeSimError as error:
        return Finding(part, False, str(error))
