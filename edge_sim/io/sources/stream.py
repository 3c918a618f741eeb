"""Network cameras: RTSP through a relay and FFmpeg, http and https through a client of our own."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import SplitResult, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import decode
from edge_sim.core.picture_header import check_size
from edge_sim.core.protocols import FrameSource
from edge_sim.core.raw_pictures import RawPicture
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources.capture import LONGEST_GAP_S, Capture, GrabbingCapture, VideoWrapper
from edge_sim.io.sources.http import (
    address_of,
    checked_address,
    connect_failure,
    in_words,
    target_of,
    tls_context,
)
from edge_sim.io.sources.http_camera import open_http_camera
from edge_sim.io.sources.interlaced import (
    DeinterlacedStream,
    EmptyStreamCheck,
    InterlacedError,
    check_fields,
    deinterlaced_by_opencv,
    has_pyav,
    holds_fields,
)
from edge_sim.io.sources.live import open_live
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.planar import PlanarStream
from edge_sim.io.sources.rtsp_relay import RtspRelay
from edge_sim.io.sources.uri import label

_ENCRYPTED = frozenset({"rtsps", "https"})
_LINE = re.compile(rb"(?:RTSP|HTTP)/\d\.\d (\d{3})\b")
_LINE_BYTES = 64
_INNER = 0.8
"""FFmpeg's own time-outs end earlier than ours: a clean end leaves no hanging thread."""
_DIAGNOSIS = 0.05
"""Share of the time for opening in which to connect, and in which to answer, in a diagnosis."""
_FIELDS = 0.4
"""Share of the time for opening in which to read the first frames of an interlaced stream."""
_MJPEG = int.from_bytes(b"MJPG", "little")


def open_stream(uri: str, options: SourceOptions) -> FrameSource:
    """Return the open source of an RTSP or HTTP(S) stream.

    Raises:
        ConfigError: The address can never work, or the file of certificates cannot be used.
        SourceError: The stream cannot be opened in time.
    """
    check_stream(uri, options)
    name = label(options.name, uri)
    return open_live(StreamOpener(uri, name, options).open, options)


def check_stream(uri: str, options: SourceOptions) -> None:
    """Check an address without connecting.

    Raises:
        ConfigError: The address can never work, or the file of certificates cannot be used.
    """
    try:
        checked_address(uri)
        if urlsplit(uri).scheme in _ENCRYPTED:
            tls_context(options)
    except ConfigError as error:
        raise ConfigError(f"{label(options.name, uri)}: {error}") from error


class InterlacedStreamError(SourceError):
    """A stream whose pictures OpenCV does not convert."""


class OpenCvStream:
    """A stream that FFmpeg reads.

    Args:
        address: Address, or FFmpeg's name of a pipe.
        name: Name of the source in messages.
        options: Time-outs.

    Raises:
        SourceError: It cannot be opened in time.
    """

    silence_hint = "; if its key frames are far apart, shorten their interval in the camera"

    def __init__(self, address: str, name: str, options: SourceOptions) -> None:
        self._name = name
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            round(options.open_timeout_s * _INNER * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            # Only this long: whoever hands FFmpeg the bytes ends a connection without any.
            round(max(options.read_timeout_s * _INNER, LONGEST_GAP_S) * 1000),
            cv2.CAP_PROP_N_THREADS,
            1,  # of decoding: by default FFmpeg starts one per core, for every camera
        ]
        self._capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(f"{name}: the stream does not open")
        try:
            self._check_frame_size()
            if not deinterlaced_by_opencv() and holds_fields(self._extra_data()):
                check_fields(self._capture, options.open_timeout_s * _FIELDS)
        except InterlacedError as error:
            self._capture.release()
            raise InterlacedStreamError(f"{name}: {error}") from error
        except ValueError as error:
            self._capture.release()
            raise SourceError(f"{name}: {error}") from error
        # As packets, decoded here: FFmpeg's converter keeps the colours of the first picture where
        # their sampling changes, and checks no size before it decodes.
        self._as_packets = self._capture.get(cv2.CAP_PROP_FOURCC) == _MJPEG and bool(
            self._capture.set(cv2.CAP_PROP_FORMAT, -1)
        )
        self._emptiness = EmptyStreamCheck()

    def read(self) -> NDArray[Any] | None:
        """Return the next picture; None at the end or after FFmpeg's time-out.

        Raises:
            SourceError: OpenCV cannot convert the pictures, or they are too large.
        """
        return self.retrieve() if self.grab() else None

    def grab(self) -> bool:
        """Decode the next picture; return False at the end or after FFmpeg's time-out."""
        return bool(self._capture.grab())

    def retrieve(self) -> NDArray[Any] | None:
        """Return the picture of the last `grab`, converted; None if it cannot be.

        Raises:
            SourceError: OpenCV cannot convert the pictures, or they are too large.
        """
        done, pixels = self._capture.retrieve()
        if not done:
            return None
        try:
            if self._as_packets:
                return self._decoded(pixels)
            self._emptiness.add(pixels)
        except ValueError as error:
            raise SourceError(f"{self._name}: {error}") from error
        return pixels

    def release(self) -> None:
        """Close the connection."""
        self._capture.release()

    def _check_frame_size(self) -> None:
        width, height = (
            int(self._capture.get(prop))
            for prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if width > 0 and height > 0:
            check_size(width, height)

    def _decoded(self, packet: NDArray[Any]) -> NDArray[Any] | None:
        try:
            return decode(packet.tobytes())
        except ValueError as error:
            if "more than" in str(error):
                raise
            return None

    def _extra_data(self) -> bytes:
        """Return the parameter sets of the codec; none where OpenCV does not give them."""
        place = int(self._capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX))
        if place <= 0:
            return b""
        done, data = self._capture.retrieve(flag=place)
        return np.asarray(data, np.uint8).tobytes() if done and data is not None else b""


class RelayedStream(VideoWrapper):
    """A stream that FFmpeg reads through a relay.

    Args:
        video: Opened at the address of the relay.
        relay: Connected to the camera.
        name: Name of the source in messages.
    """

    silence_hint = OpenCvStream.silence_hint

    def __init__(self, video: GrabbingCapture, relay: RtspRelay, name: str) -> None:
        self._video = video
        self._relay = relay
        self._name = name

    def read(self) -> NDArray[Any] | RawPicture | None:
        """Return the next picture; None where FFmpeg gave none.

        Raises:
            SourceError: The camera ended the stream, or its pictures cannot be used.
        """
        return self.retrieve() if self.grab() else None

    def grab(self) -> bool:
        """Decode the next picture; return False where FFmpeg gave none.

        Raises:
            SourceError: The camera ended the stream.
        """
        taken = self._video.grab()
        if not taken and not self._relay.alive:
            raise SourceError(
                f"{self._name}: lost: {self._relay.fault or 'the camera ended the stream'}"
            )
        return taken

    def retrieve(self) -> NDArray[Any] | RawPicture | None:
        """Return the picture of the last `grab`; None if it is none.

        Raises:
            SourceError: It cannot be used.
        """
        return self._video.retrieve()

    @property
    def received_s(self) -> float:
        """Time of the last bytes from the camera, monotonic seconds."""
        return self._relay.received_s

    def interrupt(self) -> None:
        """End a read that waits, from another thread."""
        self._relay.cut()

    def release(self) -> None:
        """Close the connections."""
        self._video.release()
        self._relay.close()


class StreamOpener:
    """Opens one stream, again after each loss.

    Args:
        uri: Address of the camera.
        name: Name of the source in messages.
        options: Time-outs, certificates, interval of polling.
    """

    def __init__(self, uri: str, name: str, options: SourceOptions) -> None:
        self._uri = uri
        self._name = name
        self._options = options
        self._is_interlaced = False

    def open(self) -> Capture:
        """Return the open stream; interlaced ones are decoded by PyAV, if it is installed.

        Raises:
            ConfigError: The file of certificates cannot be used.
            SourceError: It cannot be opened in time.
        """
        if self._options.decoder == "pyav":
            return self._opened(PlanarStream)
        if not self._is_interlaced:
            try:
                return self._opened(OpenCvStream)
            except InterlacedStreamError:
                if not has_pyav():
                    raise
                self._is_interlaced = True
        return self._opened(DeinterlacedStream)

    def _opened(self, kind: Callable[[str, str, SourceOptions], GrabbingCapture]) -> Capture:
        name, options = self._name, self._options
        if urlsplit(self._uri).scheme in ("http", "https"):
            return open_http_camera(
                self._uri, name, options, lambda pipe: kind(pipe, name, options)
            )
        try:
            relay = RtspRelay(self._uri, options)
        except SourceError as error:
            raise SourceError(f"{name}: the stream does not open: {error}") from error
        try:
            return RelayedStream(kind(relay.address, name, options), relay, name)
        except InterlacedStreamError:
            relay.close()
            raise
        except SourceError as error:
            relay.close()
            limit_s = options.open_timeout_s * _DIAGNOSIS
            raise SourceError(
                f"{error}: {relay.fault or diagnose_stream(self._uri, limit_s)}"
            ) from error


def diagnose_stream(uri: str, limit_s: float) -> str:
    """Return a sentence on why the stream at `uri` may not open; never raises.

    Connects and asks once, without user and password: a camera that locks an account after some
    wrong ones should not count this as another.

    Args:
        uri: Address of the scheme rtsp, rtsps, http or https.
        limit_s: Longest time for connecting, and as long again for the answer, seconds.
    """
    try:
        parts = checked_address(uri)
    except ConfigError as error:
        return str(error)
    host, port = address_of(parts)
    try:
        with socket.create_connection((host, port), timeout=limit_s) as sock:
            return in_words(_status(sock, parts), parts)
    except (OSError, UnicodeError) as error:
        return connect_failure(error, host, port)


def _status(sock: socket.socket, parts: SplitResult) -> int | None:
    """Return the number that the other end answers with; None if that is no answer."""
    # Without the part of the address before the last @: see `diagnose_stream`.
    authority = parts.netloc.rpartition("@")[2]
    target = target_of(parts)
    if parts.scheme.startswith("rtsp"):
        head = f"DESCRIBE {parts.scheme}://{authority}{target} RTSP/1.0\r\nCSeq: 1\r\n"
        head += "Accept: application/sdp\r\n"
    else:
        head = f"GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n"
    try:
        with _unverified(sock) if parts.scheme in _ENCRYPTED else closing(sock) as wire:
            wire.sendall(f"{head}User-Agent: edge_sim\r\n\r\n".encode("utf-8", "replace"))
            # The first bytes are enough; waiting for more has no end with a slow server.
            answer = wire.recv(_LINE_BYTES)
    except OSError:
        return None
    found = _LINE.match(answer)
    return int(found[1]) if found else None


def _unverified(sock: socket.socket) -> socket.socket:
    # Nothing secret is sent here.
    return tls_context(SourceOptions(verify=False)).wrap_socket(sock)
