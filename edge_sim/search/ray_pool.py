"""Workers on a Ray cluster: an actor with a model of its own per core.

A node that goes away takes its actors along; their tasks are given to others, and new actors wait
until the cluster has room for them. Ray's own restarts are not used: a task that Ray repeats behind
an actor's back would hold up the tasks behind it for as long as the cluster has no room.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_sim.core.files import printable
from edge_sim.errors import SearchError
from edge_sim.search.cluster import EmbeddingOrder, EmbeddingTask, EmbeddingWorker, TaskResult
from edge_sim.secrets import mask_secrets

TASKS_PER_WORKER = 2
"""One that it is at, and one that waits there, so that it has none to wait for."""
LOCAL = "local"
START_S = 300.0
"""Longest time without any worker."""
CONNECT_S = 10.0
MOST_LOST, MOST_LOST_PER_WORKER = 10, 3
"""Workers that may be lost between two results; a node that goes takes many along."""
_TICK_S = 1.0


@dataclass(slots=True, eq=False)
class _Actor:
    handle: Any
    preparing: Any
    is_ready: bool = False
    tasks: dict[Any, int] = field(default_factory=dict)
    """Numbers of its tasks by their references, in order."""


class RayPool:
    """Actors of one build. Close it, or use `with`.

    Args:
        address: Address of the cluster as in `ray.init`, such as `auto`, `head:6379` or
            `ray://head:10001`; `local` starts one on this machine for the time of the build.
        order: Work of the workers.
        workers: Number of workers; None for one per core that the cluster has.

    Raises:
        SearchError: Ray is not installed, or there is no such cluster.
    """

    def __init__(self, address: str, order: EmbeddingOrder, workers: int | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise SearchError("Ray is not installed: pip install 'edge_sim[ray]'") from error
        self._ray: Any = ray
        _connect(ray, address)
        try:
            cores = int(ray.cluster_resources().get("CPU", 0))
            self.wanted = workers or max(1, cores)
            """Number of workers that are asked for."""
            self._order = order
            self._remote = ray.remote(num_cpus=1, max_restarts=0)(EmbeddingWorker)
            self._actors: list[_Actor] = []
            self._idle_since_s = time.monotonic()
            self.lost = 0
            """Number of workers that were lost."""
            self._lost_in_a_row = 0
            self._fill()
        except BaseException:
            ray.shutdown()
            raise

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def workers(self) -> int:
        """Number of workers that are at work."""
        return sum(actor.is_ready for actor in self._actors)

    @property
    def room(self) -> int:
        """Number of tasks that may be submitted now."""
        return sum(TASKS_PER_WORKER - len(actor.tasks) for actor in self._actors if actor.is_ready)

    def submit(self, task: EmbeddingTask) -> None:
        """Give a task to the worker that has the fewest."""
        ready = [actor for actor in self._actors if actor.is_ready]
        actor = min(ready, key=lambda item: len(item.tasks))
        actor.tasks[actor.handle.embed.remote(task.pictures)] = task.number

    def wait(self) -> Sequence[TaskResult]:
        """Return the tasks that ended, after a second at the latest."""
        self._check_time()
        references = [ref for actor in self._actors for ref in actor.tasks]
        references += [actor.preparing for actor in self._actors if not actor.is_ready]
        done, _ = self._ray.wait(references, num_returns=1, timeout=_TICK_S)
        results: list[TaskResult] = []
        for actor in list(self._actors):
            for reference in done:
                if reference in actor.tasks:
                    results += self._ended(actor, reference)
                elif reference is actor.preparing and not actor.is_ready:
                    self._prepared(actor)
        self._fill()
        return results

    def close(self) -> None:
        """End the workers and leave the cluster. Safe to call twice."""
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._actors = []
        self._ray.shutdown()

    def _fill(self) -> None:
        """Ask for workers in place of those that were lost; they come when there is room."""
        while len(self._actors) < self.wanted:
            handle = self._remote.remote(self._order)
            self._actors.append(_Actor(handle, handle.prepare.remote()))

    def _prepared(self, actor: _Actor) -> None:
        try:
            fault = self._ray.get(actor.preparing)
        except self._ray.exceptions.RayError as error:
            if _is_loss(self._ray, error):
                self._drop(actor)
                return
            raise SearchError(
                f"a worker cannot start ({_last_line(error)}); every node needs edge_sim and what "
                f"the storage needs"
            ) from error
        if fault:
            raise SearchError(f"a worker cannot start: {fault}")
        actor.is_ready = True

    def _ended(self, actor: _Actor, reference: Any) -> list[TaskResult]:
        try:
            rows = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            if isinstance(error, self._ray.exceptions.RayTaskError):
                # The worker is alive; only this task failed.
                return [TaskResult(actor.tasks.pop(reference), lost=_last_line(error))]
            if isinstance(error, self._ray.exceptions.ObjectLostError):
                return [TaskResult(actor.tasks.pop(reference), lost="its rows were lost")]
            return self._drop(actor, _first_line(error))
        self._lost_in_a_row = 0
        return [TaskResult(actor.tasks.pop(reference), rows)]

    def _drop(self, actor: _Actor, reason: str = "") -> list[TaskResult]:
        """Give up a worker; return its tasks, of which it was at the first."""
        self._actors.remove(actor)
        self.lost += 1
        self._lost_in_a_row += 1
        if self._lost_in_a_row > MOST_LOST_PER_WORKER * self.wanted + MOST_LOST:
            raise SearchError(
                f"{self._lost_in_a_row} workers ended without a result ({reason}); `ray logs` has "
                f"more"
            )
        logging.getLogger(__name__).info("a worker was lost: %s", reason)
        self._ray.kill(actor.handle)
        return [
            TaskResult(number, lost=reason, is_cause=place == 0)
            for place, number in enumerate(actor.tasks.values())
        ]

    def _check_time(self) -> None:
        now_s = time.monotonic()
        if self.workers:
            self._idle_since_s = now_s
        elif now_s - self._idle_since_s > START_S:
            cores = self._ray.available_resources().get("CPU", 0)
            raise SearchError(
                f"no worker could start in {START_S:.0f} s: the cluster has {cores:g} cores free; "
                f"`ray status` says what they are used for"
            )


def _connect(ray: Any, address: str) -> None:
    _check_reachable(address)
    named: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        named["include_dashboard"] = False
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers
    try:
        ray.init(address, **named)
    except Exception as error:  # of a start that took too long Ray raises no class of its own
        reason = _first_line(error)
        raise SearchError(mask_secrets(f"no Ray cluster at {address} ({reason})")) from error


def _check_reachable(address: str) -> None:
    """Raise `SearchError` if nothing listens at an address: Ray would try it for many minutes."""
    match = re.fullmatch(r"(?:ray://)?\[?([^/\[\]]+)\]?:([0-9]{1,5})", address)
    if match is None:
        return
    try:
        with socket.create_connection((match[1], int(match[2])), timeout=CONNECT_S):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SearchError(f"no Ray cluster at {printable(address)} ({reason})") from error


def _is_loss(ray: Any, error: BaseException) -> bool:
    """Return whether an error means that an actor or its node is gone, not that it cannot start."""
    known = ray.exceptions
    if isinstance(error, known.RayActorError):
        return "creation task" not in str(error)
    return isinstance(error, known.NodeDiedError | known.WorkerCrashedError)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
