"""Reading of the files of a folder of packs, from a disk or over HTTP, in bounded size and time."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_sim.core.files import is_dir, is_file
from edge_sim.errors import ModelError, PackError
from edge_sim.vision.embedders.model_pull import Limits, download

_CHUNK_BYTES = 1 << 20
_ADVICE = "check the network, or copy the folder here and name that"


@dataclass(frozen=True, slots=True)
class PackFetcher:
    """Reader of the files of a folder, or of the same folder behind an HTTP server.

    Args:
        place: Path of the folder, or its http or https address.
        stall_s: Longest time without a byte, seconds.
        whole_s: Longest time of one file, seconds.
        clock: Clock that returns monotonic seconds.
        check: Function that is called after every block; what it raises ends the download.
    """

    place: str
    stall_s: float = 30.0
    whole_s: float = 1800.0
    clock: Callable[[], float] = time.monotonic
    check: Callable[[], None] = lambda: None

    def fetch(self, name: str, out: Path, limit: int) -> bool:
        """Write a file to `out`, at most `limit` bytes; return False if there is none.

        Raises:
            PackError: It cannot be read, is larger, or takes too long.
        """
        try:
            if self.place.startswith(("http://", "https://")):
                return self._download(name, out, limit)
            return self._copy(Path(self.place) / name, out, limit)
        except OSError as error:
            raise PackError(f"{out}: cannot write ({error.strerror or error})") from error

    def _download(self, name: str, out: Path, limit: int) -> bool:
        limits = Limits(limit, self.stall_s, self.whole_s, self.clock)
        opener = urllib.request.build_opener()
        url = f"{self.place.rstrip('/')}/{name}"
        try:
            download(
                *(url, out),
                opener=opener,
                progress=lambda _done, _total: self.check(),
                limits=limits,
                advice=_ADVICE,
            )
        except ModelError as error:
            cause = error.__cause__
            if isinstance(cause, urllib.error.HTTPError) and cause.code == 404:
                return False
            raise PackError(str(error)) from error
        return True

    def _copy(self, path: Path, out: Path, limit: int) -> bool:
        if not is_dir(self.place):
            raise PackError(f"{self.place}: there is no such folder; name one, or an http address")
        if not is_file(path):
            return False
        try:
            source = path.open("rb")
        except OSError as error:
            raise PackError(f"{path}: cannot read ({error.strerror or error})") from error
        with source, out.open("wb") as target:
            left = limit
            while block := source.read(_CHUNK_BYTES):
                left -= len(block)
                if left < 0:
                    raise PackError(f"{path}: larger than {limit} bytes; not read on")
                target.write(block)
                self.check()
        return True
