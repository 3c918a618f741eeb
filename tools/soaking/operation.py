"""One run: the daemon with four cameras, disturbed, and then once more to deliver the rest."""

from __future__ import annotations

import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

from edge_sim.core.types import Frame
from edge_sim.runtime.assembly import Environment
from edge_sim.runtime.config import Config, load_config
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.runtime.loop import Step
from soaking.camera import Camera
from soaking.device import CAMERAS, WATCH_OF, make_gallery, write_config
from soaking.disturber import Disturber
from soaking.judgement import lines_of
from soaking.receiver import Receiver
from soaking.samples import Sample, sample

_SAMPLES = 200
_DEEDS = 400
_DELIVERY_S = 120.0


class Operation:
    """A daemon whose cameras, people, receiver and disk give it trouble.

    Args:
        folder: Empty folder of all files.
        frames: Frames of all cameras together.
        seed: Seed of everything random.
        model: `default` or `thumbnail`.
    """

    def __init__(self, folder: Path, frames: int, seed: int, model: str) -> None:
        self._folder = folder
        self.receiver = Receiver(folder / "hooked.jsonl", seed)
        port = self.receiver.server_port
        self.cameras = {
            name: Camera(name, seed + number, frames // CAMERAS)
            for number, name in enumerate(WATCH_OF)
        }
        make_gallery(folder, model)
        self._write_config = partial(write_config, folder, model, port)
        config = load_config(self._write_config())
        self.samples: list[Sample] = []
        self.steps = self.looks = self.embedded = self.reloads = 0
        self._sample_every = max(frames // _SAMPLES, 1)
        self._deed_every = max(frames // _DEEDS, 100)
        world = Environment(
            open_source=lambda _, name: self.cameras[name].open(),
            retry_s=(0.01, 0.05),
            on_step=self._on_step,
        )
        daemon = Daemon(config, reload=self._reload, environment=world)
        self._daemon = daemon
        self.disturber = Disturber(
            daemon, self.cameras, folder, write_config=self._write_config, seed=seed
        )

    def run(self) -> float:
        """Run until the cameras end and everything is delivered; return the seconds it took."""
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        started_s = time.monotonic()
        self._daemon.run()
        took_s = time.monotonic() - started_s
        self.disturber.close()
        # What was not delivered by the end is, after a restart.
        again = Environment(
            open_source=lambda _, name: _Patient(name, self), is_live=lambda _: False
        )
        config = load_config(self._write_config())
        Daemon(config, reload=self._reload, environment=again).run()
        self.receiver.shutdown()
        self.receiver.server_close()
        return took_s

    @property
    def troubles(self) -> dict[str, int]:
        """How often everything went wrong, by kind."""
        found = Counter(self.receiver.troubles) + self.disturber.done
        for camera in self.cameras.values():
            found += camera.troubles
        return dict(sorted(found.items()))

    def filed(self) -> list[bytes]:
        """Return what the file sink got."""
        return lines_of(self._folder / "events.jsonl")

    def hooked(self) -> list[bytes]:
        """Return what the webhook got."""
        return lines_of(self._folder / "hooked.jsonl")

    def _reload(self) -> Config:
        self.reloads += 1
        return load_config(self._folder / "config.yaml")

    def _on_step(self, source: str, step: Step) -> None:
        self.cameras[source].looked()
        self.steps += 1
        self.looks += len(step.outcomes)
        self.embedded += sum(outcome.embedded for outcome in step.outcomes)
        if self.steps % self._sample_every == 0:
            self.samples.append(sample(self.steps))
        if self.steps % self._deed_every == 0:
            self.disturber.next()


class _Patient:
    """A source that ends when the receiver has what the file has."""

    def __init__(self, name: str, operation: Operation) -> None:
        self.name = name
        self._operation = operation
        self._until_s = time.monotonic() + _DELIVERY_S

    def read(self) -> Frame | None:
        while time.monotonic() < self._until_s:
            if set(self._operation.filed()) <= set(self._operation.hooked()):
                break
            threading.Event().wait(0.5)
        return None

    def close(self) -> None:
        return
