"""Edits of the configuration file that make, change and remove watches and their sources."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge_sim.core.files import exists
from edge_sim.core.images import decode_mask
from edge_sim.core.options import Name, Ratio
from edge_sim.core.picture_header import read_header
from edge_sim.core.types import Roi, is_reserved
from edge_sim.errors import ConfigError
from edge_sim.io.sources.discovery import CameraLogin, with_login
from edge_sim.runtime.config.yaml_reader import nearest
from edge_sim.vision.probe import Mask
from edge_sim.web.config_file import ConfigEdit, Table, write_with_mode

MASKS = "masks"
"""Folder of painted masks, beside the configuration file."""
MAX_MASK_PIXELS = 16_000_000
MAX_STATES = 64
_DECIMALS = 4  # a tenth of a pixel of a 4K frame

CornerAndSize = tuple[Ratio, Ratio, Ratio, Ratio]
"""Region as pages give it: x, y, width, height in fractions of the frame."""


class NewSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Source of a new watch: one that is configured, by `name`, or a new one with its `uri`.

    `user` and `password` are put into the uri.
    """

    uri: str | None = None
    name: Name | None = None
    rotate: Literal[0, 90, 180, 270] = 0
    user: str | None = None
    password: str | None = None

    def address(self) -> str | None:
        """Return the uri with user and password."""
        if self.uri is None or self.user is None:
            return self.uri
        return with_login(self.uri.strip(), CameraLogin(self.user, self.password or ""))


class NewWatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Watch to be added; `mask_png` is base64 of a picture over the region, black hides."""

    name: Name
    source: NewSource
    region: CornerAndSize = (0.0, 0.0, 1.0, 1.0)
    states: tuple[Name, ...] = ()
    mask_png: bytes | None = None
    interval_s: float | None = None
    recheck_s: float | None = None
    private: bool = False


class WatchChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keys of a watch to change; those left out stay. An empty `mask_png` removes the mask."""

    region: CornerAndSize | None = None
    mask_png: bytes | None = None
    private: bool | None = None
    sensitivity: Ratio | None = None
    states: tuple[Name, ...] | None = None


def roi_of(region: CornerAndSize) -> Roi:
    """Return the corners of a region, rounded as they are written, within the frame.

    Raises:
        ConfigError: It is empty or outside the frame.
    """
    x, y, width, height = region
    corners = (x, y, min(x + width, 1.0), min(y + height, 1.0))
    try:
        return Roi(*(round(corner, _DECIMALS) for corner in corners))
    except ValueError as error:
        raise ConfigError(f"region: {error}") from error


def region_of_roi(roi: Roi) -> CornerAndSize:
    """Return x, y, width and height of a region."""
    width, height = roi.x2 - roi.x1, roi.y2 - roi.y1
    return (roi.x1, roi.y1, round(width, _DECIMALS), round(height, _DECIMALS))


def added_watch(watch: NewWatch, mask: str | None = None) -> ConfigEdit:
    """Return the edit that adds a watch, and its source unless that is configured already.

    Args:
        watch: Watch to add.
        mask: Path of its mask, from the folder of the file; None for none.

    Raises:
        ConfigError: Its name, region or states cannot be.
    """
    _check_states(watch.states)
    if is_reserved(watch.name):
        raise ConfigError(f"watches.{watch.name}: this name is reserved; choose another")
    roi = roi_of(watch.region)

    def edit(table: Table) -> None:
        source = _source(table, watch.source)  # before the watches, as people write it
        if watch.name in section(table, "watches"):
            raise ConfigError(f"there is a watch {watch.name!r} already; choose another name")
        entry: dict[str, Any] = {"source": source}
        if watch.states:
            entry["states"] = list(watch.states)
        entry["roi"] = [roi.x1, roi.y1, roi.x2, roi.y2]
        if mask is not None:
            entry["mask"] = mask
        for key in ("interval_s", "recheck_s"):
            if (value := getattr(watch, key)) is not None:
                entry[key] = value
        if watch.private:
            entry["private"] = True
        section(table, "watches")[watch.name] = entry

    return edit


def changed_watch(name: str, change: WatchChange, mask: str | None = None) -> ConfigEdit:
    """Return the edit that changes keys of a watch.

    Args:
        name: Name of the watch.
        change: Keys to change.
        mask: Path of the new mask, from the folder of the file; None where it stays, empty to
            remove it.

    Raises:
        ConfigError: The region or the states cannot be.
    """
    _check_states(change.states or ())
    roi = None if change.region is None else roi_of(change.region)

    def edit(table: Table) -> None:
        entry = _entry(table, name)
        if roi is not None:
            entry["roi"] = [roi.x1, roi.y1, roi.x2, roi.y2]
        if mask is not None:
            if mask:
                entry["mask"] = mask
            else:
                entry.pop("mask", None)
        for key in ("private", "sensitivity"):
            if (value := getattr(change, key)) is not None:
                entry[key] = value
        if change.states is not None:
            entry["states"] = list(change.states)

    return edit


def removed_watch(name: str) -> ConfigEdit:
    """Return the edit that removes a watch; its source and its references stay."""

    def edit(table: Table) -> None:
        _entry(table, name)
        del section(table, "watches")[name]

    return edit


def added_source(source: NewSource) -> ConfigEdit:
    """Return the edit that adds a source without a watch."""

    def edit(table: Table) -> None:
        _source(table, source)

    return edit


def set_value(path: str, value: Any) -> ConfigEdit:
    """Return the edit that sets one key, such as `web.listen`; None as a value writes `null`.

    Raises:
        ConfigError: It names no key.
    """
    *parents, key = parts = path.split(".")
    if not all(part and part.isascii() for part in parts):
        raise ConfigError(f"{path[:80]!r} names no key; write section.key")

    def edit(table: Table) -> None:
        for parent in parents:
            inner = section(table, parent)
            table = inner
        table[key] = value

    return edit


def section(table: Table, key: str) -> Table:
    """Return the table at a key, made where there is none.

    Raises:
        ConfigError: Something else is there.
    """
    found = table.get(key)
    if found is None or found in ("", "null", "~"):
        found = table[key] = _like(table)
    if not isinstance(found, dict):
        raise ConfigError(f"{key}: needs `key: value` lines; edit the file by hand")
    return found


def keep_mask(folder: Path, watch: str, png: bytes) -> str:
    """Write a painted mask beside the configuration and return its path from there.

    Each mask has a name of its own, so that an earlier configuration finds its own again.

    Raises:
        ConfigError: It is no picture, too large, hides the whole region, or cannot be written.
    """
    mask = check_mask(png)
    if mask.hidden_share == 0.0:
        raise ConfigError("mask: it hides nothing; paint over what must not count")
    name = f"{MASKS}/{watch}-{hashlib.sha256(png).hexdigest()[:8]}.png"
    path = folder / name
    try:
        path.parent.mkdir(mode=0o750, exist_ok=True)
        if not exists(path):
            write_with_mode(path, png, like=path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot write the mask ({error.strerror})") from error
    return name


def check_mask(png: bytes) -> Mask:
    """Return the mask of a picture from a page.

    Raises:
        ConfigError: It is no picture, too large, or hides the whole region.
    """
    try:
        header = read_header(png)
        if header is None or header.size is None:
            raise ValueError("it is no picture")
        if header.size[0] * header.size[1] > MAX_MASK_PIXELS:
            raise ValueError(f"it has more than {MAX_MASK_PIXELS} pixels")
        return Mask.painted(decode_mask(png))
    except ValueError as error:
        raise ConfigError(f"mask: {error}") from error


def forget_mask(folder: Path, mask: str | None) -> None:
    """Delete a mask of `keep_mask` that no configuration uses."""
    if mask is not None and mask.startswith(f"{MASKS}/"):
        with suppress(OSError):
            (folder / mask).unlink()


def _check_states(states: tuple[str, ...]) -> None:
    if len(states) > MAX_STATES:
        raise ConfigError(f"{len(states)} states are more than {MAX_STATES}")
    for state in states:
        if is_reserved(state):
            raise ConfigError(f"the state {state!r} is reserved; choose another name")
        if states.count(state) > 1:
            raise ConfigError(f"the state {state!r} is given twice")


def _entry(table: Table, name: str) -> Table:
    watches = section(table, "watches")
    if name not in watches:
        raise ConfigError(f"there is no watch {name!r}{nearest(name, map(str, watches))}")
    entry = watches[name]
    if entry is None or entry in ("", "null", "~"):
        entry = watches[name] = _like(watches)
    if not isinstance(entry, dict):
        raise ConfigError(f"watches.{name}: needs `key: value` lines; edit the file by hand")
    return entry


def _source(table: Table, source: NewSource) -> str:
    """Return the name of the source of a new watch, which is added if it is new."""
    sources = section(table, "sources")
    address = source.address()
    if address is None:
        if source.name not in sources:
            known = nearest(source.name, map(str, sources))
            raise ConfigError(f"there is no source {source.name!r}{known}; give its uri")
        return str(source.name)
    uri = address.strip()
    for name, entry in _entries(sources):
        if entry.get("uri") == uri and source.name in (None, name):
            return name
    name = source.name or _free_name(sources)
    if name in sources:
        raise ConfigError(f"there is a source {name!r} already; choose another name")
    _name_only_source(table)
    new: dict[str, Any] = {"uri": uri}
    if source.rotate:
        new["rotate"] = source.rotate
    sources[name] = new
    return name


def _name_only_source(table: Table) -> None:
    """Name the source in watches that could leave it out as long as there was one."""
    sources = list(section(table, "sources"))
    if len(sources) != 1:
        return
    watches = table.get("watches")
    for _, entry in _entries(watches if isinstance(watches, dict) else {}):
        if entry.get("source") in (None, "", "null", "~"):
            entry["source"] = str(sources[0])


def _entries(tables: Mapping[str, Any]) -> Iterator[tuple[str, Table]]:
    for name, entry in tables.items():
        if isinstance(entry, dict):
            yield str(name), entry


def _free_name(sources: Mapping[str, Any]) -> str:
    number = 1
    while (name := "camera" if number == 1 else f"camera{number}") in sources:
        number += 1
    return name


def _like(table: Table) -> Table:
    """Return an empty table of the same kind, which keeps comments if the other one does."""
    if type(table) is dict:
        return {}
    from ruamel.yaml.comments import CommentedMap

    made: Table = CommentedMap()
    return made
