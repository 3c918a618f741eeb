"""Embedders: one file per kind, and the table of kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_sim.core.protocols import Embedder
from edge_sim.core.resources import default_model_path
from edge_sim.vision.embedders.runtime import AUTO

DEFAULT = "default"


def open_embedder(
    spec: str | Path | None = None,
    *,
    threads: int = 1,
    runtime: str = AUTO,
    verified_only: bool = True,
) -> Embedder:
    """Return an embedder.

    Args:
        spec: None or `default` for the model that comes with edge_sim; `thumbnail` for the baseline
            that needs neither model nor runtime; else the path of a .tflite file.
        threads: Largest number of threads of the runtime for one picture, at least 1.
        runtime: `auto`, `ai-edge-litert` or `tflite-runtime`.
        verified_only: Whether a .tflite file is loaded only if its SHA-256 is on its card or on the
            list that `edge-sim model verify` keeps beside it. A file that was never tried can end
            the process: False is for models that are made and measured here and now.

    Raises:
        ModelError: The file, its card or the runtime cannot be used, or it is not verified.
    """
    name = DEFAULT if spec is None else str(spec)
    if name in KINDS:
        return KINDS[name](threads, runtime)
    return _open_file(Path(name).expanduser(), threads, runtime, verified_only=verified_only)


def _open_default(threads: int, runtime: str) -> Embedder:
    return _open_file(default_model_path(), threads, runtime)


def _open_thumbnail(_threads: int, _runtime: str) -> Embedder:
    from edge_sim.vision.embedders.thumbnail import ThumbnailEmbedder

    return ThumbnailEmbedder()


def _open_file(path: Path, threads: int, runtime: str, *, verified_only: bool = True) -> Embedder:
    from edge_sim.vision.embedders.tflite import open_tflite

    return open_tflite(path, threads=threads, runtime=runtime, verified_only=verified_only)


KINDS: dict[str, Callable[[int, str], Embedder]] = {
    DEFAULT: _open_default,
    "thumbnail": _open_thumbnail,
}
"""Name -> opener of that kind. Any other name is the path of a .tflite file."""
