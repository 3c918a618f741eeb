"""Choice of the TFLite runtime by building an interpreter, because an import proves nothing.

tflite-runtime 2.14 is compiled against numpy 1. Beside numpy 2 it installs and imports without an
error and then raises SystemError when an interpreter is made (DESIGN.md, decision 1).
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge_sim.errors import ModelError

logger = logging.getLogger(__name__)

AUTO = "auto"
INSTALL = (
    "pip install ai-edge-litert, or pip install 'edge_sim[legacy]' for tflite-runtime with numpy 1"
)

TINY_MODEL = zlib.decompress(
    base64.b64decode(
        b"eNqTYGBgCHHzMWZg4GMQYWBh4GDgAYoIAHkMDMxADOJZAPERRgYGRrAMSEwAqJIBrBYkz4iEkQFCPcxk"
        b"AbB6CZB5QHwBiO8gqWeCyqVA+RB7OMAsHqhZIKABpVmgdjBBMbr9rECcmVdQWkKiebj8wwbE+aUlcAOx"
        b"+ZcRjS8B5/EB2bBQEAGHLwjIQO0HudUGi3m4zcc0DzksYBhdPwfYnyxgv4IAADy1DeU="
    )
)
"""Bytes of a .tflite file that averages 2x2 float32 pixels: (1, 2, 2, 1) to (1, 1, 1, 1)."""

# Errors of importing or building with versions that do not fit: an ABI mismatch gives SystemError,
# ImportError or AttributeError; a missing shared library gives ImportError or OSError.
BROKEN = (SystemError, ImportError, AttributeError, OSError, RuntimeError, ValueError, TypeError)

Build = Callable[..., Any]
"""Constructor of an interpreter with the keywords `model_content` and `num_threads`."""


@dataclass(frozen=True, slots=True)
class RuntimeOption:
    """Runtime that may be installed.

    Args:
        name: Name of the distribution.
        load: Function that returns the Interpreter class; ImportError where it is not installed.
        version: Function that returns the version; ImportError where it is not installed.
    """

    name: str
    load: Callable[[], Build]
    version: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Runtime:
    """Runtime in use.

    Args:
        name: Name of the distribution.
        version: Version of the distribution.
        reason: Reason of the choice, for people.
        build: Constructor of interpreters.
    """

    name: str
    version: str
    reason: str
    build: Build


def _installed(distribution: str, package: str) -> RuntimeOption:
    # The packages hold their version themselves: importlib.metadata loads the whole of `email`.
    return RuntimeOption(
        name=distribution,
        load=lambda: _interpreter_class(f"{package}.interpreter"),
        version=lambda: _version(package),
    )


def _interpreter_class(module: str) -> Build:
    build: Build = importlib.import_module(module).Interpreter
    return build


CANDIDATES = (
    _installed("ai-edge-litert", "ai_edge_litert"),
    _installed("tflite-runtime", "tflite_runtime"),
)
"""Runtimes by preference: the first is maintained, and 5 times faster on quantized models."""


def choose_runtime(
    wanted: str = AUTO, *, candidates: Sequence[RuntimeOption] = CANDIDATES
) -> Runtime:
    """Return the first runtime that can build and run an interpreter on a tiny model.

    Args:
        wanted: `auto`, or the name of one candidate.
        candidates: Runtimes by preference.

    Raises:
        ModelError: No such name, or none works; the message names the fix.
    """
    names = [candidate.name for candidate in candidates]
    if wanted not in (AUTO, *names):
        raise ModelError(
            f"runtime {wanted!r} is not known; give one of: {', '.join((AUTO, *names))}"
        )
    failures: list[str] = []
    for candidate in candidates:
        if wanted not in (AUTO, candidate.name):
            continue
        try:
            version = candidate.version()
        except ImportError:
            failures.append(f"{candidate.name} is not installed")
            continue
        try:
            build = _probe(candidate)
        except BROKEN as error:
            failures.append(_broken(candidate.name, version, error))
            continue
        return Runtime(candidate.name, version, _reason(wanted, failures), build)
    raise ModelError(_nothing_works(failures))


def _probe(candidate: RuntimeOption) -> Build:
    """Return the Interpreter class after it has run the tiny model."""
    # numpy 2 writes two paragraphs and a traceback to sys.stderr when code built for numpy 1 needs
    # its interface; the error that follows gets a message of ours.
    with contextlib.redirect_stderr(io.StringIO()):
        build = candidate.load()
        interpreter = build(model_content=TINY_MODEL, num_threads=1)
        interpreter.allocate_tensors()
        interpreter.invoke()
    return build


def _broken(name: str, version: str, error: BaseException) -> str:
    numpy = _version("numpy")
    if name == "tflite-runtime" and not numpy.startswith(("0.", "1.")):
        return f"tflite-runtime {version} needs numpy below 2, numpy {numpy} is installed"
    return f"{name} {version} does not work ({type(error).__name__}: {first_line(error)})"


def _nothing_works(failures: Sequence[str]) -> str:
    return f"no usable TFLite runtime: {'; '.join(failures)}; {INSTALL}"


def _reason(wanted: str, failures: Sequence[str]) -> str:
    if wanted != AUTO:
        return "configured"
    if failures:
        logger.info("TFLite runtime: %s", "; ".join(failures))
        return "; ".join(failures)
    return "preferred, and it runs a test model"


def _version(package: str) -> str:
    return str(getattr(importlib.import_module(package), "__version__", "of an unknown version"))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, for messages that must be one line."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def partitions(interpreter: Any) -> int:
    """Return the number of parts of the graph that XNNPACK runs; 0: all operators run outside it.

    One is best: each border between parts costs a round trip. tflite-runtime 2.14 gives 0 for
    quantized graphs, because its XNNPACK takes only float ones.
    """
    details: Iterator[dict[str, Any]] = iter(interpreter._get_ops_details())
    return sum(operator["op_name"] == "DELEGATE" for operator in details)
