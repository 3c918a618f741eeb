"""Daemon: one thread processes, decides and reports; the others read cameras or deliver events."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import TypeVar

from edge_sim.core import resources
from edge_sim.core.clock_steps import ClockSteps
from edge_sim.core.events import Event, StateChanged
from edge_sim.core.types import Frame
from edge_sim.errors import CommandError, ConfigError, EdgeSimError
from edge_sim.gallery.gallery import Gallery
from edge_sim.io.outbox.queue import OutboxCounts
from edge_sim.io.sinks.capabilities import Command, SetSensitivity, Teach
from edge_sim.runtime.assembly import Device, Environment, assemble
from edge_sim.runtime.config import Config
from edge_sim.runtime.config.yaml_reader import nearest
from edge_sim.runtime.daemon.access import (
    OpenUpdater,
    OpenWebServer,
    RunningUpdater,
    RunningWebServer,
    WatchPicture,
)
from edge_sim.runtime.daemon.outputs import EventDispatcher, Outputs
from edge_sim.runtime.daemon.recording import Recorders, attach_to_events, show_pictures
from edge_sim.runtime.daemon.reporting import (
    ProcessStats,
    counts_of,
    device_info_of,
    log_event,
    show_open_issues,
    summary,
    watch_statuses,
)
from edge_sim.runtime.daemon.state_file import DeviceMemory, StateStore, with_sensitivities
from edge_sim.runtime.daemon.supervision import CommandQueue, Supervisor, enough_threads
from edge_sim.runtime.daemon.teaching import Flip, Lesson
from edge_sim.runtime.fitting import in_thread
from edge_sim.runtime.health.status import StatusBoard
from edge_sim.runtime.loop import TICK_S, Loop, Step, Throttle, Wakeup
from edge_sim.runtime.sharing import worker_count
from edge_sim.runtime.stills import DiverseStills
from edge_sim.runtime.systemd import Notifier

logger = logging.getLogger(__name__)

T = TypeVar("T")
_MAX_UNSENT = 10_000
_LEAVE_S = 0.3


class _StopRequestedError(CommandError):
    """The daemon is to end, while it waits for the fit of a gallery."""

    def __init__(self) -> None:
        super().__init__("the daemon is about to end")


class Daemon:
    """Service that runs one configuration until a stop is requested or every source has ended.

    `run` belongs to one thread; everything else may be called from any thread, `request_stop` and
    `request_reload` from signal handlers as well.

    Args:
        config: Configuration at the start.
        reload: Function that reads the configuration again; raises `ConfigError` if it cannot.
        notifier: Notifier of systemd.
        environment: Sources and clocks.
        open_web: Opener of the web server, given where `web.listen` is configured.
        open_updater: Opener of the thread that takes packs, given where `updates` is configured.
        config_path: File of the configuration, for the page to change; None where there is none.
    """

    def __init__(
        self,
        config: Config,
        *,
        reload: Callable[[], Config],
        notifier: Notifier | None = None,
        environment: Environment | None = None,
        open_web: OpenWebServer | None = None,
        open_updater: OpenUpdater | None = None,
        config_path: Path | None = None,
    ) -> None:
        self._config = config
        self._open_web = open_web
        self._open_updater = open_updater
        self.config_path = config_path
        self._read_config = reload
        self._notifier = notifier or Notifier()
        self._environment = environment or Environment()
        self._wakeup = Wakeup()
        self._commands = CommandQueue(self._wakeup)
        self._clock_steps = ClockSteps()
        self._recorders = Recorders(config, self._environment.now)
        self._stop = False
        self._reload = False
        self._ready = False
        self._save_soon = False
        self._next_chores_s = 0.0
        self._next_save_s = 0.0
        self._unsent: deque[Event] = deque(maxlen=_MAX_UNSENT)
        self.board = StatusBoard(config.device, clock=self._environment.clock)
        self._supervisor = Supervisor(self.board, self._environment.clock)
        self._loop = Loop(
            wakeup=self._wakeup, clock=self._environment.clock, on_fault=self._on_fault
        )
        self._stats = ProcessStats(self.board, folder=config.path(config.outbox.path).parent)
        state = config.daemon.state
        self._state_store = StateStore(None if state is None else config.path(state), self.board)

    def request_stop(self) -> None:
        """End after the present frame."""
        self._stop = True
        self._wakeup.ring()

    def request_reload(self) -> None:
        """Read configuration and gallery again after the present frame."""
        self._reload = True
        self._wakeup.ring()

    def run(self) -> None:
        """Process frames until the end.

        Raises:
            EdgeSimError: The daemon cannot start, or a file that is played cannot be read.
        """
        self._notifier.status("starting")
        with self._supervisor.watched_threads(lambda: self._stop), enough_threads():
            self._outputs = Outputs(
                self._config, self._on_command, self._opened_web_server, self._opened_updater
            )
            try:
                memory = self._state_store.load(self._dispatcher.latest(self._config.device))
                config = with_sensitivities(self._config, self._state_store.sensitivities)
                self._recorders.use(config)
                self._device = self._built(config)
                try:
                    self._run(memory)
                finally:
                    self._device.leave()
            except _StopRequestedError:
                pass  # while the gallery was fitted: there is nothing to save yet
            finally:
                self._notifier.stopping()
                self._commands.cancel_all()
                self._outputs.close()
                self._recorders.close()
                logger.info("stopped: %s", self._reason_of_end())

    def _reason_of_end(self) -> str:
        if self._stop:
            return "a stop was requested"
        return "every source has ended" if self._loop.done else "an error"

    @property
    def lost(self) -> int:
        """Events that were lost at the end because the disk was not writable."""
        return self._outputs.lost

    def teach(self, command: Teach, limit_s: float = 10.0) -> Lesson:
        """Enrol the present picture of a watch, or that of an event, as a reference.

        Raises:
            EdgeSimError: The picture or the command is rejected.
        """
        return self.call(lambda _: self._teach(command), limit_s)

    def call(self, job: Callable[[Device], T], limit_s: float = 10.0) -> T:
        """Return the result of `job`, run between two frames in the thread of the daemon.

        Not to be called from that thread. While the job runs no frame is processed: it must be
        quick. Its errors are raised here.

        Args:
            job: Function of the present device.
            limit_s: Longest wait for the job to begin, seconds.

        Raises:
            CommandError: Too many jobs wait, or the daemon did not get to it in time.
        """
        future = self._commands.submit(lambda: job(self._device))
        try:
            return future.result(limit_s)
        except (futures.TimeoutError, futures.CancelledError) as error:
            if not future.cancel():
                return future.result()  # it has begun: what it does comes into force
            raise CommandError("the daemon is busy or about to end; try again") from error

    def reload(self, limit_s: float = 30.0) -> Config:
        """Read the configuration again, as `request_reload` does; return it once it is in force.

        Raises:
            EdgeSimError: It cannot be used, and the old one stays in force; or the daemon did not
                get to it in time.
        """
        return self.call(lambda _: self._reload_now(), limit_s)

    def refresh_gallery(self, limit_s: float = 10.0) -> None:
        """Read the gallery file again if it has changed, and show it.

        Raises:
            CommandError: The daemon did not get to it in time.
        """
        self.call(lambda _: self._refresh(), limit_s)

    def read_config(self) -> Config:
        """Return the configuration of the file as it is now.

        Raises:
            ConfigError: It cannot be used.
        """
        return self._read_config()

    def flips(self, watch: str, gallery: Gallery) -> tuple[Flip, ...]:
        """Return the recent events of a watch that would give another state with a gallery."""
        return self._recorders.teacher.flips(self._config, watch, gallery)

    def recent_pictures(self, watch: str) -> int:
        """Return how many pictures of recent events of a watch are in memory."""
        return self._recorders.teacher.recent_pictures(watch)

    def report(self, event: Event) -> None:
        """Report an event as one of the daemon's own.

        Raises:
            CommandError: The daemon did not get to it in time.
        """
        self.call(lambda _: self._report_own(event))

    @property
    def stills(self) -> DiverseStills:
        """Most different recent pictures of each watch."""
        return self._recorders.stills

    @property
    def config(self) -> Config:
        """Configuration in force."""
        return self._config

    def counts(self) -> OutboxCounts:
        """Return the counts of waiting, delivered and dropped events."""
        return self._dispatcher.counts()

    def failing(self) -> Mapping[str, int]:
        """Return the number of failures in a row of each sink that fails."""
        return self._dispatcher.failing()

    @property
    def written_bytes(self) -> int:
        """Bytes written to the disk beside the outbox since the start."""
        return self._state_store.written_bytes

    def frame(self, source: str) -> Frame | None:
        """Return the newest frame of a source; None before the first."""
        return self._recorders.teacher.frame(source)

    def event_picture(self, event_id: str) -> tuple[str, bytes] | None:
        """Return watch and encoded picture of a recent event; None if it is not in memory."""
        return self._recorders.teacher.event_picture(event_id)

    def picture(self, watch: str) -> WatchPicture | None:
        """Return the newest frame of a watch and its region; None before the first.

        Raises:
            CommandError: There is no such watch.
        """
        device = self._device
        for source, runner in device.runners.items():
            for known in runner.pipeline.watches:
                if known.name == watch:
                    frame = self.frame(source)
                    if frame is None:
                        return None
                    return WatchPicture(frame, known.region, device.embedder)
        raise CommandError(f"there is no watch {watch!r}{nearest(watch, device.watches)}")

    def _run(self, memory: DeviceMemory) -> None:
        self._adopt(self._device, memory)
        self._outputs.open_web_server(self._config)
        try:
            self._dispatcher.start(device_info_of(self._device))
            self._device.start()
            self._outputs.open_updater(self._config)
            self._notifier.status("waiting for the first picture")
            if not self._device.runners:
                self._ready = True
                self._notifier.ready()
                logger.info("nothing is watched yet; add a watch on the page")
            while not self._stop and not self._is_done:
                self._turn()
            self._settle()
        finally:
            self.board.close()
            self._outputs.close_updater()
            self._outputs.close_web_server()
            self._loop.close()
            self._device.leave()
            self._state_store.save(self._device)
            self._device.join(_LEAVE_S)

    @property
    def _is_done(self) -> bool:
        # Without a source the daemon waits for the first watch.
        return bool(self._device.runners) and self._loop.done

    def _turn(self) -> None:
        self._go_on()
        if not (self._reload or self._commands.waiting):
            return
        self._settle()  # the following changes or reads what the workers use
        self._commands.run_one()
        if self._reload:
            self._reload = False
            self._reload_all()

    def _go_on(self) -> None:
        """Process frames and do what is due, but carry out no command and no reload."""
        step = self._loop.next(TICK_S)
        if step is not None:
            self._report(step)
        self.board.heartbeat()
        now_s = self._environment.clock()
        is_chores_time = now_s >= self._next_chores_s
        if not (is_chores_time or self._save_soon):
            return
        self._settle()
        if self._save_soon:
            self._save_soon = False
            self._supervisor.run("state file", self._save, rests=False)
        if is_chores_time:
            self._next_chores_s = now_s + TICK_S
            self._supervisor.run("housekeeping", partial(self._do_chores, now_s))

    def _settle(self) -> None:
        for step in self._loop.settle():
            self._report(step)

    def _report(self, step: Step) -> None:
        self._unsent.extend(step.events)
        if step.events:  # before the outbox, which hands events on at once
            self._supervisor.run(
                "attachments", partial(attach_to_events, self._device, step, self._dispatcher)
            )
        self._supervisor.run("outbox", self._put_unsent, rests=False)
        self._supervisor.run("reports", partial(self._show, step), rests=False)
        if self._environment.on_step is not None:
            self._environment.on_step(step.source, step)
        if not self._ready and step.outcomes:
            self._ready = True
            self._notifier.ready()

    def _put_unsent(self) -> None:
        if self._unsent:
            self._dispatcher.put(list(self._unsent))
            self._unsent.clear()

    def _show(self, step: Step) -> None:
        source, events = step.source, step.events
        self.board.add_step(source, step, counts_of(self._device.runners[source].source))
        for event in events:
            self.board.add_event(event)
            log_event(event)
        if events:
            show_open_issues(self._device, self.board)
        if any(not isinstance(event, StateChanged) for event in events):
            self._save_soon = True
        self._supervisor.run("recorders", partial(self._recorders.note, self._device, source, step))
        self._supervisor.run(
            "pictures", partial(show_pictures, self._device, step, self._dispatcher)
        )

    def _report_own(self, event: Event) -> None:
        self._unsent.append(event)
        self._supervisor.run("outbox", self._put_unsent, rests=False)
        self.board.add_event(event)
        log_event(event)

    def _do_chores(self, now_s: float) -> None:
        self._refresh()
        show_open_issues(self._device, self.board)
        self._put_unsent()
        step_s = self._clock_steps.step_s(now_s, self._environment.now())
        if step_s:
            logger.warning("the clock was set by %.0f s; times of states are corrected", step_s)
            self._dispatcher.correct_times(step_s)
        self._dispatcher.report(now_s, self._stats.stats)
        if now_s >= self._next_save_s:
            if self._next_save_s:
                self._save()
            self._next_save_s = now_s + self._config.daemon.save_interval_s
        self._supervisor.show(self._outputs.faults())
        health = self.board.health()
        if not health.stuck:
            self._notifier.alive()
        self._notifier.status("; ".join(health.faults) or summary(self.board))

    def _refresh(self) -> None:
        """Use the references of the gallery file if they have changed, and say so."""
        if self._device.refresh():
            self._describe()
            self._dispatcher.describe(device_info_of(self._device))

    def _save(self) -> None:
        self._state_store.save(self._device)

    def _describe(self) -> None:
        device = self._device
        self.board.describe(device.runners, watch_statuses(device), model=device.embedder.model_id)

    def _reload_all(self) -> None:
        """Apply the changed configuration; one that cannot be used changes nothing."""
        if self._ready:
            self._notifier.reloading()
        try:
            self._reload_now()
        except _StopRequestedError:
            logger.info("the configuration was not read again: the daemon is about to end")
        except Exception as error:
            text = str(error) if isinstance(error, EdgeSimError) else _one_line(error)
            logger.error("the new configuration is rejected, the old one stays in force: %s", text)
            if not isinstance(error, EdgeSimError):
                logger.debug("unexpected error on reload", exc_info=error)
        finally:
            if self._ready:
                self._notifier.ready()

    def _reload_now(self) -> Config:
        self._change_to(self._read_config())
        resources.release_free_memory()  # the old device is gone by now
        self._state_store.sensitivities = {}
        logger.info("the configuration was read again and is in force")
        return self._config

    def _change_to(self, config: Config) -> None:
        """Continue with `config`; with the old configuration if that fails, whatever is raised."""
        old_config, old = self._config, self._device
        device = self._built(config, old)
        kept = frozenset(
            name
            for name, runner in device.runners.items()
            if name in old.runners and runner.source is old.runners[name].source
        )
        try:
            self._outputs.change(old_config, config, device_info_of(old))
            memory = self._state_store.current(old)
            device.resume(old)
            try:
                self._recorders.use(config)
                self._adopt(device, memory)
            except Exception:
                self._outputs.change(config, old_config, device_info_of(old))
                self._recorders.use(old_config)
                self._adopt(old, memory)
                raise
        except Exception:
            device.leave(keeping=kept)
            raise
        self._config = config
        self._dispatcher.settle(config)
        old.leave(keeping=kept)
        device.start()
        self._dispatcher.describe(device_info_of(device))

    @property
    def _dispatcher(self) -> EventDispatcher:
        return self._outputs.dispatcher

    def _opened_web_server(self, config: Config) -> RunningWebServer | None:
        if config.web.address is None:
            return None
        if self._open_web is None:
            raise ConfigError("web.listen: this program runs a daemon without a web server")
        return self._open_web(config, self)

    def _opened_updater(self, config: Config) -> RunningUpdater | None:
        if config.updates.uri is None:
            return None
        if self._open_updater is None:
            raise ConfigError("updates.uri: this program runs a daemon without updates")
        return self._open_updater(config, self)

    def _built(self, config: Config, old: Device | None = None) -> Device:
        return assemble(
            config,
            environment=self._environment,
            wakeup=self._wakeup,
            old=old,
            workers=worker_count(config.daemon.workers, len(config.sources)),
            on_embedded=self.board.add_inference,
            grows=config.is_served,
            run=self._meanwhile,
        )

    def _meanwhile(self, job: Callable[[], T]) -> T:
        """Return the result of `job`, run in another thread while the present device goes on.

        Raises:
            _StopRequestedError: The daemon is to end; the thread ends with the process.
        """
        future = in_thread(job, self._wakeup.ring)
        while not future.done():
            if self._stop:
                raise _StopRequestedError
            if self._loop.done:  # as before the first device
                self._wakeup.wait(TICK_S)
                self.board.heartbeat()
            else:
                self._go_on()
        if self._stop:
            raise _StopRequestedError
        self._settle()
        return future.result()

    def _adopt(self, device: Device, memory: DeviceMemory) -> None:
        self._device = device
        self.board.device = device.config.device
        self._describe()
        self._state_store.restore(device, memory)
        show_open_issues(device, self.board)
        share = device.config.daemon.cpu_share
        throttle = None if share is None else Throttle(share)
        self._loop.use(device.runners.values(), throttle=throttle, workers=device.workers)

    def _on_fault(self, source: str, error: Exception | None) -> None:
        self._supervisor.report(f"source {source}", error)

    def _on_command(self, command: Command) -> None:
        self._commands.submit(partial(self._execute, command))

    def _execute(self, command: Command) -> None:
        try:
            if isinstance(command, Teach):
                self._teach(command)
            else:
                self._set_sensitivity(command)
        except EdgeSimError as error:
            logger.warning("command rejected: %s", error)
        except Exception as error:
            logger.error("command failed: %s", _one_line(error), exc_info=error)

    def _teach(self, command: Teach) -> Lesson:
        lesson = self._recorders.teacher.teach(self._device, command)
        self._refresh()
        logger.info(
            "taught watch=%s state=%s reference=%s revision=%d flips=%d",
            lesson.watch,
            lesson.state,
            lesson.reference_id,
            lesson.revision,
            len(lesson.flips),
        )
        if lesson.against_evidence is not None:
            logger.warning(
                "taught watch=%s state=%s against evidence: %s; `edge-sim gallery undo` takes it "
                "back",
                lesson.watch,
                lesson.state,
                lesson.against_evidence,
            )
        return lesson

    def _set_sensitivity(self, command: SetSensitivity) -> None:
        if command.watch not in self._config.watches:
            raise CommandError(f"there is no watch {command.watch!r}")
        if not 0.0 <= command.sensitivity <= 1.0:
            raise CommandError(f"sensitivity must be 0 to 1, got {command.sensitivity}")
        chosen = {**self._state_store.sensitivities, command.watch: command.sensitivity}
        self._change_to(with_sensitivities(self._config, chosen))
        self._state_store.sensitivities = chosen
        self._state_store.save(self._device)
        logger.info("sensitivity watch=%s value=%g", command.watch, command.sensitivity)


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
