#!/usr/bin/env python3
"""Make a tiny dual encoder that knows colours: to test search in words without a download.

    python tools/make_dual_encoder.py colours

The visual model takes the mean colour of a picture, the textual one the mean of the colours that a
text names: `red`, `dark green`, ... Both are ONNX files of a few kilobytes in the layout of
`edge_sim/vision/dual_encoders/files.py`, written here byte by byte (protocol buffers,
https://protobuf.dev/programming-guides/encoding; messages of onnx.proto).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COLOURS = {
    "red": (200, 30, 30),
    "green": (30, 160, 50),
    "blue": (30, 60, 200),
    "yellow": (220, 210, 40),
    "white": (245, 245, 245),
    "black": (10, 10, 10),
}
"""Word -> red, green, blue."""
SIDE_PX = 16
LENGTH = 8
DIMENSION = 4
FLOAT, INT32, INT64 = 1, 6, 7
_NUMBERS = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64}
LICENSE = "Apache-2.0"


def varint(number: int) -> bytes:
    """Return a whole number as protocol buffers write it."""
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def field(tag: int, value: int | str | bytes) -> bytes:
    """Return one field of a message."""
    if isinstance(value, int):
        return varint(tag << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(tag << 3 | 2) + varint(len(data)) + data


def tensor(name: str, values: NDArray[np.generic]) -> bytes:
    """Return a TensorProto."""
    shape = b"".join(field(1, int(size)) for size in values.shape)
    return shape + field(2, _NUMBERS[values.dtype]) + field(8, name) + field(9, values.tobytes())


def value(name: str, kind: int, shape: Sequence[int]) -> bytes:
    """Return a ValueInfoProto."""
    sizes = b"".join(field(1, field(1, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, sizes)))


def node(
    kind: str, inputs: Sequence[str], output: str, numbers: dict[str, int | Sequence[int]]
) -> bytes:
    """Return a NodeProto whose attributes are whole numbers."""
    parts = b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, kind)
    for name, number in numbers.items():
        if isinstance(number, int):
            stored = field(3, number) + field(20, 2)
        else:
            stored = b"".join(field(8, one) for one in number) + field(20, 7)
        parts += field(5, field(1, name) + stored)
    return parts


def model(
    nodes: Sequence[bytes],
    weights: dict[str, NDArray[np.generic]],
    inputs: Sequence[bytes],
    output: bytes,
) -> bytes:
    """Return a ModelProto of operator set 13."""
    graph = b"".join(field(1, one) for one in nodes) + field(2, "colours")
    graph += b"".join(field(5, tensor(name, values)) for name, values in weights.items())
    graph += b"".join(field(11, one) for one in inputs) + field(12, output)
    return field(1, 8) + field(2, "edge_sim") + field(7, graph) + field(8, field(2, 13))


def unit(name: str, output: str) -> list[bytes]:
    """Return the nodes that bring a (1, D) value to unit length; of zeros they make no numbers."""
    return [
        node("ReduceL2", [name], "length", {"axes": [1], "keepdims": 1}),
        node("Div", [name, "length"], output, {}),
    ]


def visual_model() -> bytes:
    """Return the model of pictures: their mean colour less grey, and their lightness."""
    nodes = [
        node("GlobalAveragePool", ["image"], "mean", {}),
        node("Flatten", ["mean"], "flat", {"axis": 1}),
        node("MatMul", ["flat", "weights"], "mixed", {}),
        *unit("mixed", "embedding"),
    ]
    return model(
        nodes,
        {"weights": projection()},
        [value("image", FLOAT, (1, 3, SIDE_PX, SIDE_PX))],
        value("embedding", FLOAT, (1, DIMENSION)),
    )


def textual_model(*, masked: bool = False) -> bytes:
    """Return the model of texts: the sum of the vectors of the words; padding counts nothing."""
    name, kind = ("input_ids", INT64) if masked else ("text", INT32)
    nodes = [
        node("Gather", ["table", name], "words", {"axis": 0}),
        node("ReduceSum", ["words", "second"], "mixed", {"keepdims": 0}),
        *unit("mixed", "embedding"),
    ]
    inputs = [value(name, kind, (1, LENGTH))]
    if masked:
        inputs.append(value("attention_mask", kind, (1, LENGTH)))
    weights: dict[str, NDArray[np.generic]] = {"table": table(), "second": np.array([1], np.int64)}
    return model(nodes, weights, inputs, value("embedding", FLOAT, (1, DIMENSION)))


def projection() -> NDArray[np.float32]:
    """Return (3, D) weights from red, green, blue to the vectors."""
    tint = np.eye(3, dtype=np.float32) - np.float32(1 / 3)
    return np.concatenate([tint, np.full((3, 1), 1 / 3, np.float32)], axis=1)


def table() -> NDArray[np.float32]:
    """Return (W, D) vectors of the words, padding and the unknown word first."""
    levels = np.array(list(COLOURS.values()), np.float32) / 255.0
    vectors = (2 * levels - 1) @ projection()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.concatenate([np.zeros((2, DIMENSION), np.float32), vectors]).astype(np.float32)


def tokenizer() -> dict[str, object]:
    """Return a tokenizer of whole words in lower case."""
    words = ["[PAD]", "[UNK]", *COLOURS]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(words)},
            "unk_token": "[UNK]",
        },
    }


def make(folder: Path, *, masked: bool = False, resize_mode: str = "shortest") -> None:
    """Write the encoder into a new folder.

    Args:
        folder: Folder to make.
        masked: Whether the textual model takes `input_ids` and `attention_mask` instead of `text`.
        resize_mode: Way in which pictures become squares.
    """
    settings = {
        "embed_dim": DIMENSION,
        "vision_cfg": {"image_size": SIDE_PX},
        "text_cfg": {"context_length": LENGTH},
    }
    halves = [0.5, 0.5, 0.5]
    preprocessing = {"size": SIDE_PX, "mode": "RGB", "mean": halves, "std": halves}
    preprocessing |= {"interpolation": "bicubic", "resize_mode": resize_mode}
    for part in ("visual", "textual"):
        (folder / part).mkdir(parents=True)
    (folder / "visual/model.onnx").write_bytes(visual_model())
    (folder / "textual/model.onnx").write_bytes(textual_model(masked=masked))
    texts = {
        "config.json": settings,
        "visual/preprocess_cfg.json": preprocessing,
        "textual/tokenizer.json": tokenizer(),
        "textual/tokenizer_config.json": {"pad_token": {"content": "[PAD]"}},
    }
    for name, content in texts.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "README.md").write_text(f"---\nlicense: {LICENSE.lower()}\n---\nColours.\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the encoder into the folder that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args(arguments)
    make(args.folder)
    print(f"{args.folder}: a dual encoder of {len(COLOURS)} colours")


if __name__ == "__main__":
    main()
