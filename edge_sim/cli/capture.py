"""`edge-sim capture`: frames of a source to picture files. `gallery capture` makes references."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_sim.cli.options import positive, seconds
from edge_sim.cli.output import print_json, progress, say
from edge_sim.core.files import private_opener
from edge_sim.errors import DataError, SourceError

if TYPE_CHECKING:
    from edge_sim.core.types import Frame
    from edge_sim.gallery.candidates import Sampling
    from edge_sim.io.sources.options import SourceOptions
    from edge_sim.runtime.config import Config


_JPEG_QUALITY = 95


class CapturedPicture(msgspec.Struct, frozen=True):
    """One frame that was written."""

    path: str
    frame: int
    taken_at: str | None
    width_px: int
    height_px: int


class Captured(msgspec.Struct, frozen=True):
    """Report of `capture --out`."""

    source: str
    pictures: tuple[CapturedPicture, ...]
    schema: int = 1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "capture",
        help="take pictures from a source, to files",
        description="Write frames of SOURCE as pictures. SOURCE is anything that can be watched, "
        "or the name of a source of the configuration given with -c. To enrol frames straight "
        "away use `edge-sim gallery capture`.",
    )
    parser.add_argument("source", metavar="SOURCE", help="/dev/video0, rtsp://..., clip.mp4, ...")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the pictures"
    )
    sampling_options(parser)
    parser.add_argument(
        "--format", choices=("png", "jpg"), default="png", help="format of the files (png)"
    )
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration in which SOURCE is the name of a source",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=_capture)


def sampling_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which frames of a source are taken."""
    parser.add_argument(
        "--count", type=_count, default=1, metavar="N", help="number of frames, or `all` (1)"
    )
    parser.add_argument(
        "--every",
        type=seconds,
        default=0.0,
        metavar="S",
        help="seconds between two frames (0: every frame)",
    )


def _count(text: str) -> int | None:
    return None if text == "all" else positive(text)


def _capture(args: argparse.Namespace) -> int:
    from edge_sim.gallery.candidates import Sampling

    config = None
    if args.config is not None:
        from edge_sim.cli.options import load

        config = load(args.config)
    uri, options = resolved(args.source, config)
    return _write(args, uri, Sampling(args.every, args.count), options)


def resolved(source: str, config: Config | None) -> tuple[str, SourceOptions]:
    """Return the uri and options of a source of the configuration, or of one typed in full."""
    from edge_sim.io.sources.options import SourceOptions

    if config is None or source not in config.sources:
        return source, SourceOptions()
    from edge_sim.runtime.assembly import resolved_uri, source_options

    return resolved_uri(config, source), source_options(config, source)


def _write(args: argparse.Namespace, uri: str, sampling: Sampling, options: SourceOptions) -> int:
    from edge_sim.gallery.candidates import sampled
    from edge_sim.io.sources import open_source
    from edge_sim.io.sources.uri import masked

    folder: Path = args.out
    written: list[CapturedPicture] = []
    with closing(open_source(uri, options)) as source:
        names = _names(folder, args.format)
        for frame in progress(sampled(source, sampling), args.count, "capture"):
            written.append(_written(next(names), frame))
            if not args.json:
                say(written[-1].path)
    if not written:
        raise SourceError(f"{masked(uri)}: gave no frame")
    if args.json:
        print_json(Captured(masked(uri), tuple(written)))
    return 0


def _names(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield paths that sort in the order of capture, after all that are there already."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = [path.stem[6:] for path in folder.glob("frame-*") if path.stem[6:].isdecimal()]
    except OSError as error:
        raise DataError(f"{folder}: cannot write ({error.strerror or error})") from error
    number = max((int(digits) for digits in taken), default=0)
    while True:
        number += 1
        yield folder / f"frame-{number:06d}.{suffix}"


def _written(path: Path, frame: Frame) -> CapturedPicture:
    import cv2

    from edge_sim.core.events import utc_text

    settings = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if path.suffix == ".jpg" else []
    done, data = cv2.imencode(path.suffix, frame.pixels, settings)
    if not done:
        raise DataError(f"{path}: OpenCV cannot encode a picture of {frame.pixels.shape}")
    try:
        with open(path, "xb", opener=private_opener) as file:
            file.write(data.tobytes())
    except OSError as error:
        raise DataError(f"{path}: cannot write ({error.strerror or error})") from error
    height, width = frame.pixels.shape[:2]
    taken_at = utc_text(frame.unix_time_s) if frame.unix_time_s else None
    return CapturedPicture(str(path), frame.index, taken_at, width, height)
