"""Write the tables of README.md and docs/evaluation.md: edge_sim beside other methods.

    python tools/compare.py            print them
    python tools/compare.py --write    put them into the documents
    python tools/compare.py --json all.json, later --measured all.json --write
    python tools/compare.py SET... --clips CLIP... --scorers gallery ssim    on pictures of your own

Measured on the SETs and CLIPs named, or on the labelled sets, clips and collections below --data. A
clip takes its references from a SET of the same states and other days if there is one. A method
whose package is absent (extra `bench`) is skipped with a line. Pictures are embedded with the
default model and with Google's quantized v3-small (on SETs only with --official), the methods that
use an embedding run on both.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
from comparing.comparison import Candidate, MethodResult, candidates, measure_method
from comparing.methods import NAMES
from comparing.tables import figures_of_readme, tables_of, with_section

from edge_sim.analysis.evaluation.datasets import EmbeddedSet, embed_set, read_labelled, read_set
from edge_sim.analysis.evaluation.retrieval import RetrievalResult, retrieve
from edge_sim.analysis.evaluation.states import Protocol
from edge_sim.cli.output import note, progress
from edge_sim.errors import DataError, EdgeSimError
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region

REPOSITORY = Path(__file__).resolve().parent.parent
OURS, OFFICIAL = "ours", "v3-small"
"""Names of the two models in the tables."""
LENIENT = (Candidate("nearest-cosine", OURS, 0.65), Candidate("nearest-cosine", OFFICIAL, 0.6))
"""The levels of cosine with the best mean F1 of events on these very clips, of 0.6 to 0.95."""
T = TypeVar("T")
AGAINST_REST = "normal"  # all faults of a production line together


@dataclass(frozen=True, slots=True)
class Material:
    """Data of the comparison, embedded by each model."""

    sets: dict[str, list[EmbeddedSet]]
    clips: dict[str, list[EmbeddedSet]]
    retrieval: dict[str, list[RetrievalResult]]
    models: dict[str, str]


class Comparison(msgspec.Struct, frozen=True):
    """All figures.

    Args:
        results: Figures of every candidate.
        retrieval: Model -> figures of its collections.
        models: Name of a model in the tables -> its id.
    """

    results: list[MethodResult]
    retrieval: dict[str, list[RetrievalResult]]
    models: dict[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write with `--write`."""
    args = _parser().parse_args(argv)
    try:
        comparison = _timed(args) if args.measured is None else _read(args.measured)
        _report(args, comparison)
    except EdgeSimError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    return 0


def _timed(args: argparse.Namespace) -> Comparison:
    started_s, busy_s = time.monotonic(), time.process_time()
    comparison = measure(args)
    took_s, busy_s = time.monotonic() - started_s, time.process_time() - busy_s
    note(f"measured in {took_s:.0f} s, {busy_s:.0f} s of processor time")
    return comparison


def _read(path: Path) -> Comparison:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Comparison)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path}: not what --json writes: {error}") from error


def _report(args: argparse.Namespace, comparison: Comparison) -> None:
    """Print the figures, or write them into the documents.

    Raises:
        DataError: A document has no place for it.
    """
    if args.json is not None:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(comparison)) + b"\n")
    short = figures_of_readme(comparison.results, OURS)
    full = tables_of(comparison.results, comparison.retrieval, comparison.models)
    if args.paths:
        print(full)
        return
    if not args.write:
        print(f"{short}\n\n{full}")
        return
    for path, text in ((args.readme, short), (args.document, full)):
        path.write_text(with_section(path.read_text(encoding="utf-8"), text), encoding="utf-8")
        note(f"{path}: written")


def measure(args: argparse.Namespace) -> Comparison:
    """Return the figures of every method.

    Raises:
        DataError: The data or the other model is not there, or cannot be evaluated.
    """
    if args.draws < 1 or args.references < 1:
        raise DataError("--references and --draws must be 1 or more")
    if args.paths and args.write:
        raise DataError("--write is for the figures of the documents: leave the SETs out")
    material = _material(args)
    protocol = Protocol(references=args.references, draws=args.draws)
    lenient = () if args.paths else LENIENT
    results = []
    for candidate in (*candidates(args.scorers, tuple(material.sets)), *lenient):
        result = measure_method(candidate, material.sets, material.clips, protocol, track=_tracked)
        if result.skipped is not None:
            note(f"{candidate.method}: skipped, {result.skipped}")
        results.append(result)
    return Comparison(results, material.retrieval, material.models)


def _material(args: argparse.Namespace) -> Material:
    models = {OURS: args.model, OFFICIAL: args.official}
    if args.paths:
        sets, clips, tars = args.paths, args.clips, []
    else:
        data = args.data / "data"
        sets, clips = _folders(data / "states"), _folders(data / "sequences")
        tars = sorted((data / "retrieval").glob("*.tar"))
        models[OFFICIAL] = args.official or _official(args.data)
    comparison = Material({}, {}, {}, {})
    for name, path in models.items():
        if path is None:
            continue
        embedder = open_embedder(path, verified_only=False)
        comparison.models[name] = embedder.model_id
        for folders, into in ((sets, comparison.sets), (clips, comparison.clips)):
            into[name] = [
                embed_set(
                    read_set(folder).against_rest(AGAINST_REST),
                    embedder,
                    region=Region(),
                    track=_tracked,
                )
                for folder in folders
            ]
        comparison.retrieval[name] = [
            retrieve(tar.stem, progress(read_labelled(tar), None, f"{name}: {tar.name}"), embedder)
            for tar in tars
        ]
    return comparison


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        raise DataError(f"{parent}: there is no such folder; name the data with --data")
    return sorted(path for path in parent.iterdir() if path.is_dir())


def _official(data: Path) -> str:
    return str(data / "models" / "v3-small_uint8_embedding.tflite")


def _tracked(items: Sequence[T], label: str) -> Iterable[T]:
    return progress(items, len(items), label)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, metavar="SET")
    parser.add_argument("--clips", nargs="+", type=Path, default=[], metavar="CLIP")
    parser.add_argument(
        "--scorers",
        nargs="+",
        choices=NAMES,
        default=NAMES,
        metavar="NAME",
        help=f"some of {', '.join(NAMES)}; default all",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("EDGE_SIM_DATA", REPOSITORY.parent / "shared")),
        help="with data/states, data/sequences, data/retrieval and models",
    )
    parser.add_argument("--model", default="default", help="ours, a .tflite file")
    parser.add_argument("--official", help="the other .tflite file")
    parser.add_argument("--references", type=int, default=5, help="of each state")
    parser.add_argument("--draws", type=int, default=6, help="galleries for each set")
    parser.add_argument("--json", type=Path, help="write every figure there")
    parser.add_argument("--measured", type=Path, metavar="JSON", help="take the figures from there")
    parser.add_argument("--write", action="store_true", help="replace the tables in the documents")
    parser.add_argument("--readme", type=Path, default=REPOSITORY / "README.md")
    parser.add_argument("--document", type=Path, default=REPOSITORY / "docs" / "evaluation.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
