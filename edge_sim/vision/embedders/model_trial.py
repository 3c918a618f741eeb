"""Trial of a model in a process of its own, and the list of models that passed it.

TFLite is native code: a damaged or hostile file may end the process that loads it, also where every
offset in it is right. A trial loads and runs the file in a child process, so that such an end is an
error in one line. A device loads only files whose SHA-256 is on their card or on the list beside
them, `verified.sha256`, in the form of the command `sha256sum`.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge_sim.core.files import write_whole
from edge_sim.errors import ModelError
from edge_sim.vision.embedders.runtime import AUTO

LIST_NAME = "verified.sha256"
TIMEOUT_S = 300.0
"""Longest trial; the slowest models for small computers take seconds."""
_LINE = re.compile(r"(?P<sum>[0-9a-f]{64})  (?P<name>[^\n]+)")
_MOST_BYTES = 1 << 20
_OUTPUT_BYTES = 1 << 16


class ModelFacts(msgspec.Struct, frozen=True):
    """Results of a trial.

    Args:
        sha256: SHA-256 of the file that was tried, 64 hexadecimal digits.
        model_id: Identity of the embedder.
        runtime: Name and version of the runtime.
        partitions: Number of parts of the graph that XNNPACK runs.
        dimension: Length of the global vector.
        red_to_blue_cosine: Cosine of a red and a blue pattern, -1 to 1.
    """

    sha256: str
    model_id: str
    runtime: str
    partitions: int
    dimension: int
    red_to_blue_cosine: float


class _Outcome(msgspec.Struct, frozen=True):
    facts: ModelFacts | None = None
    error: str | None = None


def try_model(path: Path, *, runtime: str = AUTO, timeout_s: float = TIMEOUT_S) -> ModelFacts:
    """Return the facts of a model after loading and running it in a process of its own.

    Args:
        path: Path of the .tflite file.
        runtime: `auto`, `ai-edge-litert` or `tflite-runtime`.
        timeout_s: Longest time of the trial, seconds.

    Raises:
        ModelError: The model cannot be used, or ends the process that runs it.
    """
    line = child_line(__name__, [str(path), runtime], path, timeout_s)
    outcome = msgspec.json.decode(line, type=_Outcome)
    if outcome.facts is None:
        raise ModelError(outcome.error or f"{path}: the trial of the model gave no result")
    return outcome.facts


def child_line(module: str, arguments: Sequence[str], path: Path, timeout_s: float) -> bytes:
    """Return the last line that a module prints when it is run in a process of its own, as JSON.

    Args:
        module: Name of the module.
        arguments: Its arguments.
        path: Path of the model, for messages.
        timeout_s: Longest time, seconds.

    Raises:
        ModelError: The model ends the process, takes too long, or the line is no JSON.
    """
    package = str(Path(__file__).resolve().parents[3])
    places = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{path}: the model did not finish in {timeout_s:g} s") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot start a process to try the model in ({error})") from error
    if done.returncode < 0:
        raise ModelError(
            f"{path}: the model ended the process that ran it ({_signal_name(-done.returncode)}): "
            f"it is damaged, or made to do harm; use another file"
        )
    try:
        line = done.stdout[-_OUTPUT_BYTES:].splitlines()[-1]
        msgspec.json.decode(line)
    except (msgspec.DecodeError, IndexError) as error:
        raise ModelError(
            f"{path}: the trial of the model ended with exit code {done.returncode}"
        ) from error
    return line


def verified_sums(folder: Path) -> dict[str, str]:
    """Return the list of a folder: SHA-256 -> name of the file; empty without a list.

    Raises:
        ModelError: The list cannot be read.
    """
    path = folder / LIST_NAME
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    return {
        found["sum"]: found["name"] for found in map(_LINE.fullmatch, text.split("\n")) if found
    }


def record_verified(path: Path, sha256: str) -> None:
    """Add a model to the list of its folder; an earlier entry of that name is replaced.

    Args:
        path: Path of the .tflite file.
        sha256: SHA-256 of the file that was tried.

    Raises:
        ModelError: The list cannot be read or written.
    """
    others = {
        known: name for known, name in verified_sums(path.parent).items() if name != path.name
    }
    lines = [f"{known}  {name}\n" for known, name in {**others, sha256: path.name}.items()]
    try:
        write_whole(path.parent / LIST_NAME, "".join(lines).encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise ModelError(
            f"{path.parent / LIST_NAME}: cannot be written ({error.strerror}); without it no "
            f"device loads {path.name}"
        ) from error


def check_verified(path: Path, sha256: str) -> None:
    """Check that a model without a card is on the list of its folder.

    Raises:
        ModelError: It is not; the message names the command that adds it.
    """
    known = verified_sums(path.parent)
    if sha256 in known:
        return
    state = "was changed after it was verified" if path.name in known.values() else "has no card"
    raise ModelError(
        f"{path}: the model {state}; run `edge-sim model verify {path}`, which tries it in a "
        f"process of its own"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _trial(path: Path, runtime: str) -> ModelFacts:
    # Only the child needs the runtime and OpenCV.
    from edge_sim.vision.embedders.model_import import red_to_blue_cosine
    from edge_sim.vision.embedders.runtime import partitions
    from edge_sim.vision.embedders.tflite import open_tflite

    embedder = open_tflite(path, runtime=runtime)
    return ModelFacts(
        sha256=embedder.model.sha256,
        model_id=embedder.model_id,
        runtime=f"{embedder.runtime.name} {embedder.runtime.version}",
        partitions=partitions(embedder.interpreter),
        dimension=embedder.dimension,
        red_to_blue_cosine=red_to_blue_cosine(embedder),
    )


def main(arguments: list[str]) -> int:
    """Try a model in this process and print the outcome as one line of JSON."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected here: no core file
    path, runtime = arguments
    try:
        outcome = _Outcome(facts=_trial(Path(path), runtime))
    except ModelError as error:
        outcome = _Outcome(error=str(error))
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(outcome) + b"\n")
    sys.stdout.flush()
    # Past the clean-up of the runtime, which a hostile model may have prepared for.
    os._exit(0 if outcome.error is None else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
