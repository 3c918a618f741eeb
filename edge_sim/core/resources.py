"""Memory of the C library, and the files that come with edge_sim.

The default model and the configurations lie inside the package in an installation, at the top level
in a checkout.
"""

from __future__ import annotations

import contextlib
import ctypes
from importlib.resources import files
from pathlib import Path

from edge_sim.errors import ConfigError, EdgeSimError, ModelError

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


def use_one_heap() -> None:
    """Make all threads begun from now on take memory from one heap, where the C library can.

    glibc makes up to eight per core, and each keeps the most that its threads ever needed.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def release_free_memory() -> None:
    """Return free memory of the heap to the system, where the C library can.

    Fitting a gallery of hundreds of references takes some megabytes for a moment; glibc would keep
    them for as long as the process runs. Takes a millisecond or two.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


DEFAULT_MODEL = "edge_sim_small.tflite"


def default_model_path() -> Path:
    """Return the path of the default model; its card lies beside it.

    Raises:
        ModelError: It is not in this installation.
    """
    return _find("models", DEFAULT_MODEL, ModelError)


def config_path(name: str) -> Path:
    """Return the path of a configuration that comes with edge_sim, `default.yaml` for one.

    Raises:
        ConfigError: There is none of that name; the message lists the names.
    """
    return _find("configs", name, ConfigError)


def _find(folder: str, name: str, error: type[EdgeSimError]) -> Path:
    package = Path(str(files("edge_sim")))
    places = (package / folder, package.parent / folder)
    for place in places:
        if (place / name).is_file():
            return place / name
    present = sorted(
        {entry.name for place in places if place.is_dir() for entry in place.iterdir()}
    )
    raise error(
        f"{folder}/{name} is not in this installation of edge_sim (there: "
        f"{', '.join(present) or 'nothing'}); install edge_sim again, or give the path of your own"
    )
