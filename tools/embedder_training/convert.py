"""From a checkpoint to the int8 file: twin, calibration, parity."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder_training.descriptor import Described
from embedder_training.pack import Photo, Pixels, decode_rgb, held_out, squash
from embedder_training.quality import embed
from embedder_training.runtime_check import Embedder, Floats

CALIBRATION_PHOTOS = 400
FIT_PHOTOS = 4000
PARITY_PHOTOS = 400
REFERENCE_PHOTOS = 20  # the plain kernels take a second for ten
TWIN_TOLERANCE = 1e-3


class ParityError(Exception):
    """Two forms of the same network disagree."""


def pick_photos(photos: list[Photo], side: int, *, unseen: bool, count: int) -> Pixels:
    """Return `count` squashed photos spread over the pack, held out or trained on."""
    chosen = np.flatnonzero(held_out(len(photos)) == unseen)
    spread = chosen[np.linspace(0, len(chosen) - 1, min(count, len(chosen))).astype(int)]
    return np.stack([squash(decode_rgb(photos[index].encoded), side) for index in spread])


def convert(model: Described, pictures: Pixels) -> bytes:
    """Return the full-integer model for the size of the calibration pictures.

    Raises:
        ParityError: the Keras twin computes something else.
    """
    import tensorflow as tf

    from embedder_training import keras_twin

    twin = keras_twin.build(model, pictures.shape[1])
    gap = keras_twin.largest_difference(model, twin, pictures[:4])
    if gap > TWIN_TOLERANCE:
        raise ParityError(f"the Keras twin differs from the trained model by {gap:.2g}")

    def samples() -> Iterator[list[npt.NDArray[np.float32]]]:
        extremes = np.zeros_like(pictures[:1])
        extremes[:, : extremes.shape[1] // 2] = 255
        for picture in (*pictures, *extremes):
            yield [picture[None].astype(np.float32) / 127.5 - 1.0]

    converter: Any = tf.lite.TFLiteConverter.from_keras_model(twin)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.int8
    with contextlib.redirect_stdout(io.StringIO()):  # it prints every variable
        return bytes(converter.convert())


def cosines(first: Floats, second: Floats) -> dict[str, float]:
    """Return mean and smallest cosine of rows."""
    a, b = first.reshape(len(first), -1), second.reshape(len(second), -1)
    values = (a * b).sum(axis=1) / np.maximum(
        np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-9
    )
    return {"mean": round(float(values.mean()), 5), "min": round(float(values.min()), 5)}


def parity(described: Described, model: Path, pictures: Pixels) -> dict[str, Any]:
    """Return cosines between the float model, the int8 file and the plain kernels."""
    exact, fast = embed(described, pictures), Embedder(model)(pictures)
    few = pictures[:REFERENCE_PHOTOS]
    plain = Embedder(model, reference=True)(few)
    return {
        "pictures": len(pictures),
        "float_int8": {"global": cosines(exact[0], fast[0]), "spatial": cosines(exact[1], fast[1])},
        "xnnpack_reference": {
            "pictures": len(few),
            "global": cosines(plain[0], fast[0][: len(few)]),
            "spatial": cosines(plain[1], fast[1][: len(few)]),
        },
    }
