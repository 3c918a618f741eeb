"""What the kinds of `edge-sim evaluate` share: options, and how sets are read."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edge_sim.cli.output import note, progress

if TYPE_CHECKING:
    from edge_sim.evaluation import Protocol, SeenSet
    from edge_sim.evaluation.methods import Method
    from edge_sim.pipeline import Region
    from edge_sim.protocols import Embedder

T = TypeVar("T")
STATE_METHODS = ("gallery", "nearest-cosine", "ssim", "thumbnail", "softmax-head")
"""Names of `evaluation.methods` that name states, written out so that `--help` loads nothing."""
DETECTORS = ("mog2", "scenedetect")
"""Those that only say when something changes."""


def add_draws(parser: argparse.ArgumentParser) -> None:
    """Add how references are drawn."""
    parser.add_argument("--references", type=int, metavar="N", help="per state; default 5")
    parser.add_argument("--draws", type=int, default=6, metavar="N", help="galleries, default 6")
    parser.add_argument("--seed", type=int, default=0, help="of the first draw, default 0")
    parser.add_argument(
        "--against-rest",
        metavar="STATE",
        default="normal",
        help="a state judged against all others together; default `normal`, `-` for none",
    )


def add_method(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Add which method is measured."""
    parser.add_argument(
        "--scorer",
        choices=names,
        default="gallery",
        help="`gallery` is ours, the others are there to be compared with",
    )
    parser.add_argument(
        "--threshold", type=float, metavar="X", help="of a method with a fixed one, 0 to 1"
    )


def add_output(parser: argparse.ArgumentParser, *, plot: bool = True) -> None:
    """Add the model, JSON and where to draw."""
    parser.add_argument("--model", default="default", help="a .tflite file, or `thumbnail`")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--json", action="store_true", help="print JSON")
    if plot:
        parser.add_argument("--plot", type=Path, metavar="PNG", help="draw what was measured")


def protocol_of(
    args: argparse.Namespace, *, references: int = 5, open_set: bool = False
) -> Protocol:
    """Return how frames are drawn, `references` where the user does not say.

    Raises:
        DataError: A number below 1, or a negative seed.
    """
    from edge_sim.errors import DataError
    from edge_sim.evaluation import Protocol

    number = args.references if args.references is not None else references
    if number < 1 or args.draws < 1:
        raise DataError("--references and --draws must be 1 or more")
    if args.seed < 0:
        raise DataError(f"--seed must be 0 or more, got {args.seed}")
    return Protocol(references=number, draws=args.draws, seed=args.seed, open_set=open_set)


def method_of(args: argparse.Namespace, sensitivity: float = 0.5) -> Method:
    """Return the method that --scorer and --threshold name."""
    from edge_sim.evaluation import methods

    return methods.method_of(args.scorer, sensitivity=sensitivity, threshold=args.threshold)


def embedder_of(args: argparse.Namespace) -> Embedder:
    """Return the model that --model names."""
    from edge_sim.embedders import open_embedder

    return open_embedder(args.model, threads=args.threads)


def see_set(
    args: argparse.Namespace, path: Path, embedder: Embedder, region: Region | None = None
) -> SeenSet:
    """Return a labelled folder, every frame embedded."""
    from edge_sim.evaluation import read_set, see
    from edge_sim.pipeline import Region

    labelled = read_set(path)
    if args.against_rest != "-":
        labelled = labelled.against_rest(args.against_rest)
    return see(labelled, embedder, region=region or Region(), track=tracked)


def tracked(items: Sequence[T], label: str) -> Iterable[T]:
    """Return the items, a bar drawn on a terminal."""
    return progress(items, len(items), label)


def check_plot(path: Path | None) -> None:
    """Check before the work that --plot can be drawn after it.

    Raises:
        DataError: matplotlib is missing, or the folder of the file.
    """
    if path is None:
        return
    from edge_sim.evaluation.plots import check

    check(path)


def plotted(path: Path) -> None:
    """Say that the plot is there."""
    note(f"{path}: written")
