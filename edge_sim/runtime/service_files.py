"""Files that a configuration names, and their way to the folder of the service."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_sim.core.files import exists
from edge_sim.errors import ConfigError
from edge_sim.gallery.copies import back_up
from edge_sim.runtime.config import Config, load_config
from edge_sim.runtime.service_environment import hidden_part
from edge_sim.vision.embedders.card import card_path

_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """One file that a configuration names.

    Args:
        key: Key that names it, as in `watches.bowl.mask`.
        text: Value of the key.
        path: Absolute path.
    """

    key: str
    text: str
    path: Path


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """Configuration to copy to the folder of the service.

    Args:
        path: Its file.
        config: Its content; secrets have no values.
        variables: Names of the environment that it takes secrets from.
        files: Files below its folder that it names, and that are there.
    """

    path: Path
    config: Config
    variables: tuple[str, ...]
    files: tuple[NamedFile, ...]


class _AnyVariable(dict[str, str]):
    """Environment in which every name has a value: secrets are needed by the service alone."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> str:
        return f"${{{key}}}"


def read_service_config(path: Path) -> ServiceConfig:
    """Return a configuration with the files that go with it.

    Raises:
        ConfigError: It cannot be used, or names a file that the service could not read.
    """
    config = load_config(path, _AnyVariable({"": ""}))  # an empty one would be taken for none
    variables = sorted(set(_VARIABLE.findall(path.read_text(encoding="utf-8-sig"))))
    files = tuple(file for file in _named_files(config) if exists(file.path))
    folder = path.resolve().parent
    for file in files:
        if Path(file.text).is_absolute():
            if (hiding := hidden_part(file.path)) is not None:
                raise ConfigError(
                    f"{path}: {file.key}: the service cannot read {file.path}, because {hiding} "
                    f"is hidden from it; put the file beside the configuration and name it by a "
                    f"relative path"
                )
        elif folder not in file.path.resolve().parents:
            raise ConfigError(
                f"{path}: {file.key}: {file.text} leaves the folder of the configuration, which "
                f"is what is copied; put the file into that folder"
            )
    own = tuple(file for file in files if not Path(file.text).is_absolute())
    return ServiceConfig(path, config, tuple(variables), own)


def _named_files(config: Config) -> Iterator[NamedFile]:
    named = {"gallery.path": config.gallery.path, "web.certificate": config.web.certificate}
    named["web.key"] = config.web.key
    named["model.path"] = config.model.path
    named |= {f"watches.{name}.mask": watch.mask for name, watch in config.watches.items()}
    for at, sink in enumerate(config.sinks):
        values = msgspec.structs.asdict(sink)
        keys = [key for key in values if key.endswith("_file")]
        named |= {f"sinks[{at}].{key}": values[key] for key in keys}
    for name, source in config.sources.items():
        if "://" not in source.uri and not source.uri.startswith("/dev/"):
            named[f"sources.{name}.uri"] = source.uri
    for key, text in named.items():
        if text and config.path(text).is_file():
            yield NamedFile(key, text, config.path(text))


def copy_file(file: NamedFile, folder: Path) -> Path:
    """Copy a file to its place below another folder; a gallery is copied whole, with its log.

    Raises:
        ConfigError: It cannot be written.
        GalleryError: The gallery is damaged.
    """
    target = folder / file.text
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.key == "gallery.path":
            back_up(file.path, target)
        else:
            _copy_new(file.path, target)
            card = card_path(file.path)
            if file.key == "model.path" and card.is_file():
                _copy_new(card, card_path(target))
    except OSError as error:
        raise ConfigError(f"{target}: cannot write ({error.strerror or error})") from error
    return target


def _copy_new(source: Path, target: Path) -> None:
    # Root copies into a folder of the service's user: a link there is not followed.
    with source.open("rb") as read, target.open("xb") as written:
        shutil.copyfileobj(read, written)
