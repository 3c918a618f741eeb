"""`edge-sim compare`: how alike two pictures are, and where the second differs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_sim.cli.output import note, print_json, print_table, say
from edge_sim.errors import DataError

if TYPE_CHECKING:
    from edge_sim.core.types import BgrImage
    from edge_sim.vision.locate import NovelRegion

_MOST_DISTORTED = 1.03
"""Greatest ratio of the proportions of two pictures of one view: a row or two may be cut off."""


class RegionView(msgspec.Struct, frozen=True):
    """A part that differs: upper left corner, width and height in fractions of the picture."""

    x: float
    y: float
    width: float
    height: float
    strength: float


class CompareView(msgspec.Struct, frozen=True):
    """Similarity of two pictures, and the parts of the second that differ."""

    reference: str
    picture: str
    cosine: float
    ssim: float
    structure: float
    regions: tuple[RegionView, ...]
    model_id: str
    map: str | None = None
    schema: int = 1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "compare",
        help="compare two pictures of one view, and say where the second differs",
        description="Print how alike two pictures are, and the parts of PICTURE that REFERENCE "
        "does not show, the strongest first, in fractions of the picture. Both must show the same "
        "view; light, and a shift by up to a twentieth of the side, are evened out.",
    )
    parser.add_argument("reference", type=Path, metavar="REFERENCE")
    parser.add_argument("picture", type=Path, metavar="PICTURE")
    parser.add_argument(
        "--map",
        type=Path,
        metavar="OUT",
        help="write PICTURE in grey, red where it differs, the parts framed (.png or .jpg)",
    )
    parser.add_argument(
        "--model", default="default", help="a .tflite file, `thumbnail`, or the default model"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=_compare)


def _compare(args: argparse.Namespace) -> int:
    from edge_sim.io.sources.pictures import read_picture
    from edge_sim.vision.compare import compare
    from edge_sim.vision.embedders import open_embedder
    from edge_sim.vision.locate import locate

    _check_map(args)
    reference, picture = read_picture(args.reference), read_picture(args.picture)
    _check_proportions(args, reference, picture)
    embedder = open_embedder(args.model)
    measures = compare(reference, picture, embedder)
    regions = locate(picture, [reference])
    if args.map is not None:
        _write_map(args.map, picture, reference, regions)
    view = CompareView(
        reference=str(args.reference),
        picture=str(args.picture),
        cosine=round(measures.cosine, 4),
        ssim=round(measures.ssim, 4),
        structure=round(measures.structure, 4),
        regions=tuple(map(_region_view, regions)),
        model_id=embedder.model_id,
        map=None if args.map is None else str(args.map),
    )
    if args.json:
        print_json(view)
    else:
        _print(view)
    return 0


def _check_map(args: argparse.Namespace) -> None:
    from edge_sim.core.files import is_dir

    path: Path | None = args.map
    if path is None:
        return
    if path.suffix.lower() not in {".png", ".jpg", ".jpeg"}:
        raise DataError(f"{path}: the name of the map must end in .png or .jpg")
    if not is_dir(path.parent):
        raise DataError(f"{path}: there is no folder {path.parent}; make it first")
    if any(path.absolute() == item.absolute() for item in (args.reference, args.picture)):
        raise DataError(f"{path}: the map would overwrite a picture that is compared")


def _check_proportions(args: argparse.Namespace, reference: BgrImage, picture: BgrImage) -> None:
    (h1, w1), (h2, w2) = reference.shape[:2], picture.shape[:2]
    ratio = (w1 * h2) / (w2 * h1)
    if not 1.0 / _MOST_DISTORTED <= ratio <= _MOST_DISTORTED:
        raise DataError(
            f"{args.reference} is {w1}x{h1} and {args.picture} {w2}x{h2}: pictures of other "
            f"proportions do not show the same view; cut both to the same region"
        )


def _write_map(
    path: Path, picture: BgrImage, reference: BgrImage, regions: tuple[NovelRegion, ...]
) -> None:
    import cv2

    from edge_sim.core.files import write_private
    from edge_sim.vision.locate import drawn, novelty_map

    shown = drawn(picture, novelty_map(picture, [reference]), regions)
    done, data = cv2.imencode(path.suffix.lower(), shown)
    try:
        write_private(path, data.tobytes() if done else b"")
    except OSError as error:
        raise DataError(f"{path}: cannot write ({error.strerror})") from error


def _region_view(region: NovelRegion) -> RegionView:
    x, y, width, height = region.box
    return RegionView(x, y, width, height, round(region.strength, 6))


def _print(view: CompareView) -> None:
    say(f"cosine {view.cosine:.3f}, ssim {view.ssim:.3f}, structure {view.structure:.3f}")
    if view.regions:
        number = len(view.regions)
        parts = "1 part" if number == 1 else f"{number} parts"
        say(f"{parts} of {view.picture} not in {view.reference}, in fractions of the picture:")
        print_table(
            ["x", "y", "width", "height", "strength"],
            [
                (item.x, item.y, item.width, item.height, f"{item.strength:.5f}")
                for item in view.regions
            ],
        )
    else:
        say(f"no part of {view.picture} differs from {view.reference}")
    if view.map is not None:
        note(f"{view.map}: written")
