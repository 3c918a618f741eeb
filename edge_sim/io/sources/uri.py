"""Uris of sources: kind, place and settings."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl

from edge_sim.core.files import exists, expanded, is_dir, start_of
from edge_sim.core.picture_header import holds_picture, read_header
from edge_sim.errors import ConfigError
from edge_sim.secrets import MASK, mask_secrets

_READ_SUFFIXES = frozenset(
    [
        ".bmp",
        ".dib",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
PICTURE_SUFFIXES = _READ_SUFFIXES | frozenset(
    [
        ".arw",
        ".avif",
        ".cur",
        ".emf",
        ".eps",
        ".exr",
        ".hdr",
        ".icb",
        ".ico",
        ".jpf",
        ".jpx",
        ".pam",
        ".pcd",
        ".pcx",
        ".pfm",
        ".pic",
        ".ras",
        ".rgbe",
        ".rw2",
        ".sgi",
        ".sr",
        ".srw",
        ".svg",
        ".svgz",
        ".tga",
        ".vda",
        ".wbmp",
        ".wdp",
        ".wmf",
        ".xbm",
        ".xcf",
        ".xpm",
        ".cr2",
        ".cr3",
        ".dng",
        ".gif",
        ".heic",
        ".heif",
        ".hif",
        ".j2k",
        ".jp2",
        ".jxl",
        ".nef",
        ".orf",
        ".psd",
        ".raf",
    ]
)
"""Names of picture files: not all of them can be read, none is passed over in silence."""
_NUMBERED = re.compile(r"%0?\d*d")
_START_BYTES = 512  # of a file, enough to distinguish a picture from a video

# Two letters or more: `C:` is a drive.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?=:)")
_FILE_SCHEMES = frozenset({"folder", "video"})
_SETTING = re.compile(r"[A-Za-z_]+=")
_AUTHORITY = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>.*)", re.DOTALL)
# As in `/user=admin_password=..._channel=1`, which real cameras want.
_SECRET_IN_PATH = re.compile(
    r"(?P<key>(?:passwd|password|pass|pas|pwd|pw|psw|token|secret)=)[^&;#?/]*", re.IGNORECASE
)
_SECRET_KEY = re.compile(
    r"(?P<key>[?&;][^=&;]*(?:pass|pwd|secret|token|key|auth|sig|credential)[^=&;]*=)[^&;#]*",
    re.IGNORECASE,
)


def split_uri(uri: str) -> tuple[str, str]:
    """Return the scheme and the rest of `uri`; plain paths get the scheme of their kind.

    A folder, a glob and a picture give `folder`, a device file and a bare number `v4l2`, any
    other path `video`. A file is a picture if it holds one, whatever its name.

    Raises:
        ConfigError: The string is empty, or a pattern such as `img_%06d.png`.
        AccessError: The system denies access.
    """
    text = uri.strip()
    if not text or "\0" in text:
        raise ConfigError("a source needs a uri such as /dev/video0, rtsp://..., or a file")
    if text.isdecimal() or text.startswith("/dev/"):
        return "v4l2", text
    scheme = _SCHEME.match(text)
    if scheme and ("://" in text or not exists(text)):
        return scheme.group().lower(), text[scheme.end() + 1 :]
    path = Path(expanded(text))
    if _NUMBERED.search(path.name) and not exists(path):
        pattern = _NUMBERED.sub("*", text)
        raise ConfigError(f"{text}: no such file; numbered pictures are named by a glob: {pattern}")
    return ("folder" if is_dir(path) or is_glob(text) or is_picture(path) else "video"), text


def is_picture(path: Path) -> bool:
    """Return whether a path is that of a picture: by what the file holds, else by its name.

    Raises:
        AccessError: The file may not be read.
    """
    by_name = path.suffix.lower() in PICTURE_SUFFIXES
    start = start_of(path, _START_BYTES)
    return holds_picture(start, path.suffix, by_name=by_name) if start else by_name


def belongs_to_pictures(path: Path) -> bool:
    """Return whether an entry of a folder is one of its pictures, or should have been one.

    Decided by the name or else the content; also True for what is no regular file, such as a pipe,
    and for pictures of kinds that are not read, so that none is passed over in silence. Folders,
    and files whose name begins with a dot, are not pictures.
    """
    if path.name.startswith("."):
        return False  # also `._a.jpg`, which macOS keeps beside `a.jpg` on other disks
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return False
        if path.suffix.lower() in PICTURE_SUFFIXES or not stat.S_ISREG(mode):
            return True
        return read_header(start_of(path, _START_BYTES)) is not None
    except (OSError, ValueError):  # a link that leads nowhere; a file that may not be read
        return path.suffix.lower() in PICTURE_SUFFIXES


def anchored(uri: str, folder: str) -> str:
    """Return `uri` with a relative path in it starting at `folder`; other uris as they are."""
    text = uri.strip()
    scheme = _SCHEME.match(text)
    if scheme and ("://" in text or not exists(Path(folder) / text)):
        if scheme.group().lower() not in _FILE_SCHEMES:
            return uri
        place = local_path(text[scheme.end() + 1 :])
        return f"{scheme.group()}:{Path(folder) / place}"
    if not text or text.isdecimal() or text.startswith(("/dev/", "~")):
        return uri
    return str(Path(folder) / text)


def label(name: str | None, place: str) -> str:
    """Return the name of a source in messages: its name, and its place unless that is in it."""
    hidden = masked(place)
    if not name:
        return hidden
    return name if hidden in name else f"{name} ({hidden})"


def is_glob(text: str) -> bool:
    """Return whether `text` holds `*`, `?` or `[`, and is no existing path of that name."""
    return any(letter in text for letter in "*?[") and not exists(expanded(text))


def local_path(place: str) -> str:
    """Return the path in `//path`, `///path` or `path`; `~` is expanded."""
    text = place[2:] if place.startswith("//") else place
    return expanded(text)


def split_settings(place: str) -> tuple[str, dict[str, str]]:
    """Return the place and its `?key=value&...` settings.

    A `?` that no `key=` follows belongs to the place: it may be part of a glob.
    """
    before, mark, after = place.rpartition("?")
    if not mark or not _SETTING.match(after):
        return place, {}
    return before, dict(parse_qsl(after, keep_blank_values=True))


def masked(uri: str) -> str:
    """Return `uri` with passwords and tokens replaced by `***`; never raises."""
    match = _AUTHORITY.match(uri)
    if match:
        rest = _without_password(match["rest"])
        uri = match["scheme"] + _SECRET_IN_PATH.sub(lambda found: found["key"] + MASK, rest)
    return mask_secrets(_SECRET_KEY.sub(lambda found: found["key"] + MASK, uri))


def number(settings: Mapping[str, str], key: str, default: float, *, what: str) -> float:
    """Return the setting as a finite number above 0.

    Raises:
        ConfigError: It is not; `what` names the source in the message.
    """
    text = settings.get(key)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise ConfigError(f"{what}: {key} must be a number above 0, got {text!r}")
    return value


def _without_password(rest: str) -> str:
    # A password may itself hold an unescaped @ or /, so the last @ before the query ends it, even
    # where that hides the host as well; unless no @ is meant for a password at all.
    query_at = next((at for at, letter in enumerate(rest) if letter in "?#"), len(rest))
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        at = rest.rfind("@", 0, query_at)
    elif re.match(r"[^:/?#]*:(?!\d+[/?#])", rest):
        at = rest.rfind("@")
    else:
        at = -1
    if at < 0:
        return rest
    user, colon, _ = rest[:at].partition(":")
    return (f"{user}:{MASK}" if colon else MASK) + rest[at:]
