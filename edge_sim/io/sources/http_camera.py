"""Cameras at http and https addresses: multipart JPEG, single pictures, play lists, other video.

Pictures are decoded here. Other video reaches FFmpeg through a pipe, so that nothing in it can
make FFmpeg open a file or connect to another host.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urljoin

from numpy.typing import NDArray

from edge_sim.core.picture_header import read_header
from edge_sim.core.raw_pictures import JpegPicture, RawPicture
from edge_sim.errors import SourceError
from edge_sim.io.sources.capture import Capture, GrabbingCapture, VideoWrapper
from edge_sim.io.sources.http import MAX_BODY_BYTES, ByteReader, CameraAnswer, HttpClient, same_host
from edge_sim.io.sources.options import SourceOptions

_MAX_LIST_BYTES = 1 << 20
_MAX_PART_LINES = 64
_JOIN_S = 2.0
_SEGMENTS_BEHIND = 3
"""Segments before the end of a live play list at which playing begins (RFC 8216, 6.3.3)."""
_HEAD_BYTES = 512
_ATTRIBUTE = re.compile(r'(?P<key>[A-Z0-9-]+)=(?:"(?P<quoted>[^"]*)"|(?P<plain>[^,]*))')

OpenVideo = Callable[[str], GrabbingCapture]
"""Opens FFmpeg's name of a pipe."""


def open_http_camera(uri: str, name: str, options: SourceOptions, open_video: OpenVideo) -> Capture:
    """Return the open camera at an address; its kind is that of the answer.

    Args:
        uri: Address, http or https.
        name: Name of the source in messages.
        options: Time-outs, certificates, interval of polling.
        open_video: Opens video that is not made of pictures.

    Raises:
        ConfigError: The file of certificates cannot be used.
        SourceError: It cannot be opened, or gives neither pictures nor video.
    """
    client = HttpClient(options)
    try:
        answer = client.get(uri)
    except SourceError as error:
        raise SourceError(f"{name}: the stream does not open: {error}") from error
    try:
        head = answer.body.peek(_HEAD_BYTES)
    except (OSError, ValueError) as error:
        answer.connection.close()
        raise SourceError(f"{name}: the stream does not open: {error}") from error
    kind = answer.content_type
    if kind.startswith("multipart/") or head.lstrip().startswith(b"--"):
        return MjpegCamera(answer, name)
    if kind.startswith("image/") or ("video" not in kind and read_header(head) is not None):
        return SnapshotCamera(client, uri, name, options, answer)
    if head.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"#EXTM3U"):
        try:
            play_list = PlayList(client, answer)
        except (OSError, ValueError) as error:
            answer.connection.close()
            raise SourceError(f"{name}: the stream does not open: {error}") from error
        pieces = play_list.pieces(options.read_timeout_s)
        return PipedVideo(pieces, play_list.close, name, open_video, options.open_timeout_s)
    if b"\0" not in head and (
        kind.startswith("text/") or kind.endswith(("json", "xml")) or not head
    ):
        answer.connection.close()
        found = f"a page ({kind})" if head else "nothing"
        raise SourceError(
            f"{name}: the stream does not open: the address gives {found}, neither pictures nor "
            f"video; use that of the camera's stream"
        )
    close = answer.connection.close
    return PipedVideo(_pieces(answer), close, name, open_video, options.open_timeout_s)


class MjpegCamera:
    """A multipart answer whose parts are pictures.

    Args:
        answer: Its body unread.
        name: Name of the source in messages.
    """

    def __init__(self, answer: CameraAnswer, name: str) -> None:
        self._connection = answer.connection
        self._body = answer.body
        self._name = name
        self._boundary = b""
        self._data = b""
        self.part = 1
        """Divisor of both sides at which pictures are decoded, see `JpegPicture`."""

    def read(self) -> NDArray[Any] | RawPicture | None:
        """Return the next picture; None for a part that is none.

        Raises:
            SourceError: The stream ended, stalled, or sends what is no multipart stream.
        """
        self.grab()
        return self.retrieve()

    def grab(self) -> bool:
        """Take the next part; always return True.

        Raises:
            SourceError: The stream ended, stalled, or sends what is no multipart stream.
        """
        self._connection.extend()
        try:
            data = self._part()
        except (OSError, ValueError) as error:
            raise SourceError(f"{self._name}: lost: {error}") from error
        if data is None:
            raise SourceError(f"{self._name}: lost: the camera ended the stream")
        self._data = data
        return True

    def retrieve(self) -> NDArray[Any] | RawPicture | None:
        """Return the picture of the last part, decoded; None if it is none.

        Raises:
            SourceError: It is too large.
        """
        try:
            return JpegPicture(self._data, self.part)
        except ValueError as error:
            if "more than" in str(error):
                raise SourceError(f"{self._name}: {error}") from error
            return None

    def release(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _part(self) -> bytes | None:
        for _ in range(_MAX_PART_LINES):
            line = self._body.line()
            if line is None:
                return None
            if line.startswith(b"--") and (not self._boundary or line.startswith(self._boundary)):
                self._boundary = self._boundary or line.rstrip()
                break
        else:
            raise ValueError("its parts have no boundary")
        length = -1
        for _ in range(_MAX_PART_LINES):
            line = self._body.line()
            if line is None:
                return None
            if not line:
                break
            key, _, value = line.partition(b":")
            if key.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
        if length > MAX_BODY_BYTES:
            raise ValueError(f"a picture of {length} bytes")
        if length > 0:
            return self._body.exactly(length)
        marks = (b"\r\n" + self._boundary, b"\n" + self._boundary)
        data = self._body.until(marks, MAX_BODY_BYTES)
        if data is not None:
            self._body.line()  # the end of line before the boundary
        return data


class SnapshotCamera:
    """A camera that gives one picture per request; asked again and again.

    Args:
        client: Asks.
        url: Address of the picture.
        name: Name of the source in messages.
        options: `poll_s`.
        first: Answer to the first request, its body unread.
    """

    def __init__(
        self, client: HttpClient, url: str, name: str, options: SourceOptions, first: CameraAnswer
    ) -> None:
        self._client = client
        self._url = url
        self._name = name
        self.pause_s = options.poll_s
        self.part = 1
        """Divisor of both sides at which pictures are decoded, see `JpegPicture`."""
        self._first: CameraAnswer | None = first
        self._connection = first.connection
        self._asked_s: float | None = None

    @property
    def due_in_s(self) -> float:
        """Seconds until the next request."""
        if self._asked_s is None:
            return 0.0
        return max(self._asked_s + self.pause_s - time.monotonic(), 0.0)

    def read(self) -> NDArray[Any] | RawPicture | None:
        """Return the next picture, after waiting until it is due.

        Raises:
            SourceError: The camera gave none, twice in a row.
        """
        time.sleep(self.due_in_s)
        self._asked_s = time.monotonic()
        try:
            data = self._picture()
        except (OSError, ValueError):
            try:
                data = self._picture()
            except (OSError, ValueError) as error:
                raise SourceError(f"{self._name}: lost: {error}") from error
        try:
            return JpegPicture(data, self.part)
        except ValueError as error:
            raise SourceError(f"{self._name}: {error}") from error

    def release(self) -> None:
        """Close the connection, if one is open."""
        self._connection.close()

    def _picture(self) -> bytes:
        answer, self._first = self._first, None
        if answer is None:
            answer = self._client.get(self._url)
        self._connection = answer.connection
        answer.connection.extend()
        with closing(answer.connection):
            return answer.body.rest(MAX_BODY_BYTES)


class PipedVideo(VideoWrapper):
    """Video that a thread copies from a connection to FFmpeg.

    Args:
        pieces: Bytes of the video; raises an OSError or ValueError where they stop coming.
        stop: Ends `pieces`, from another thread.
        name: Name of the source in messages.
        open_video: Opens FFmpeg's name of the pipe.
        open_s: Longest time for that, seconds: FFmpeg's own time-out does not end a read of a pipe.

    Raises:
        SourceError: It is no video that FFmpeg can read.
    """

    def __init__(
        self,
        pieces: Iterator[bytes],
        stop: Callable[[], None],
        name: str,
        open_video: OpenVideo,
        open_s: float,
    ) -> None:
        self._is_open = False
        self._open_s = open_s
        self._begun_s = time.monotonic()
        self._stop = stop
        self._name = name
        self._fault = ""
        self.received_s = time.monotonic()
        """Time of the last bytes from the camera, monotonic seconds."""
        self._end, writing = os.pipe()
        self._thread = threading.Thread(
            target=self._copy, args=(pieces, writing), name=f"pipe {name}", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:
            os.close(writing)
            os.close(self._end)
            stop()
            raise
        try:
            self._video = open_video(f"pipe:{self._end}")
        except SourceError as error:
            self._give_back()
            # Of its kind: an interlaced stream is opened again otherwise.
            raise type(error)(f"{error}{self._reason()}") from error
        self._is_open = True

    def read(self) -> NDArray[Any] | RawPicture | None:
        """Return the next picture; None where FFmpeg gave none.

        Raises:
            SourceError: The camera stopped sending.
        """
        return self.retrieve() if self.grab() else None

    def grab(self) -> bool:
        """Decode the next picture; return False where FFmpeg gave none.

        Raises:
            SourceError: The camera stopped sending.
        """
        taken = self._video.grab()
        if not taken and not self._thread.is_alive():
            raise SourceError(
                f"{self._name}: lost{self._reason() or ': the camera ended the stream'}"
            )
        return taken

    def retrieve(self) -> NDArray[Any] | RawPicture | None:
        """Return the picture of the last `grab`; None if it is none."""
        return self._video.retrieve()

    def interrupt(self) -> None:
        """End a read that waits, from another thread."""
        self._stop()

    def release(self) -> None:
        """Close the connection and the pipe."""
        self._stop()
        self._video.release()
        self._give_back()

    def _reason(self) -> str:
        return f": {self._fault}" if self._fault else ""

    def _give_back(self) -> None:
        self._stop()
        os.close(self._end)  # ends a write that waits
        self._thread.join(_JOIN_S)

    def _copy(self, pieces: Iterator[bytes], writing: int) -> None:
        try:
            for piece in pieces:
                self.received_s = time.monotonic()
                if not self._is_open and self.received_s - self._begun_s > self._open_s:
                    raise ValueError(f"no picture within {self._open_s:g} s")
                left = memoryview(piece)
                while left:
                    left = left[os.write(writing, left) :]
        except BrokenPipeError:
            pass
        except (OSError, ValueError) as error:
            self._fault = str(error)
        finally:
            os.close(writing)


class PlayList:
    """Segments of an HLS play list (RFC 8216), all from the host of its address.

    Args:
        client: Asks for the segments.
        answer: The play list, its body unread.

    Raises:
        SourceError: It names another host, or its segments are encrypted or parts of files.
        ValueError: It is too long.
    """

    def __init__(self, client: HttpClient, answer: CameraAnswer) -> None:
        self._client = client
        self._url = answer.url
        self._stopped = threading.Event()
        self._connection = answer.connection
        self._lines = self._parse(answer)
        variant = next(
            (
                after
                for line, after in zip(self._lines, self._lines[1:], strict=False)
                if line.startswith("#EXT-X-STREAM-INF") and not after.startswith("#")
            ),
            None,
        )
        if variant is not None:
            self._url = self._resolve(variant)
            self._reload()

    def close(self) -> None:
        """End `pieces`, from any thread."""
        self._stopped.set()
        self._connection.close()

    def pieces(self, stall_s: float) -> Iterator[bytes]:
        """Yield the bytes of the segments, as they appear in the list.

        Args:
            stall_s: Longest time without a new segment, seconds, unless three are longer.

        Raises:
            SourceError: A segment does not come, or the list changes to what is not allowed.
            ValueError: No new segment appears.
        """
        played, new_s = -1, time.monotonic()
        start: str | None = None
        while not self._stopped.is_set():
            segments, is_complete, longest_s = self._segments()
            if played < 0 and not is_complete:
                segments = segments[-_SEGMENTS_BEHIND:]
            for number, url, header in segments:
                if number <= played or self._stopped.is_set():
                    continue
                if header is not None and header != start:
                    start = header
                    yield from self._bytes_at(header)
                yield from self._bytes_at(url)
                played, new_s = number, time.monotonic()
            if is_complete:
                return
            if time.monotonic() - new_s > max(stall_s, 3 * longest_s):
                raise ValueError("its play list names no new segment")
            self._stopped.wait(longest_s / 2)
            self._reload()

    def _segments(self) -> tuple[list[tuple[int, str, str | None]], bool, float]:
        """Return number, address and header of each segment, whether the list is complete, and
        the longest length of a segment in seconds."""
        number, longest_s, header = 0, 2.0, None
        found: list[tuple[int, str, str | None]] = []
        for line in self._lines:
            key, _, value = line.partition(":")
            if key == "#EXT-X-MEDIA-SEQUENCE" and value.isdecimal():
                number = int(value)
            elif key == "#EXT-X-TARGETDURATION" and value.isdecimal():
                longest_s = min(max(float(value), 1.0), 60.0)
            elif key == "#EXT-X-MAP":
                header = self._resolve(_attributes(value).get("URI", ""))
            elif not line.startswith("#"):
                found.append((number, self._resolve(line), header))
                number += 1
        return found, "#EXT-X-ENDLIST" in self._lines, longest_s

    def _bytes_at(self, url: str) -> Iterator[bytes]:
        answer = self._client.get(url)
        self._connection = answer.connection
        with closing(answer.connection):
            yield from _pieces(answer)

    def _reload(self) -> None:
        answer = self._client.get(self._url)
        self._connection = answer.connection
        self._lines = self._parse(answer)

    def _parse(self, answer: CameraAnswer) -> list[str]:
        with closing(answer.connection):
            text = answer.body.rest(_MAX_LIST_BYTES).decode("utf-8-sig", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        for line in lines:
            key, _, value = line.partition(":")
            if key == "#EXT-X-KEY" and _attributes(value).get("METHOD") != "NONE":
                raise SourceError("its play list is encrypted, which is not supported")
            if key == "#EXT-X-BYTERANGE" or "BYTERANGE" in _attributes(value):
                raise SourceError("its play list names parts of files, which is not supported")
            named = line if not line.startswith("#") else _attributes(value).get("URI")
            if named is not None:
                self._resolve(named)
        return lines

    def _resolve(self, named: str) -> str:
        url = urljoin(self._url, named)
        if not same_host(self._url, url):
            raise SourceError(
                f"its play list names {url[:200]!r}, which is not on the camera's host"
            )
        return url


def _attributes(text: str) -> dict[str, str]:
    """Return the attributes of a tag of a play list."""
    return {
        found["key"]: found["plain"] if found["quoted"] is None else found["quoted"]
        for found in _ATTRIBUTE.finditer(text)
    }


def _pieces(answer: CameraAnswer) -> Iterator[bytes]:
    body: ByteReader = answer.body
    while True:
        answer.connection.extend()
        piece = body.some()
        if not piece:
            return
        yield piece
