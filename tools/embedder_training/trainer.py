"""The training loop: one process per worker, gradients averaged through shared memory.

Workers of one thread each lose less to a busy machine than one process of many threads.
"""

import copy
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from torch import Tensor, nn
from tqdm import tqdm

from embedder_training.batches import Batches, Place
from embedder_training.heap import keep_heap
from embedder_training.losses import LENGTH, total_loss
from embedder_training.network import Shape, Student
from embedder_training.optimizer import Schedule, build_optimizers, set_rate
from embedder_training.quality import Point, Watcher, write_curves
from embedder_training.recover import recover
from embedder_training.targets import open_view, ready_views

AVERAGE_EVERY = 4
DECAY_SHARE = 0.25
RECOVERY_PICTURES = 3000


@dataclass(frozen=True)
class Plan:
    """Everything a run depends on."""

    work: Path
    run: Path
    data: Path
    samples: int
    batch: int = 64
    workers: int = 1
    device: str = "cpu"
    sides: tuple[tuple[int, int], ...] = ((0, 128),)  # (from this many samples, input side)
    seed: int = 0
    rate: float = 2.5e-3
    matrix_rate: float = 0.0
    average: float = 0.999
    measure_every: int = 150_000
    save_every: int = 25_000
    evaluation_side: int = 128
    shape: Shape = field(default_factory=Shape)
    command: str = ""

    def side(self, seen: int) -> int:
        """Return the input side after `seen` samples."""
        return [side for start, side in self.sides if start <= seen][-1]


class Shared:
    """Gradients of all workers, in memory they all see."""

    def __init__(self, workers: int, count: int, context: Any) -> None:
        self.workers = workers
        self.buffer = torch.zeros(workers, count).share_memory_()
        self.barrier = context.Barrier(workers)

    def average(self, student: nn.Module, rank: int) -> None:
        """Replace every gradient by the mean over the workers."""
        if self.workers == 1:
            return
        weights = [weight for weight in student.parameters() if weight.grad is not None]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        torch.cat([gradient.flatten() for gradient in gradients], out=self.buffer[rank])
        self.barrier.wait()
        mean = self.buffer.mean(dim=0)
        self.barrier.wait()
        start = 0
        for gradient in gradients:
            gradient.copy_(mean[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()


def _follow(average: nn.Module, student: nn.Module, keep: float) -> None:
    with torch.no_grad():
        for kept, fresh in zip(
            average.state_dict().values(), student.state_dict().values(), strict=True
        ):
            if kept.is_floating_point():
                kept.lerp_(fresh, 1.0 - keep)
            else:
                kept.copy_(fresh)


class Trainer:
    """One worker's student, its average, optimizers and counters."""

    def __init__(self, plan: Plan, place: Place) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.place = plan, place
        student = Student(plan.shape).to(place.device)
        self.student = student.to(memory_format=torch.channels_last)  # type: ignore[call-overload,unused-ignore]
        self.average = copy.deepcopy(self.student).eval()
        self.optimizers = build_optimizers(
            self.student, rate=plan.rate, matrix_rate=plan.matrix_rate
        )
        self.seen = self.step = 0
        self.minutes = 0.0
        self.points: list[Point] = []
        self._resume()
        start = min(plan.samples, max(self.seen, round(plan.samples * (1 - DECAY_SHARE))))
        self.schedule = Schedule(plan.samples, start)

    @property
    def checkpoint(self) -> Path:
        """The file a run continues from."""
        return self.plan.run / "checkpoint.pt"

    def _resume(self) -> None:
        if not self.checkpoint.is_file():
            return
        state = torch.load(self.checkpoint, map_location=self.place.device, weights_only=True)
        self.student.load_state_dict(state["student"])
        self.average.load_state_dict(state["average"])
        for optimizer, stored in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)
        self.seen, self.step, self.minutes = state["seen"], state["step"], state["minutes"]
        self.points = [Point(**point) for point in state["points"]]

    def save(self) -> None:
        """Write the checkpoint; a reader never sees half of one."""
        state = {
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "seen": self.seen,
            "step": self.step,
            "minutes": self.minutes,
            "points": [asdict(point) for point in self.points],
            "shape": asdict(self.plan.shape),
            "plan": _plain(self.plan),
            "decay_samples": self.schedule.total - self.schedule.decay_from,
            "command": self.plan.command,
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint)

    def learn(self, batches: Batches, shared: Shared) -> Tensor:
        """Take one step and return the loss."""
        inputs, wanted = batches.draw(self.step, self.plan.side(self.seen))
        loss = total_loss(self.student(inputs), wanted)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        shared.average(self.student, self.place.rank)
        set_rate(self.optimizers, self.schedule.factor(self.seen))
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.seen += self.plan.batch * self.place.workers
        if self.step % AVERAGE_EVERY == 0:
            keep = min(self.plan.average**AVERAGE_EVERY, 1 - 1 / (1 + self.step / 20))
            _follow(self.average, self.student, keep)
        return loss.detach()


def _plain(plan: Plan) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(plan).items()
    }


def _due(before: int, after: int, every: int) -> bool:
    return before // every != after // every


def run_worker(rank: int, plan: Plan, shared: Shared) -> None:
    """Train until the plan's samples are seen; worker 0 saves, measures and shows progress."""
    keep_heap()
    torch.set_num_threads(max(1, torch.get_num_threads() // plan.workers))
    place = Place(rank, plan.workers, torch.device(plan.device))
    trainer = Trainer(plan, place)
    batches = Batches(plan.work, place, size=plan.batch, seed=plan.seed)
    watcher = Watcher(plan.work, plan.data, plan.evaluation_side)
    clock, earlier = time.monotonic(), trainer.minutes
    bar = tqdm(
        total=plan.samples, initial=trainer.seen, disable=rank > 0, mininterval=10, unit="pictures"
    )
    while trainer.seen < plan.samples:
        before = trainer.seen
        loss = trainer.learn(batches, shared)
        bar.update(trainer.seen - before)
        if rank > 0:
            continue
        last = trainer.seen >= plan.samples
        if last or _due(before, trainer.seen, plan.measure_every):
            minutes = earlier + (time.monotonic() - clock) / 60
            trainer.points.append(watcher.measure(trainer.average, trainer.seen, minutes))
            write_curves(trainer.points, plan.run)
            tqdm.write(str(trainer.points[-1]))
        if last or _due(before, trainer.seen, plan.save_every):
            trainer.minutes = earlier + (time.monotonic() - clock) / 60
            trainer.save()
            bar.set_postfix(loss=f"{float(loss):.3f}", side=plan.side(before))


def begin_from(model: Path, plan: Plan) -> None:
    """Write the first checkpoint of a run from an exported model; one that is there stays.

    Raises:
        PackError: The model is none of this network.
    """
    if (plan.run / "checkpoint.pt").is_file():
        return
    plan.run.mkdir(parents=True, exist_ok=True)
    view = open_view(plan.work, ready_views(plan.work)[0])
    student = recover(model, view, side=plan.side(0), count=RECOVERY_PICTURES, length=LENGTH)
    trainer = Trainer(plan, Place(0, plan.workers, torch.device("cpu")))
    trainer.student.load_state_dict(student.state_dict())
    trainer.average.load_state_dict(student.state_dict())
    trainer.save()


def train(plan: Plan) -> None:
    """Run all workers of the plan."""
    plan.run.mkdir(parents=True, exist_ok=True)
    context = torch.multiprocessing.get_context("spawn")
    count = sum(weight.numel() for weight in Student(plan.shape).parameters())
    shared = Shared(plan.workers, count, context)
    if plan.workers == 1:
        run_worker(0, plan, shared)
        return
    torch.multiprocessing.spawn(run_worker, (plan, shared), nprocs=plan.workers)
