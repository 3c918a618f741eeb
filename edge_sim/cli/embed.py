"""`edge-sim embed`: the embeddings of pictures as a numpy file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli.options import threads
from edge_sim.cli.output import json_of, note, print_json, progress, say
from edge_sim.core.files import is_dir

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_sim.core.protocols import Embedder
    from edge_sim.core.types import Embedding


SCHEMA = 1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "embed",
        help="write the embeddings of pictures to a .npy file",
        description="Write OUT, float32 (pictures, dimension), one unit-length row per readable "
        "picture, and OUT with the suffix .json: the model and the name of each row's picture.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="picture or folder")
    parser.add_argument("--out", required=True, type=Path, help="the .npy file to write")
    parser.add_argument(
        "--model", default="default", help="a .tflite file, `thumbnail`, or the default model"
    )
    parser.add_argument("--runtime", default="auto", help="auto, ai-edge-litert or tflite-runtime")
    parser.add_argument("--threads", type=threads, default=1, help="threads for one picture (1)")
    parser.add_argument(
        "--spatial",
        action="store_true",
        help="also write OUT with the suffix .spatial.npy: (pictures, G, G, C)",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.set_defaults(handler=_embed)


@dataclass(slots=True)
class _Rows:
    names: list[str] = field(default_factory=list)
    embeddings: list[Embedding] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)


def _embed(args: argparse.Namespace) -> int:
    import numpy as np

    from edge_sim.errors import DataError
    from edge_sim.vision.embedders import open_embedder

    out: Path = args.out
    if out.suffix != ".npy":
        raise DataError(f"{out}: --out must end in .npy")
    if not is_dir(out.parent):
        raise DataError(f"{out}: there is no folder {out.parent}; make it first")
    embedder = open_embedder(args.model, threads=args.threads, runtime=args.runtime)
    rows = _Rows()
    paths = list(_pictures(args.paths, rows))
    for path in progress(paths, len(paths), "embed"):
        _embed_one(embedder, path, rows)
    if not rows.names:
        raise DataError("no picture could be read; nothing is written")
    arrays = {out: np.stack([embedding.vector for embedding in rows.embeddings])}
    if args.spatial:
        arrays[out.with_suffix(".spatial.npy")] = _cells(embedder, rows)
    _write(out, arrays, _sidecar(embedder, rows))
    _summarise(args.json, out, embedder, rows)
    return 1 if rows.failed else 0


def _pictures(paths: Iterable[Path], rows: _Rows) -> Iterator[Path]:
    """Yield the files named, and the pictures in the folders named, subfolders included, sorted."""
    from edge_sim.io.sources.uri import belongs_to_pictures

    for path in paths:
        if not is_dir(path):
            yield path
            continue
        found = sorted(
            Path(folder) / name
            for folder, _, names in os.walk(path)
            for name in names
            if belongs_to_pictures(Path(folder) / name)
        )
        if not found:
            _fail(rows, path, "no picture in this folder")
        yield from found


def _embed_one(embedder: Embedder, path: Path, rows: _Rows) -> None:
    from edge_sim.core.images import decode_reduced
    from edge_sim.errors import ModelError
    from edge_sim.io.sources.pictures import picture_bytes

    try:
        embedding = embedder.embed(decode_reduced(picture_bytes(path), embedder.input_px).pixels)
    except OSError as error:
        _fail(rows, path, error.strerror or type(error).__name__)
    except (ValueError, ModelError) as error:
        _fail(rows, path, str(error))
    else:
        rows.names.append(str(path))
        rows.embeddings.append(embedding)


def _fail(rows: _Rows, path: Path, reason: str) -> None:
    note(f"{path}: skipped: {reason}")
    rows.failed.append({"path": str(path), "reason": reason})


def _cells(embedder: Embedder, rows: _Rows) -> NDArray[np.float32]:
    import numpy as np

    from edge_sim.errors import ModelError

    cells = [embedding.spatial for embedding in rows.embeddings if embedding.spatial is not None]
    if not cells:
        raise ModelError(f"{embedder.model_id} has no spatial output; leave --spatial out")
    return np.stack(cells)


def _sidecar(embedder: Embedder, rows: _Rows) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "model_id": embedder.model_id,
        "dimension": embedder.dimension,
        "names": rows.names,
    }


def _write(out: Path, arrays: dict[Path, NDArray[np.float32]], sidecar: dict[str, Any]) -> None:
    import msgspec
    import numpy as np

    from edge_sim.errors import DataError

    described = msgspec.json.format(json_of(sidecar), indent=2)
    try:
        for path, array in arrays.items():
            np.save(path, array)
        out.with_suffix(".json").write_bytes(described)
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot write ({error.strerror})") from error


def _summarise(as_json: bool, out: Path, embedder: Embedder, rows: _Rows) -> None:
    if as_json:
        print_json(
            {
                "schema": SCHEMA,
                "model_id": embedder.model_id,
                "dimension": embedder.dimension,
                "out": str(out),
                "pictures": len(rows.names),
                "failed": rows.failed,
            }
        )
        return
    failed = f", {len(rows.failed)} skipped" if rows.failed else ""
    say(f"{out}: {len(rows.names)} x {embedder.dimension} float32 by {embedder.model_id}{failed}")
