"""The daemon: one thread that looks, decides and reports; the others feed it or carry for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent import futures
from functools import partial
from typing import TYPE_CHECKING

from edge_sim import heap
from edge_sim.config import Config
from edge_sim.daemon.bell import Bell
from edge_sim.daemon.front import open_front
from edge_sim.daemon.keeper import Keeper, with_sensitivities
from edge_sim.daemon.memory import DeviceMemory
from edge_sim.daemon.orders import Orders
from edge_sim.daemon.outlets import Outlets
from edge_sim.daemon.post import Post
from edge_sim.daemon.reporting import counts_of, log_event, show_standing, site_of, summary
from edge_sim.daemon.rig import Rig, World, build_rig, kept_source, watch_statuses
from edge_sim.daemon.teaching import Lesson
from edge_sim.daemon.throttle import Throttle
from edge_sim.daemon.vitals import Vitals
from edge_sim.daemon.witnesses import Witnesses, show_pictures
from edge_sim.daemon.worker import Turn, Worker
from edge_sim.errors import CommandError, EdgeSimError
from edge_sim.events import StateChanged
from edge_sim.health.board import Board
from edge_sim.sinks.remote import Command, SetSensitivity, Teach
from edge_sim.systemd import Notifier

if TYPE_CHECKING:
    from edge_sim.health.server import HealthServer

logger = logging.getLogger(__name__)

TICK_S = 1.0
"""With nothing to look at, the daemon comes round this often."""
_LEAVE_S = 0.3


class Daemon:
    """Runs one configuration until it is told to stop or every source has ended.

    `run` belongs to one thread; everything else may be called from any thread, `request_stop` and
    `request_reload` from signal handlers as well.

    Args:
        config: In force at the start.
        reload: Reads the configuration again; raises `ConfigError` if it cannot be used.
        notifier: Tells systemd.
        world: Sources and clocks.
    """

    def __init__(
        self,
        config: Config,
        *,
        reload: Callable[[], Config],
        notifier: Notifier | None = None,
        world: World | None = None,
    ) -> None:
        self._config = config
        self._read_again = reload
        self._notifier = notifier or Notifier()
        self._world = world or World()
        self._bell = Bell()
        self._orders = Orders(self._bell)
        self._worker = Worker(self._bell, clock=self._world.clock)
        self._witnesses = Witnesses(config, self._world.now)
        self._stop = False
        self._reload = False
        self._ready = False
        self._save_soon = False
        self._next_chores_s = 0.0
        self._next_save_s = 0.0
        self.board = Board(config.device, clock=self._world.clock)
        self._vitals = Vitals(self.board)
        state = config.daemon.state
        self._keeper = Keeper(None if state is None else config.path(state), self.board)

    def request_stop(self) -> None:
        """End after the frame at hand."""
        self._stop = True
        self._bell.ring()

    def request_reload(self) -> None:
        """Read configuration and gallery again after the frame at hand."""
        self._reload = True
        self._bell.ring()

    def run(self) -> None:
        """Run.

        Raises:
            EdgeSimError: It cannot start, or a file that is played cannot be read.
        """
        self._notifier.status("starting")
        self._outlets = Outlets(self._config, self._on_command, self._opened_front)
        try:
            memory = self._keeper.load(self._post.latest(self._config.device))
            config = with_sensitivities(self._config, self._keeper.sensitivities)
            self._witnesses.use(config)
            self._rig = self._built(config)
            try:
                self._run(memory)
            finally:
                self._rig.close()
        finally:
            self._notifier.stopping()
            self._orders.refuse_all()
            self._outlets.close()
            self._witnesses.close()
            logger.info("stopped")

    def teach(self, command: Teach, limit_s: float = 10.0) -> Lesson:
        """Make a reference of what a watch shows or showed.

        Raises:
            EdgeSimError: It was refused.
        """
        job = self._orders.submit(partial(self._teach, command))
        try:
            return job.result(limit_s)
        except (futures.TimeoutError, futures.CancelledError) as error:
            raise CommandError("the daemon is busy or about to end; try again") from error

    def _run(self, memory: DeviceMemory) -> None:
        self._take(self._rig, memory)
        self._outlets.open_front(self._config)
        try:
            self._post.start(site_of(self._rig))
            self._rig.start()
            self._notifier.status("waiting for the first picture")
            while not self._stop and not self._worker.done:
                self._come_round()
            self._settle()
        finally:
            self.board.close()
            self._outlets.close_front()
            self._worker.close()
            self._rig.close()
            self._keeper.save(self._rig)
            self._rig.join(_LEAVE_S)

    def _come_round(self) -> None:
        turn = self._worker.turn(TICK_S)
        if turn is not None:
            self._report(turn)
        self.board.beat()
        now_s = self._world.clock()
        is_chores_time = now_s >= self._next_chores_s
        if not (is_chores_time or self._reload or self._save_soon or self._orders.waiting):
            return
        self._settle()  # what follows changes or reads what the workers work on
        self._orders.run_one()
        if self._reload:
            self._reload = False
            self._reload_all()
        if self._save_soon:
            self._save_soon = False
            self._keeper.save(self._rig)
        if is_chores_time:
            self._next_chores_s = now_s + TICK_S
            self._do_chores(now_s)

    def _settle(self) -> None:
        for turn in self._worker.settle():
            self._report(turn)

    def _report(self, turn: Turn) -> None:
        events = turn.step.events
        self._post.put(events)
        self.board.looked(turn.source, turn.step, counts_of(self._rig.lanes[turn.source].source))
        self._witnesses.note(self._rig, turn.source, turn.step)
        show_pictures(self._rig.watches, turn.step, self._post)
        for event in events:
            self.board.went(event)
            log_event(event)
        if events:
            show_standing(self._rig, self.board)
        if any(not isinstance(event, StateChanged) for event in events):
            self._save_soon = True
        if self._world.on_step is not None:
            self._world.on_step(turn.source, turn.step)
        if not self._ready and turn.step.outcomes:
            self._ready = True
            self._notifier.ready()

    def _do_chores(self, now_s: float) -> None:
        if self._rig.refresh():
            self.board.describe(
                self._rig.lanes, watch_statuses(self._rig), model=self._rig.embedder.model_id
            )
            self._post.describe(site_of(self._rig))
        show_standing(self._rig, self.board)
        self._post.report(now_s, self._vitals.stats)
        if now_s >= self._next_save_s:
            if self._next_save_s:
                self._keeper.save(self._rig)
            self._next_save_s = now_s + self._config.daemon.save_interval_s
        health = self.board.health()
        if health.alive:
            self._notifier.alive()
        self._notifier.status("; ".join(health.faults) or summary(self.board))

    def _reload_all(self) -> None:
        """Take a changed configuration over; one that cannot be used changes nothing."""
        if self._ready:
            self._notifier.reloading()
        try:
            self._change_to(self._read_again())
            heap.give_back()  # the old rig is gone by now
            self._keeper.sensitivities = {}
            logger.info("the configuration was read again and is in force")
        except EdgeSimError as error:
            logger.error("the new configuration is refused, the old one stays in force: %s", error)
        finally:
            if self._ready:
                self._notifier.ready()

    def _change_to(self, config: Config) -> None:
        old_config, old_rig = self._config, self._rig
        rig = self._built(config, old_rig)
        kept = frozenset(name for name in rig.lanes if kept_source(config, name, old_rig))
        try:
            self._outlets.change(old_config, config, site_of(old_rig))
        except EdgeSimError:
            rig.close(keeping=kept)
            raise
        memory = self._keeper.current(old_rig)
        old_rig.close(keeping=kept)
        self._config, self._rig = config, rig
        self._witnesses.use(config)
        self._take(rig, memory)
        rig.start()
        self._post.describe(site_of(self._rig))

    @property
    def _post(self) -> Post:
        return self._outlets.post

    def _opened_front(self, config: Config, post: Post) -> HealthServer | None:
        return open_front(config, self.board, post, self._keeper, self.teach)

    def _built(self, config: Config, old: Rig | None = None) -> Rig:
        return build_rig(config, world=self._world, bell=self._bell, board=self.board, old=old)

    def _take(self, rig: Rig, memory: DeviceMemory) -> None:
        self.board.device = rig.config.device
        self.board.describe(rig.lanes, watch_statuses(rig), model=rig.embedder.model_id)
        self._keeper.restore(rig, memory)
        show_standing(rig, self.board)
        share = rig.config.daemon.cpu_share
        throttle = None if share is None else Throttle(share)
        self._worker.use(rig.lanes.values(), throttle, hands=rig.hands)

    def _on_command(self, command: Command) -> None:
        self._orders.submit(partial(self._obey, command))

    def _obey(self, command: Command) -> None:
        try:
            if isinstance(command, Teach):
                self._teach(command)
            else:
                self._set_sensitivity(command)
        except EdgeSimError as error:
            logger.warning("command refused: %s", error)

    def _teach(self, command: Teach) -> Lesson:
        lesson = self._witnesses.teacher.teach(self._rig, command)
        self._rig.refresh()
        logger.info(
            "taught watch=%s state=%s reference=%s revision=%d flips=%d",
            lesson.watch,
            lesson.state,
            lesson.reference_id,
            lesson.revision,
            len(lesson.flips),
        )
        return lesson

    def _set_sensitivity(self, command: SetSensitivity) -> None:
        if command.watch not in self._config.watches:
            raise CommandError(f"there is no watch {command.watch!r}")
        if not 0.0 <= command.sensitivity <= 1.0:
            raise CommandError(f"sensitivity must be 0 to 1, got {command.sensitivity}")
        chosen = {**self._keeper.sensitivities, command.watch: command.sensitivity}
        self._change_to(with_sensitivities(self._config, chosen))
        self._keeper.sensitivities = chosen
        self._keeper.save(self._rig)
        logger.info("sensitivity watch=%s value=%g", command.watch, command.sensitivity)
