"""Sources of frames. One string opens any of them:

/dev/video0, /dev/v4l/by-id/..., 0      USB camera (also v4l2:/dev/video0)
rtsp://..., http://..., https://...     network camera or stream
csi:0                                   ribbon-cable camera of a Raspberry Pi
clip.mp4                                video file (also video:clip.mp4)
pictures/, 'pictures/*.jpg'             pictures in natural order of their names
folder:pictures?times=labels.csv        pictures with times from a table
synthetic:bowl?seed=3&nuisances=noise   drawn scene with known states; live=1: in real time

Schemes of your own come from `register_source`, or from the entry points `edge_sim.sources` of an
installed package.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from edge_sim.core.plugins import entry_point_names, load_entry_point
from edge_sim.core.protocols import FrameSource
from edge_sim.errors import ConfigError
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.registered import check_opener, open_registered
from edge_sim.io.sources.uri import masked, split_uri

ENTRY_POINTS = "edge_sim.sources"
"""Group of entry points whose names are schemes and whose objects are openers."""

SourceOpener = Callable[[str, SourceOptions], FrameSource]
"""Opens the part of the uri after `scheme:`; the options carry a name."""

SourceCheck = Callable[[str, SourceOptions], None]
"""Raises `ConfigError` for a place that can never work; opens nothing."""


def _v4l2(place: str, options: SourceOptions) -> FrameSource:
    from edge_sim.io.sources.cameras import open_camera

    return open_camera(place, options)


def _stream(scheme: str) -> SourceOpener:
    def open_it(place: str, options: SourceOptions) -> FrameSource:
        from edge_sim.io.sources.stream import open_stream

        return open_stream(f"{scheme}:{place}", options)

    return open_it


def _check_stream(scheme: str) -> SourceCheck:
    def check_it(place: str, options: SourceOptions) -> None:
        from edge_sim.io.sources.stream import check_stream

        check_stream(f"{scheme}:{place}", options)

    return check_it


def _csi(place: str, options: SourceOptions) -> FrameSource:
    from edge_sim.io.sources.csi import open_csi

    return open_csi(place, options)


def _check_csi(place: str, _: SourceOptions) -> None:
    from edge_sim.io.sources.csi import csi_number

    csi_number(place)


def _video(place: str, options: SourceOptions) -> FrameSource:
    from edge_sim.io.sources.video import open_video

    return open_video(place, options)


def _folder(place: str, options: SourceOptions) -> FrameSource:
    from edge_sim.io.sources.pictures import open_pictures

    return open_pictures(place, options)


def _synthetic(place: str, options: SourceOptions) -> FrameSource:
    from edge_sim.io.sources.synthetic.source import open_synthetic

    return open_synthetic(place, options)


@dataclass(frozen=True, slots=True)
class _Kind:
    open: SourceOpener
    live: bool
    check: SourceCheck | None = None


_KINDS: Mapping[str, _Kind] = {
    "csi": _Kind(_csi, live=True, check=_check_csi),
    "folder": _Kind(_folder, live=False),
    "http": _Kind(_stream("http"), live=True, check=_check_stream("http")),
    "https": _Kind(_stream("https"), live=True, check=_check_stream("https")),
    "rtsp": _Kind(_stream("rtsp"), live=True, check=_check_stream("rtsp")),
    "rtsps": _Kind(_stream("rtsps"), live=True, check=_check_stream("rtsps")),
    "synthetic": _Kind(_synthetic, live=False),
    "v4l2": _Kind(_v4l2, live=True),
    "video": _Kind(_video, live=False),
}


_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+")
_REGISTERED: dict[str, _Kind] = {}


def register_source(scheme: str, opener: SourceOpener, *, live: bool = True) -> None:
    """Make `scheme:...` a uri that `open_source` and the configuration understand.

    Call it before the configuration is used. Registering the same opener again changes nothing.

    Args:
        scheme: Two or more of `a-z`, `0-9`, `+`, `.`, `-`, beginning with a letter.
        opener: Function of the uri after `scheme:` and the options, whose name is set, that
            returns an open source. It raises `ConfigError` for a place that can never work and
            `SourceError` for one that does not work now.
        live: True for a camera: read in a thread of its own, reported as lost and tried again
            when `read` raises. A source that is not live is played once; its error ends the run.

    Raises:
        ConfigError: The scheme cannot be used, or means something else already.
    """
    if not isinstance(scheme, str) or not _SCHEME.fullmatch(scheme):
        raise ConfigError(
            f"{scheme!r} cannot be the scheme of a source: use two or more of a-z, 0-9, +, ., -, "
            f"beginning with a letter"
        )
    check_opener(scheme, opener)
    kind = _Kind(opener, live)
    if _KINDS.get(scheme) or _REGISTERED.get(scheme, kind) != kind:
        raise ConfigError(f"the scheme {scheme!r} of sources is taken; choose another one")
    _REGISTERED[scheme] = kind


def open_source(uri: str, options: SourceOptions | None = None) -> FrameSource:
    """Return the open source that `uri` names; close it after use (`contextlib.closing`).

    Raises:
        ConfigError: The uri is malformed or of no known kind.
        SourceError: The camera, stream or file cannot be opened.
    """
    if not isinstance(uri, str):
        raise ConfigError(f"open_source takes the uri as text, as in '0', got {uri!r}")
    options = options or SourceOptions()
    kind, place = _find(uri)
    options = msgspec.structs.replace(options, name=options.name or masked(uri))
    scheme = split_uri(uri)[0]
    if scheme in _KINDS:
        return kind.open(place, options)
    return open_registered(scheme, kind.open, place, options)


def check_source(uri: str, options: SourceOptions) -> None:
    """Check the uri of a source as far as that is possible without opening it.

    Raises:
        ConfigError: It is malformed, of no known kind, or can never work.
    """
    kind, place = _find(uri)
    if kind.check is not None:
        kind.check(place, options)


def is_live(uri: str, *, real_time: bool = False) -> bool:
    """Return whether `uri` names a camera or stream, which cannot be played again.

    Args:
        uri: The uri.
        real_time: Whether a synthetic scene counts as one, unless its uri says.

    Raises:
        ConfigError: The uri is malformed or of no known kind.
    """
    kind, place = _find(uri)
    if kind.open is not _synthetic:
        return kind.live
    from edge_sim.io.sources.synthetic.source import plays_live

    return plays_live(place, real_time=real_time)


def _find(uri: str) -> tuple[_Kind, str]:
    scheme, place = split_uri(uri)
    kind = _KINDS.get(scheme) or _REGISTERED.get(scheme) or _installed(scheme)
    if kind is None:
        known = [*_KINDS, *_REGISTERED, *entry_point_names(ENTRY_POINTS)]
        near = difflib.get_close_matches(scheme, known, n=1)
        hint = f"; did you mean {near[0]}:" if near else ""
        raise ConfigError(
            f"{masked(uri)}: no source of the kind {scheme!r}{hint} (there are {', '.join(known)})"
        )
    return kind, place


def _installed(scheme: str) -> _Kind | None:
    """Return the source that an installed package brings; its attribute `live` may be False."""
    opener = load_entry_point(ENTRY_POINTS, scheme)
    return None if opener is None else _Kind(opener, live=bool(getattr(opener, "live", True)))
