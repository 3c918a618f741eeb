"""Stream of the page: watches as they change, events, and the device, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec

from edge_sim.core.events import tag_of
from edge_sim.runtime.daemon.access import DeviceAccess
from edge_sim.web.workers import Workers

KEEP_ALIVE_S = 15.0
MAX_STREAMS = 4
"""Streams of events to programs at the same time."""
MAX_PAGES = 12
"""Streams to pages at the same time."""
INTERVAL_S = 0.5
"""Least time between two messages about one watch, seconds."""
DEVICE_S = 10.0
_MAX_UNSENT = 200
_VOLATILE = frozenset({"observations", "state"})


def message(kind: str, body: Any) -> bytes:
    """Return one server-sent event."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(body))


class Broadcast:
    """Sender of one stream to all pages; it works only while a page listens.

    Args:
        device: Access to the daemon.
        watches: Function that describes the watches, by name.
        about: Function that describes the device.
    """

    def __init__(
        self,
        device: DeviceAccess,
        watches: Callable[[], Mapping[str, Mapping[str, Any]]],
        about: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._device = device
        self._worker = Workers(1)  # not kept waiting by long requests
        self._watches = watches
        self._about = about
        self._pages: set[asyncio.Queue[bytes | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._sent: dict[str, Mapping[str, Any]] = {}

    @property
    def is_full(self) -> bool:
        """True if no further page may listen."""
        return len(self._pages) >= MAX_PAGES

    def close(self) -> None:
        """End the thread that reads the device."""
        self._worker.close()

    async def messages(self, is_valid: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Yield the messages for one page, until it falls behind or `is_valid` says no."""
        unsent: asyncio.Queue[bytes | None] = asyncio.Queue(_MAX_UNSENT)
        self._pages.add(unsent)
        try:
            for watch in (await self._worker.run(self._watches)).values():
                yield message("watch", watch)
            yield message("device", await self._worker.run(self._about))
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())
            while True:
                try:
                    chunk = await asyncio.wait_for(unsent.get(), KEEP_ALIVE_S)
                except asyncio.TimeoutError:
                    chunk = b": still here\n\n"
                if chunk is None or not is_valid():
                    return
                yield chunk
        finally:
            self._pages.discard(unsent)

    async def _run(self) -> None:
        board = self._device.board
        number, about_s = board.last_event, board.clock()
        try:
            while self._pages and not board.closed:
                await asyncio.sleep(INTERVAL_S)
                for at, event in board.events_after(number, 0.0) or ():
                    number = at
                    facts = msgspec.to_builtins(event)
                    self._send(message("event", {"type": tag_of(event), **facts}))
                self._send_changed(await self._worker.run(self._watches))
                if board.clock() - about_s >= DEVICE_S:
                    about_s = board.clock()
                    self._send(message("device", await self._worker.run(self._about)))
        finally:  # the pages connect again
            for page in self._pages:
                if not page.full():
                    page.put_nowait(None)

    def _send_changed(self, watches: Mapping[str, Mapping[str, Any]]) -> None:
        for name, watch in watches.items():
            if lasting(watch) != self._sent.get(name):
                self._sent[name] = lasting(watch)
                self._send(message("watch", watch))
        for name in self._sent.keys() - watches.keys():
            del self._sent[name]
            self._send(message("watch", {"name": name, "removed": True}))

    def _send(self, chunk: bytes) -> None:
        for page in tuple(self._pages):
            if page.full():  # it does not read: it connects again
                self._pages.discard(page)
                page.get_nowait()
                page.put_nowait(None)
            else:
                page.put_nowait(chunk)


def lasting(watch: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a watch is news: not the time that its state has lasted."""
    state = watch.get("state") or {}
    lasting = {key: value for key, value in watch.items() if key not in _VOLATILE}
    return {**lasting, "name_of_state": state.get("name"), "reason": state.get("reason")}
