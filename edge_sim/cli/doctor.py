"""`edge-sim doctor`: what is installed, what will run, and what is wrong, with the fix for it."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge_sim.cli.options import threads
from edge_sim.cli.output import print_json, say

if TYPE_CHECKING:
    from edge_sim.core.protocols import Embedder
    from edge_sim.vision.embedders.runtime import Runtime


SCHEMA = 1
INVOKES = 15
"""Timed pictures; the median is shown, so that one interruption does not count."""
MANY_PARTITIONS = 4
"""Above this the graph is cut up by operators that XNNPACK does not take, which costs more than
the arithmetic: Google's quantized MobileNetV3-Small has 21 parts and needs 4 times as long as a
variant of the same size in one part."""


class RuntimeReport(msgspec.Struct, frozen=True, kw_only=True):
    """The TFLite runtime in use, and why."""

    name: str
    version: str
    reason: str


class ModelReport(msgspec.Struct, frozen=True, kw_only=True):
    """The model in use.

    Args:
        model_id: As in events and galleries.
        card: `matches the file`, `none` or `not needed`.
        dimension: Length of the global vector.
        partitions: Parts of the graph that XNNPACK runs; None where there is no graph.
        load_ms: To open and check it, runtime included.
        embed_ms: One 640x480 picture, median.
        invoke_ms: The graph alone, median; None where there is no graph.
    """

    model_id: str
    card: str
    dimension: int
    partitions: int | None
    load_ms: float
    embed_ms: float
    invoke_ms: float | None


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """Report of `doctor`. `problems` is empty exactly when `ok`."""

    schema: int
    ok: bool
    edge_sim: str
    python: str
    machine: str
    numpy: str
    opencv: str
    runtime: RuntimeReport | None
    model: ModelReport | None
    cameras: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]


_NO_CAMERA = "none on this machine; `edge-sim discover` finds those of the network"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "doctor",
        help="show versions, runtime, model and cameras, and what is wrong with them",
        description="Show versions, runtime, model and cameras. Exit code 1 if something cannot "
        "be used; each problem is printed with its fix.",
    )
    parser.add_argument("--model", default="default", help="a .tflite file, or `thumbnail`")
    parser.add_argument("--runtime", default="auto", help="auto, ai-edge-litert or tflite-runtime")
    parser.add_argument("--threads", type=threads, default=1, help="threads for one picture (1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    report = examine(args.model, threads=args.threads, runtime=args.runtime)
    if args.json:
        print_json(report)
    else:
        _print(report)
    return 0 if report.ok else 1


def examine(model: str, *, threads: int, runtime: str, dev: Path = Path("/dev")) -> DoctorReport:
    """Return a report on this installation; a fault is part of it, not raised.

    Args:
        model: As `open_embedder` takes it.
        threads: For one picture.
        runtime: As `open_embedder` takes it.
        dev: Where device files are.
    """
    import cv2
    import numpy as np

    from edge_sim.version import __version__

    problems: list[str] = []
    chosen = _runtime(runtime, problems)
    model_report = _model(model, threads, runtime, problems)
    return DoctorReport(
        schema=SCHEMA,
        ok=not problems,
        edge_sim=__version__,
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        numpy=np.__version__,
        opencv=cv2.__version__,
        runtime=chosen,
        model=model_report,
        cameras=find_cameras(dev),
        notes=notes_on(model_report, chosen),
        # A missing runtime is found twice, by itself and by the model that needs it.
        problems=tuple(dict.fromkeys(problems)),
    )


def find_cameras(dev: Path) -> tuple[str, ...]:
    """Return the V4L2 device files: stable names first, then the numbered ones."""
    return tuple(
        str(path)
        for pattern in ("v4l/by-id/*", "video*")
        for path in sorted(dev.glob(pattern), key=_number_aware)
    )


def _number_aware(path: Path) -> tuple[int, str]:
    return len(path.name), path.name


def _runtime(name: str, problems: list[str]) -> RuntimeReport | None:
    from edge_sim.errors import ModelError
    from edge_sim.vision.embedders.runtime import choose_runtime

    try:
        chosen: Runtime = choose_runtime(name)
    except ModelError as error:
        problems.append(str(error))
        return None
    return RuntimeReport(name=chosen.name, version=chosen.version, reason=chosen.reason)


def _model(spec: str, threads: int, runtime: str, problems: list[str]) -> ModelReport | None:
    from edge_sim.errors import ModelError
    from edge_sim.vision.embedders import open_embedder

    started_s = time.perf_counter()
    try:
        embedder = open_embedder(spec, threads=threads, runtime=runtime)
        load_ms = 1000.0 * (time.perf_counter() - started_s)
        return _measure(embedder, load_ms)
    except ModelError as error:
        problems.append(str(error))
        return None


def _measure(embedder: Embedder, load_ms: float) -> ModelReport:
    import numpy as np

    from edge_sim.vision.embedders.runtime import partitions
    from edge_sim.vision.embedders.tflite import TfliteEmbedder

    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    facts: dict[str, Any] = {"card": "not needed", "partitions": None, "invoke_ms": None}
    embed_ms = _median_ms(lambda: embedder.embed(picture))
    if isinstance(embedder, TfliteEmbedder):
        facts = {
            "card": "matches the file" if embedder.card else "none",
            "partitions": partitions(embedder.interpreter),
            "invoke_ms": _median_ms(embedder.interpreter.invoke),
        }
    return ModelReport(
        model_id=embedder.model_id,
        dimension=embedder.dimension,
        load_ms=round(load_ms, 2),
        embed_ms=embed_ms,
        **facts,
    )


def _median_ms(call: Any) -> float:
    call()
    times_s = []
    for _ in range(INVOKES):
        started_s = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - started_s)
    return round(1000.0 * sorted(times_s)[INVOKES // 2], 3)


def notes_on(model: ModelReport | None, runtime: RuntimeReport | None) -> tuple[str, ...]:
    """Return remarks on a model that works."""
    if model is None or model.partitions is None:
        return ()
    notes = []
    if model.partitions == 0:
        better = "; ai-edge-litert is faster"
        if runtime is not None and runtime.name == "ai-edge-litert":
            better = ", several times slower; it may not know this processor"
        notes.append(f"no part of the graph runs on XNNPACK here{better}")
    if model.partitions > MANY_PARTITIONS:
        notes.append(
            f"the graph is cut into {model.partitions} XNNPACK parts; a model in one part is faster"
        )
    if model.card == "none":
        notes.append("the model has no card; colour order and scale are assumed (see model info)")
    return tuple(notes)


def _print(report: DoctorReport) -> None:
    rows: list[tuple[str, object]] = [
        ("edge_sim", report.edge_sim),
        ("Python", f"{report.python} ({report.machine}, {sys.executable})"),
        ("numpy", report.numpy),
        ("OpenCV", report.opencv),
    ]
    if report.runtime is not None:
        runtime = report.runtime
        rows.append(("runtime", f"{runtime.name} {runtime.version} ({runtime.reason})"))
    if report.model is not None:
        rows += _model_rows(report.model)
    rows += [("camera", camera) for camera in report.cameras or (_NO_CAMERA,)]
    for name, value in rows:
        say(f"{name:<15}{value}")
    for text in report.notes:
        say(f"note: {text}")
    for problem in report.problems:
        say(f"PROBLEM: {problem}")
    say("ok" if report.ok else f"{len(report.problems)} problem(s)")


def _model_rows(model: ModelReport) -> list[tuple[str, object]]:
    graph = "" if model.invoke_ms is None else f", of which the graph {model.invoke_ms} ms"
    return [
        ("model", model.model_id),
        ("card", model.card),
        ("dimension", model.dimension),
        ("XNNPACK parts", "-" if model.partitions is None else model.partitions),
        ("load", f"{model.load_ms} ms"),
        ("embed", f"{model.embed_ms} ms for 640x480{graph}"),
    ]
