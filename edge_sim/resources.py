"""Where the files that come with edge_sim are: the default model and the configurations.

In an installation they lie inside the package, in a checkout at the top level.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from edge_sim.errors import ConfigError, EdgeSimError, ModelError

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
        ConfigError: There is none of that name; names those there are.
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
