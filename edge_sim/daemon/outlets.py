"""Where the daemon speaks: the sinks behind their outbox, and the HTTP server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_sim.config import Config
from edge_sim.daemon.post import Post, same_post
from edge_sim.errors import EdgeSimError
from edge_sim.sinks.remote import Command, Site

if TYPE_CHECKING:
    from edge_sim.health.server import HealthServer


class Outlets:
    """Both of one configuration; another one takes over whole or not at all.

    Args:
        config: In force at the start.
        on_command: Takes what comes in from remote sinks; must return at once.
        front: Opens the HTTP server of a configuration that shows this post; None if it wants none.

    Raises:
        SinkError: A sink or the outbox cannot be opened.
    """

    def __init__(
        self,
        config: Config,
        on_command: Callable[[Command], None],
        front: Callable[[Config, Post], HealthServer | None],
    ) -> None:
        self._on_command = on_command
        self._open_front = front
        self._front: HealthServer | None = None
        self.post = Post(config, on_command)

    def open_front(self, config: Config) -> None:
        """Begin to answer.

        Raises:
            ConfigError: It cannot listen, or its certificate cannot be read.
        """
        self._front = self._open_front(config, self.post)

    def change(self, old: Config, new: Config, site: Site) -> None:
        """Go on by `new`; by `old` if that cannot be.

        Raises:
            EdgeSimError: It cannot be; all is as it was.
        """
        self._swap_post(old, new, site)
        try:
            self._swap_front(old, new)
        except EdgeSimError:
            self._swap_post(new, old, site)
            raise

    def close_front(self) -> None:
        """Answer no more. Safe to call twice."""
        if self._front is not None:
            self._front.close()

    def close(self) -> None:
        """Deliver what can go at once and close; the rest waits on disk."""
        self.post.close()

    def _swap_post(self, old: Config, new: Config, site: Site) -> None:
        if same_post(old, new):
            return
        # Closed first: two connections of one client, or two sockets of one path, cannot be.
        self.post.close()
        try:
            self.post = Post(new, self._on_command)
        except EdgeSimError:
            self.post = Post(old, self._on_command)
            raise
        finally:
            self.post.start(site)

    def _swap_front(self, old: Config, new: Config) -> None:
        if old.health == new.health and same_post(old, new):
            return
        self.close_front()
        try:
            self._front = self._open_front(new, self.post)
        except EdgeSimError:
            self._front = self._open_front(old, self.post)
            raise
