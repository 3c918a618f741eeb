"""Files of the page: a fixed table, made once; no path from outside reaches the file system."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(__file__).resolve().parent / "pages"
INDEX = "index.html"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """File of the page.

    Args:
        kind: Content type.
        content: Content.
        packed: Content, compressed with gzip.
        tag: ETag.
    """

    kind: str
    content: bytes
    packed: bytes
    tag: str


class PageFiles:
    """Files in the folder of the page, by their path in an address.

    Args:
        folder: Folder of the pages.
        others: Further folders, by their first name in an address.
        index: Folder with the `index.html` that is the first page; None is `folder`.
    """

    def __init__(
        self,
        folder: Path = FOLDER,
        *,
        others: Mapping[str, Path] | None = None,
        index: Path | None = None,
    ) -> None:
        self._paths: dict[str, Path] = {}
        for name, place in {"pages": folder, **(others or {})}.items():
            for item in sorted(place.rglob("*")):
                if item.suffix in KINDS:
                    self._paths[f"/{name}/{item.relative_to(place).as_posix()}"] = item
        first = (index or folder) / INDEX
        if first in self._paths.values():
            self._paths["/"] = first
        self._known: dict[Path, tuple[tuple[int, int], PageFile]] = {}

    @property
    def paths(self) -> Mapping[str, Path]:
        """Files by path."""
        return self._paths

    def get(self, path: str) -> PageFile:
        """Return a file, read again if it has changed.

        Raises:
            KeyError: There is none of this path.
            OSError: It cannot be read.
        """
        file = self._paths[path]
        status = file.stat()
        version = status.st_mtime_ns, status.st_size
        known = self._known.get(file)
        if known is None or known[0] != version:
            content = file.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            packed = gzip.compress(content, mtime=0)
            known = version, PageFile(KINDS[file.suffix], content, packed, tag)
            self._known[file] = known
        return known[1]

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route(path, self._respond, methods=["GET"]) for path in self._paths]

    async def _respond(self, request: Request) -> Response:
        file = self.get(request.scope["path"])
        headers = {"ETag": file.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if file.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        headers["Content-Type"] = file.kind
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.packed, headers={**headers, "Content-Encoding": "gzip"})
        return Response(file.content, headers=headers)
