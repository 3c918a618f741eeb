"""Side-by-side timing of the stages of a frame.

Cases run in turn, round after round, so that a machine whose speed drifts drifts for all of them;
the result is the ratio of two cases within one run. In its turn a case runs twice: first with the
caches full of the case before it, as on a device that does other things between two observations;
then right after itself, as in a loop. First runs are compared with first runs, repeated with
repeated ones.
"""

from __future__ import annotations

import contextlib
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np

from edge_sim.core.images import crop, measure
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import FULL_FRAME, Embedding, Frame, Roi
from edge_sim.core.vectors import ssim_between, ssim_planes, ssim_to_all
from edge_sim.decision.pipeline import Pipeline, Watch
from edge_sim.gallery.enrolment import reference_of
from edge_sim.gallery.gallery import Gallery
from edge_sim.io.sources import open_source
from edge_sim.io.sources.synthetic.source import reference_frames, scene_states
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region

Case = Callable[[], object]
WARM_UP_ROUNDS = 5


class Laps(NamedTuple):
    """Seconds of every round of one case: its first call, and the one right after it."""

    first: list[float]
    again: list[float]


class Timing(msgspec.Struct, frozen=True):
    """Time of one case, in milliseconds.

    Args:
        name: Name of the case.
        median_ms: Median right after itself.
        p95_ms: 95th percentile of the same.
        first_ms: Median after another case.
        runs: Number of rounds.
    """

    name: str
    median_ms: float
    p95_ms: float
    first_ms: float
    runs: int


class Ratio(msgspec.Struct, frozen=True):
    """One case against another: the median of the ratios of each round.

    Args:
        name: Name of the comparison.
        case: Numerator.
        against: Denominator.
        ratio: Each right after itself; median over the rounds.
        first_ratio: Each after another case.
        goal: Upper limit of `ratio`; None where there is no goal.
    """

    name: str
    case: str
    against: str
    ratio: float
    first_ratio: float
    goal: float | None

    @property
    def is_met(self) -> bool | None:
        """Return whether the goal is reached; None without one."""
        return None if self.goal is None else self.ratio <= self.goal


class SpeedRatio(msgspec.Struct, frozen=True):
    """A comparison to make; `scale` multiplies the denominator, as in 4 times one watch."""

    name: str
    case: str
    against: str
    goal: float | None = None
    scale: float = 1.0


class Figure(msgspec.Struct, frozen=True):
    """A number that is no ratio: the start of a process, its memory.

    Args:
        name: Name of the figure.
        value: Value in `unit`.
        unit: `ms`, `MB` ...
        goal: Upper limit; None where there is no goal.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Return whether the goal is reached; None without one."""
        return None if self.goal is None else self.value <= self.goal


class Measurement(msgspec.Struct, frozen=True):
    """All timings, ratios and figures of one run, and its machine."""

    machine: dict[str, str]
    timings: tuple[Timing, ...]
    ratios: tuple[Ratio, ...]
    skipped: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    schema: int = 3


def interleaved(
    cases: Mapping[str, Case],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    watch: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Laps]:
    """Return the seconds of every round for each case, A A B B C C A A B B ...

    Args:
        cases: Each is called twice per round; five rounds of warm-up are not counted.
        rounds: Counted rounds, 1 or more.
        clock: Clock in seconds.
        watch: Function that wraps the rounds, for a progress bar.
    """
    laps = {name: Laps([], []) for name in cases}
    for number in watch(range(rounds + WARM_UP_ROUNDS)):
        for name, case in cases.items():
            for kind in laps[name]:
                started_s = clock()
                case()
                elapsed_s = clock() - started_s
                if number >= WARM_UP_ROUNDS:
                    kind.append(elapsed_s)
    return laps


def timings_of(laps: Mapping[str, Laps]) -> tuple[Timing, ...]:
    """Return median and 95th percentile of each case."""
    return tuple(
        Timing(
            name,
            median_ms=_ms(statistics.median(runs.again)),
            p95_ms=_ms(_p95(runs.again)),
            first_ms=_ms(statistics.median(runs.first)),
            runs=len(runs.again),
        )
        for name, runs in laps.items()
    )


def ratios_of(laps: Mapping[str, Laps], comparisons: Iterable[SpeedRatio]) -> tuple[Ratio, ...]:
    """Return the comparisons whose two cases were both measured."""
    ratios = []
    for item in comparisons:
        if item.case in laps and item.against in laps:
            own, other = laps[item.case], laps[item.against]
            again, first = _ratio(own.again, other.again), _ratio(own.first, other.first)
            ratios.append(
                Ratio(
                    item.name,
                    item.case,
                    item.against,
                    ratio=round(again / item.scale, 3),
                    first_ratio=round(first / item.scale, 3),
                    goal=item.goal,
                )
            )
    return tuple(ratios)


def _ratio(own: Sequence[float], other: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(own, other, strict=True))


def _p95(runs: Sequence[float]) -> float:
    ordered = sorted(runs)
    return ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]


def _ms(seconds: float) -> float:
    return round(seconds * 1000.0, 4)


SCENE = "parking"
REFERENCES_PER_STATE = 50
FRAMES = 8
"""No more than stay in the last cache of a processor: a frame that was just decoded is there."""
QUARTERS = tuple(Roi(x, y, x + 0.5, y + 0.5) for y in (0.0, 0.5) for x in (0.0, 0.5))

COMPARISONS = (
    SpeedRatio("embed a 640x480 picture / bare invoke", "embed", "invoke", 1.15),
    SpeedRatio("embed a 256x256 region / bare invoke", "embed, 256x256", "invoke", 1.15),
    SpeedRatio("process, 100 references / bare invoke", "process", "invoke", 1.5),
    SpeedRatio("process, gate shut / bare invoke", "process, gate shut", "invoke", 0.15),
    SpeedRatio(
        "4 watches on one region / 4 x one", "process, 4 watches", "process", 0.8, scale=4.0
    ),
    SpeedRatio(
        "4 watches on quarters / 4 x one",
        "process, 4 quarters",
        "process, a quarter",
        0.8,
        scale=4.0,
    ),
    SpeedRatio("SSIM 1 against 8 / 8 calls", "SSIM 1:8", "SSIM 8 calls", 0.5),
)


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """The cases of one model, sharing their frames."""

    cases: dict[str, Case]
    embedder: Embedder


class _Invoked:
    """Substitute for the embedder where only the rest of the path is timed."""

    def __init__(self, embedder: Embedder, embedding: Embedding) -> None:
        self.model_id = embedder.model_id
        self.dimension = embedder.dimension
        self.input_px = embedder.input_px
        self._embedding = embedding

    def embed(self, pixels: object) -> Embedding:  # noqa: ARG002
        return self._embedding


def make_bench(spec: str, *, threads: int = 1) -> Bench:
    """Return the cases for a model: 640x480 frames, regions of the whole frame.

    Raises:
        ModelError: The model cannot be used.
    """
    cv2.setNumThreads(threads)
    embedder = open_embedder(spec, threads=threads)
    frames = bench_frames()
    gallery = _gallery(embedder)
    pictures = cycle(frames)
    still = frames[0]
    shut = _pipeline(embedder, [(FULL_FRAME, gallery)], gated=True)
    times = iter(range(10**9))
    for _ in range(20):
        shut.process(_at(still, next(times) * 1e-3))
    full = (FULL_FRAME, gallery)
    quarters = [(roi, _gallery(embedder, roi)) for roi in QUARTERS]
    one, four = _pipeline(embedder, [full]), _pipeline(embedder, [full] * 4)
    part, parts = _pipeline(embedder, quarters[:1]), _pipeline(embedder, quarters)
    bare = _pipeline(_Invoked(embedder, embedder.embed(still.pixels)), [full])
    cases: dict[str, Case] = {
        "embed": lambda: embedder.embed(next(pictures).pixels),
        "embed, 256x256": lambda: embedder.embed(next(pictures).pixels[100:356, 200:456]),
        "measure": lambda: measure(next(pictures).pixels),
        "process": lambda: one.process(next(pictures)),
        "process without embedding": lambda: bare.process(next(pictures)),
        "process, gate shut": lambda: shut.process(_at(still, next(times) * 1e-3)),
        "process, 4 watches": lambda: four.process(next(pictures)),
        "process, a quarter": lambda: part.process(next(pictures)),
        "process, 4 quarters": lambda: parts.process(next(pictures)),
        **_ssim_cases(gallery),
    }
    interpreter = getattr(embedder, "interpreter", None)
    if interpreter is not None:
        cases = {"invoke": interpreter.invoke, **cases}
    return Bench(cases, embedder)


def _ssim_cases(gallery: Gallery) -> dict[str, Case]:
    thumbnails = [item.thumbnail for item in gallery.references[:9]]
    planes = [ssim_planes(item) for item in thumbnails]
    probe, others = thumbnails[0], planes[1:]

    def separately() -> list[float]:
        return [ssim_between(ssim_planes(probe), other) for other in others]

    return {
        "SSIM 1:1": lambda: ssim_between(ssim_planes(probe), others[0]),
        "SSIM 8 calls": separately,
        "SSIM 1:8": lambda: ssim_to_all(ssim_planes(probe), others),
    }


def bench_frames() -> Sequence[Frame]:
    """Return the frames that every case is given: a drawn scene of 640x480 with noise."""
    uri = f"synthetic:{SCENE}?seed=1&frames={FRAMES}&nuisances=noise,shadow"
    with closing(open_source(uri)) as source:
        return list(iter(source.read, None))


def _gallery(embedder: Embedder, roi: Roi = FULL_FRAME) -> Gallery:
    references = []
    for state in scene_states(SCENE):
        few = reference_frames(SCENE, state, 10)
        rng = np.random.default_rng(0)
        for number in range(REFERENCES_PER_STATE):
            noise = rng.integers(0, 9, few[0].pixels.shape, dtype=np.uint8)
            pixels = np.minimum(few[number % 10].pixels, 246) + noise
            seen = crop(pixels, roi)
            references.append(reference_of(embedder, seen, f"{state}-{number}", state))
    return Gallery(references)


def _pipeline(
    embedder: Embedder, watched: Sequence[tuple[Roi, Gallery]], *, gated: bool = False
) -> Pipeline:
    stages = stages_of(Config(), WatchConfig())
    made = [
        Watch(
            f"watch-{number}",
            gallery,
            stages,
            region=Region(roi),
            gate=Gate() if gated else None,
        )
        for number, (roi, gallery) in enumerate(watched)
    ]
    return Pipeline(embedder, made, "bench")


def _at(frame: Frame, at_s: float) -> Frame:
    return Frame(frame.pixels, at_s, at_s, frame.index, frame.source)


def machine(embedder: Embedder, threads: int) -> dict[str, str]:
    """Return processor, versions and model of a measurement."""
    runtime = getattr(embedder, "runtime", None)
    return {
        "cpu": _cpu_name(),
        "threads": str(threads),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "runtime": "none" if runtime is None else f"{runtime.name} {runtime.version}",
        "model": embedder.model_id,
    }


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.machine()
