"""A file over HTTP, continued where an earlier try stopped.

What has arrived lies in a `.part` file under a lock; nobody sees half a file under its final name.
Whether it is the right file is for the caller to check: a server may have changed it in between.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.request import Request

from edge_sim.errors import ModelError

BLOCK_BYTES = 1 << 16
TIMEOUT_S = 30.0
"""Without a byte for so long, a connection is given up: longer than mobile networks stall."""
_RANGE_REFUSED = 416
_PARTIAL = 206
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")

Watch = Callable[[int, "int | None"], None]
"""Is told how many bytes there are and how many there will be, None where nobody said."""


class Opener(Protocol):
    """What sends a request; `urllib.request.build_opener()` makes one."""

    def open(self, fullurl: Any, data: Any = None, timeout: Any = None) -> Any:
        """Return the answer, a context manager with `status`, `headers` and `read`."""


def download(
    url: str,
    part: Path,
    *,
    opener: Opener,
    watch: Watch = lambda _done, _total: None,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Bring `part` to the whole content of `url`, from the bytes that it has already.

    A server that does not know of ranges sends everything again.

    Args:
        url: http or https.
        part: Is made if it is not there; keeps what has arrived when this fails.
        opener: Sends the requests.
        watch: Told after every block.
        timeout_s: Given up after so long without a byte.

    Raises:
        ModelError: No connection, a refusal, an end too soon, or `part` cannot be written.
    """
    if not url.startswith(("http://", "https://")):
        raise ModelError(f"{url}: not an http or https address")
    with _locked(part) as file:
        done = file.seek(0, os.SEEK_END)
        answer = _ask(opener, url, done, timeout_s)
        if answer is None and done:  # What is there is not the start of what the server has now.
            file.seek(0)
            file.truncate()
            done = 0
            answer = _ask(opener, url, done, timeout_s)
        if answer is None:
            raise ModelError(f"{url}: the server refuses to send the file")
        with closing(answer):
            _take(answer, url, file, watch)


@contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """Open `part` for this process alone; the system frees it when the process ends."""
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise ModelError(f"{part}: cannot write ({error.strerror})") from error
    try:
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ModelError(f"{part}: another process is fetching it; wait for it") from error
            yield file
            os.fsync(file)
    except OSError as error:
        raise ModelError(f"{part}: cannot write ({error.strerror})") from error
    finally:
        # A try that brought nothing leaves nothing.
        if part.is_file() and part.stat().st_size == 0:
            part.unlink(missing_ok=True)


def _ask(opener: Opener, url: str, done: int, timeout_s: float) -> Any:
    """Return the answer; None where the server has nothing from byte `done` on."""
    headers = {"User-Agent": "edge-sim", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    try:
        return opener.open(Request(url, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        with closing(error):
            if error.code == _RANGE_REFUSED:
                return None
            raise ModelError(f"{url}: the server says {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(url, error) from error


def _take(answer: Any, url: str, file: BinaryIO, watch: Watch) -> None:
    start, total = _span(answer)
    present = file.seek(0, os.SEEK_END)
    if start > present:
        raise ModelError(f"{url}: the server left out bytes before {start}; try again later")
    if start < present:
        file.seek(start)
        file.truncate()
    done = start
    watch(done, total)
    while block := _block(answer, url):
        done += _put(file, block)
        watch(done, total)
    if not done:
        raise ModelError(f"{url}: the server sends an empty file")
    if total is not None and done != total:
        raise ModelError(
            f"{url}: the connection ended after {done} of {total} bytes; run it again to continue"
        )


def _span(answer: Any) -> tuple[int, int | None]:
    """Return the first byte that is coming, and the size of the whole if it is said."""
    if answer.status == _PARTIAL:
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found is not None and found[1] is not None:
            return int(found[1]), None if found[2] == "*" else int(found[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isascii() and length.isdigit() else None


def _block(answer: Any, url: str) -> bytes:
    try:
        return bytes(answer.read(BLOCK_BYTES))
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(
            f"{url}: the connection broke ({_reason(error)}); run it again to continue"
        ) from error


def _put(file: BinaryIO, block: bytes) -> int:
    """Write all of `block`; a disk that is nearly full may take a part of it first."""
    written = 0
    while written < len(block):
        written += file.write(block[written:])
    return written


def _unreachable(url: str, error: Exception) -> ModelError:
    return ModelError(
        f"{url}: cannot be reached ({_reason(error)}); check the network, or fetch the file "
        f"elsewhere and name it with --from"
    )


def _reason(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
