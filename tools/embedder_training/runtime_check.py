"""What one TFLite runtime makes of model files: outputs, latency, load time, partitions.

Needs numpy and either ai-edge-litert or tflite-runtime, nothing else, so that it also runs as a
program in an environment of its own:

    python runtime_check.py MODEL PICTURES.npy OUT.npz [OTHER_MODEL ...]

OUT.npz gets the dequantized outputs of MODEL for the pictures; the numbers are printed as JSON.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

WARM_UP_CALLS = 10
TIMED_CALLS = 200


def runtime_name() -> str:
    """Return the name and version of the runtime this environment has."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"ai-edge-litert {version('ai-edge-litert')}"
    except PackageNotFoundError:
        return f"tflite-runtime {version('tflite-runtime')}"


def open_interpreter(path: Path, *, reference: bool = False) -> Any:
    """Return an interpreter with one thread; `reference` takes the plain kernels."""
    try:
        from ai_edge_litert import interpreter as runtime
    except ImportError:
        from tflite_runtime import interpreter as runtime
    options: dict[str, Any] = {}
    if reference:
        options["experimental_op_resolver_type"] = runtime.OpResolverType.BUILTIN_REF
    built = runtime.Interpreter(str(path), num_threads=1, **options)
    built.allocate_tensors()
    return built


def dequantized(interpreter: Any, detail: dict[str, Any]) -> Floats:
    """Return one output as float."""
    scale, zero = detail["quantization"]
    raw = interpreter.get_tensor(detail["index"]).astype(np.float32)
    return np.asarray((raw - zero) * scale, dtype=np.float32)


class Embedder:
    """A model file with a global (1, N) and a spatial (1, G, G, C) output."""

    def __init__(self, path: Path, *, reference: bool = False) -> None:
        self._interpreter = open_interpreter(path, reference=reference)
        self.input = self._interpreter.get_input_details()[0]
        found = {len(detail["shape"]): detail for detail in self._interpreter.get_output_details()}
        self.global_output, self.spatial_output = found[2], found[4]

    @property
    def side(self) -> int:
        """Side of the input in pixels."""
        return int(self.input["shape"][1])

    def __call__(self, pictures: Pixels) -> tuple[Floats, Floats]:
        """Return global (N, 256) and spatial (N, G, G, C) of RGB pictures of the input size."""
        first, second = [], []
        for picture in pictures:
            self._interpreter.set_tensor(self.input["index"], picture[None])
            self._interpreter.invoke()
            first.append(dequantized(self._interpreter, self.global_output)[0])
            second.append(dequantized(self._interpreter, self.spatial_output)[0])
        return np.stack(first), np.stack(second)


def _prepare(path: Path) -> tuple[Any, float]:
    begun = time.perf_counter()
    interpreter = open_interpreter(path)
    load_ms = (time.perf_counter() - begun) * 1e3
    detail = interpreter.get_input_details()[0]
    rng = np.random.default_rng(0)
    interpreter.set_tensor(detail["index"], rng.integers(0, 256, detail["shape"], dtype=np.uint8))
    return interpreter, load_ms


def _time_in_turn(interpreters: list[Any]) -> list[list[float]]:
    """Return per interpreter its sorted times; taking turns, all see the same disturbances."""
    times: list[list[float]] = [[] for _ in interpreters]
    for _ in range(WARM_UP_CALLS + TIMED_CALLS):
        for interpreter, found in zip(interpreters, times, strict=True):
            begun = time.perf_counter()
            interpreter.invoke()
            found.append((time.perf_counter() - begun) * 1e3)
    return [sorted(found[WARM_UP_CALLS:]) for found in times]


def _row(path: Path, interpreter: Any, load_ms: float, times: list[float]) -> dict[str, Any]:
    names = [str(operator["op_name"]) for operator in interpreter._get_ops_details()]
    return {
        "file": path.name,
        "load_ms": round(load_ms, 1),
        "median_ms": round(statistics.median(times), 3),
        "fastest_ms": round(times[0], 3),
        "partitions": names.count("DELEGATE"),
        "operators": len(names) - names.count("DELEGATE"),
    }


def report(model: Path, others: list[Path]) -> dict[str, Any]:
    """Return load time, latency and partitions of all files, measured in one run."""
    open_interpreter(model)  # the first one of a process also loads the libraries
    prepared = [(path, *_prepare(path)) for path in (model, *others)]
    timed = _time_in_turn([interpreter for _, interpreter, _ in prepared])
    rows = [_row(*item, times) for item, times in zip(prepared, timed, strict=True)]
    ratios = {
        row["file"]: {
            "of_medians": round(rows[0]["median_ms"] / row["median_ms"], 3),
            "of_fastest": round(rows[0]["fastest_ms"] / row["fastest_ms"], 3),
        }
        for row in rows[1:]
    }
    return {
        "runtime": runtime_name(),
        "python": sys.version.split()[0],
        "models": rows,
        "latency_ratio": ratios,
    }


def main(arguments: list[str]) -> int:
    """Run as a program."""
    model, pictures, out, *others = (Path(argument) for argument in arguments)
    first, second = Embedder(model)(np.load(pictures))
    arrays: dict[str, Any] = {"global": first, "spatial": second}
    np.savez(out, **arrays)
    print(json.dumps(report(model, others)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
