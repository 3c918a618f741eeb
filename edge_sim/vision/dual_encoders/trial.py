"""Trial of a dual encoder in a process of its own.

ONNX Runtime is native code: a damaged or hostile file may end the process that loads it. A trial
makes such an end an error in one line, as `model_trial` does for TFLite models.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from edge_sim.errors import ModelError
from edge_sim.vision.dual_encoders.files import DualEncoderCard, read_dual_encoder_card
from edge_sim.vision.dual_encoders.onnx_encoder import OnnxDualEncoder
from edge_sim.vision.embedders.model_trial import child_line

TIMEOUT_S = 900.0
"""Longest trial; loading a model of a gigabyte from a slow disk takes a minute."""
_ROUNDS = 3


class DualEncoderFacts(msgspec.Struct, frozen=True):
    """Results of a trial.

    Args:
        dimension: Length of the vectors.
        input_px: Side of the input, pixels.
        picture_ms: Median time of one picture, milliseconds.
        text_ms: Median time of one text.
        peak_mb: Greatest memory of the process that ran both models, megabytes.
    """

    dimension: int
    input_px: int
    picture_ms: float
    text_ms: float
    peak_mb: float


class _EncoderOutcome(msgspec.Struct, frozen=True):
    facts: DualEncoderFacts | None = None
    error: str | None = None


def try_dual_encoder(folder: Path, *, timeout_s: float = TIMEOUT_S) -> DualEncoderFacts:
    """Return the facts of a dual encoder after running both its models in a process of its own.

    Args:
        folder: Folder with a card.
        timeout_s: Longest time of the trial, seconds.

    Raises:
        ModelError: It cannot be used, or ends the process that runs it.
    """
    outcome = msgspec.json.decode(
        child_line(__name__, [str(folder)], folder, timeout_s), type=_EncoderOutcome
    )
    if outcome.facts is None:
        raise ModelError(outcome.error or f"{folder}: the trial of the model gave no result")
    return outcome.facts


def _trial(folder: Path) -> DualEncoderFacts:
    card: DualEncoderCard = read_dual_encoder_card(folder)
    encoder = OnnxDualEncoder(folder, card)
    side = encoder.input_px
    # A pattern with colours: a uniform picture may have no vector.
    picture = np.zeros((side, side, 3), np.uint8)
    picture[:, : (side + 1) // 2] = (30, 60, 200)
    picture_ms = _median_ms(lambda: encoder.embed_picture(picture))
    text_ms = _median_ms(lambda: encoder.embed_text("a red picture of a dog"))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return DualEncoderFacts(encoder.dimension, side, picture_ms, text_ms, peak_kb / 1000)


def _median_ms(run: Callable[[], object]) -> float:
    run()  # loads the model
    times = []
    for _ in range(_ROUNDS):
        start_s = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start_s))
    return float(np.median(times))


def main(arguments: list[str]) -> int:
    """Try a dual encoder in this process and print the outcome as one line of JSON."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected here: no core file
    try:
        outcome = _EncoderOutcome(facts=_trial(Path(arguments[0])))
    except ModelError as error:
        outcome = _EncoderOutcome(error=str(error))
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(outcome) + b"\n")
    sys.stdout.flush()
    # Past the clean-up of the runtime, which a hostile model may have prepared for.
    os._exit(0 if outcome.error is None else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
