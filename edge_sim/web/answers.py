"""Requests and answers of the API: one handler per address, with role, limits and errors alike."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.datastructures import FormData, Headers, QueryParams, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from edge_sim.core.events import unix_time_s, utc_text
from edge_sim.errors import AccessError, EdgeSimError
from edge_sim.web.callers import Caller, Role

if TYPE_CHECKING:
    from edge_sim.web.context import WebContext

T = TypeVar("T")
JSON = "application/json"
JPEG = "image/jpeg"
MAX_JSON_BYTES = 1_000_000
MAX_FILES = 500
FIRST, LAST = "", "9999"
"""Texts before and after every time."""
_LAST_S = 4e9  # in 2096; a text of a time has four digits for the year


class JsonResponse(Response):
    """Response of a value that msgspec encodes, structs and datetimes included."""

    media_type = JSON

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return msgspec.json.encode(content) + b"\n"


def error_response(
    status: int, text: str, headers: Mapping[str, str] | None = None
) -> JsonResponse:
    """Return an error in one line."""
    return JsonResponse({"error": text}, status, headers)


@dataclass(slots=True)
class ApiRequest:
    """Request as a handler gets it: whole, bounded, and from a caller who may send it.

    Args:
        context: Device, accounts and what requests share.
        caller: Sender.
        path: Parameters in the path.
        query: Parameters after the question mark.
        headers: Headers.
        body: Body, at most as long as the route allows; empty for files.
        files: Uploaded files, to be read with `file.file.read()`.
    """

    context: WebContext
    caller: Caller
    path: Mapping[str, str]
    query: QueryParams = field(default_factory=QueryParams)
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    files: tuple[UploadFile, ...] = ()

    def read(self, kind: type[T]) -> T:
        """Return the body as `kind`, a struct for msgspec.

        Raises:
            HTTPException: It is none.
        """
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HTTPException(422, f"the body is not as expected: {error}") from error

    def number(self, name: str, default: float | None = None) -> float | None:
        """Return a number of the query.

        Raises:
            HTTPException: It is no finite number.
        """
        text = self.query.get(name)
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not abs(value) < float("inf"):
            raise HTTPException(422, f"{name}: {text[:40]!r} is no number")
        return value

    def time(self, name: str) -> float | None:
        """Return a time of the query, seconds since 1970: given so, or as `unix_time_s` reads it.

        Raises:
            HTTPException: It is neither.
        """
        text = self.query.get(name)
        if not text:
            return None
        try:
            return unix_time_s(text) if "-" in text[1:] else self.number(name)
        except (ValueError, OverflowError) as error:
            raise HTTPException(422, f"{name}: {text[:40]!r} is no time") from error


def time_text(at_s: float | None, default: str) -> str:
    """Return a time of a request as lines of logs have it; `default` for None.

    One before 1970 or after 2096, as of milliseconds for seconds, is moved to there.
    """
    return default if at_s is None else utc_text(min(max(at_s, 0.0), _LAST_S))


Handler = Callable[[ApiRequest], Any]
"""A plain function runs in a thread of the pool and may wait; a coroutine function runs in the
event loop and must not. Returns a value for JSON, None for an empty answer, or a `Response`."""


def route(
    path: str,
    handler: Handler,
    *,
    method: str = "GET",
    role: Role | None = None,
    max_bytes: int = MAX_JSON_BYTES,
) -> Route:
    """Return the route of a handler.

    Args:
        path: Path below the root, with `{name}` for parameters.
        handler: Function that answers.
        method: Method of HTTP.
        role: Least role; by default viewer for GET and operator for anything else.
        max_bytes: Longest body.
    """
    least = role if role is not None else Role.VIEWER if method == "GET" else Role.OPERATOR

    async def endpoint(request: Request) -> Response:
        caller: Caller = request.scope["caller"]
        if caller.role < least:
            status = 403 if caller.user is not None or caller.is_known else 401
            return error_response(status, _denial(status, least))
        asked = await _api_request(request, caller, max_bytes)
        try:
            found = await _answer_of(handler, asked)
        except EdgeSimError as error:
            return error_response(403 if isinstance(error, AccessError) else 422, str(error))
        finally:
            for file in asked.files:
                await file.close()
        if isinstance(found, Response):
            return found
        return Response(status_code=204) if found is None else JsonResponse(found)

    return Route(path, endpoint, methods=[method], name=f"{method} {path}")


def _denial(status: int, least: Role) -> str:
    if status == 401:
        return "log in first"
    return f"this needs the role {least.name.lower()}"


async def _answer_of(handler: Handler, asked: ApiRequest) -> Any:
    if inspect.iscoroutinefunction(handler):
        answer: Awaitable[Any] = handler(asked)
        return await answer
    return await asked.context.workers.run(handler, asked)


async def _api_request(request: Request, caller: Caller, max_bytes: int) -> ApiRequest:
    asked = ApiRequest(
        context=request.app.state.context,
        caller=caller,
        path=request.path_params,
        query=request.query_params,
        headers=request.headers,
    )
    if request.method in ("GET", "HEAD"):
        return asked
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        asked.files = await _files_of(request, max_bytes)
    elif kind in (JSON, ""):
        asked.body = await _body_of(request, max_bytes)
        if asked.body and not kind:
            raise HTTPException(415, "the body must be application/json")
    else:
        raise HTTPException(415, "the body must be application/json or multipart/form-data")
    return asked


async def _bounded(request: Request, max_bytes: int) -> Any:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 12 or int(length) > max_bytes):
        raise HTTPException(413, f"too long: at most {max_bytes} bytes", {"Connection": "close"})
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > max_bytes:
                raise HTTPException(
                    413, f"too long: at most {max_bytes} bytes", {"Connection": "close"}
                )
            yield part
    except ClientDisconnect as error:
        raise HTTPException(400, "the request ended early") from error


async def _body_of(request: Request, max_bytes: int) -> bytes:
    return b"".join([part async for part in _bounded(request, max_bytes)])


async def _files_of(request: Request, max_bytes: int) -> tuple[UploadFile, ...]:
    parser = MultiPartParser(
        request.headers, _bounded(request, max_bytes), max_files=MAX_FILES, max_fields=100
    )
    try:
        form: FormData = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"the files cannot be read: {error.message}") from error
    return tuple(value for _, value in form.multi_items() if isinstance(value, UploadFile))
