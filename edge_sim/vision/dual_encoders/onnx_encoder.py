"""Dual encoder by ONNX Runtime and the package tokenizers (extra `text`).

    encoder = open_dual_encoder(folder)
    near = encoder.embed_text("a brown dog") @ encoder.embed_picture(pixels)

Both packages read data only: no code of a model is run, and no library of operators is loaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import squash
from edge_sim.core.types import BgrImage, FloatVector, check_picture
from edge_sim.errors import ModelError
from edge_sim.vision.dual_encoders.files import (
    TEXTUAL,
    TEXTUAL_FILES,
    TOKENIZER,
    TOKENIZER_CONFIG,
    VISUAL,
    VISUAL_FILES,
    DualEncoderCard,
    VisualSettings,
    check_sums,
    read_dual_encoder_card,
    read_pad_token,
    read_preprocessing,
    read_settings,
    read_tokenizer,
)
from edge_sim.vision.dual_encoders.memory import check_memory

MAX_TEXT = 1000
_MOST_THREADS = 4
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_WHOLE = {"tensor(int32)": np.int32, "tensor(int64)": np.int64}


class OnnxDualEncoder:
    """Dual encoder in a folder; each of its two models is loaded when it is first used.

    Args:
        folder: Folder as `files` describes it.
        card: Card of the folder.

    Raises:
        ModelError: The settings cannot be used.
    """

    def __init__(self, folder: Path, card: DualEncoderCard) -> None:
        self.folder = folder
        self.card = card
        self._settings = read_settings(folder)
        self._preprocessing = read_preprocessing(folder)
        self._visual: Any = None
        self._textual: tuple[Any, Any] | None = None

    @property
    def model_id(self) -> str:
        """`<name>@<12 digits over all files>`."""
        return self.card.model_id

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self._settings.embed_dim

    @property
    def input_px(self) -> int:
        """Side of the square that pictures are brought to, pixels."""
        return self._preprocessing.side_px

    def embed_picture(self, pixels: BgrImage) -> FloatVector:
        """Return the (D,) float32 unit vector of (H, W, 3) uint8 BGR pixels.

        Raises:
            PictureError: Not (H, W, 3) uint8.
            ModelError: The model cannot be loaded, or gives no vector.
        """
        check_picture(pixels)
        if self._visual is None:
            check_sums(self.folder, self.card, VISUAL_FILES)
            self._visual = _session(self.folder / VISUAL)
        (tensor,) = self._inputs(self._visual, 1, VISUAL)
        kind = _kind_of(tensor, _FLOATS, self.folder / VISUAL)
        values = prepared(pixels, self._preprocessing).astype(kind)
        return self._vector(self._visual, {tensor.name: values}, VISUAL)

    def embed_text(self, text: str) -> FloatVector:
        """Return the (D,) float32 unit vector of a text; the tokens after the last are cut off.

        Raises:
            ModelError: The text is longer than 1,000 characters, the model cannot be loaded, or
                gives no vector.
        """
        if len(text) > MAX_TEXT:
            raise ModelError(f"the text has {len(text)} characters; {MAX_TEXT} are allowed")
        if self._textual is None:
            check_sums(self.folder, self.card, TEXTUAL_FILES)
            tokenizer = _tokenizer(self.folder, self._settings.text_cfg.context_length)
            self._textual = tokenizer, _session(self.folder / TEXTUAL)
        tokenizer, session = self._textual
        tokens = tokenizer.encode(cleaned(text, canonical=self._settings.text_cfg.is_canonical))
        feed = {}
        for tensor in self._inputs(session, 2, TEXTUAL):
            numbers = tokens.attention_mask if "mask" in tensor.name else tokens.ids
            kind = _kind_of(tensor, _WHOLE, self.folder / TEXTUAL)
            feed[tensor.name] = np.array([numbers], kind)
        return self._vector(session, feed, TEXTUAL)

    def _inputs(self, session: Any, most: int, name: str) -> list[Any]:
        found = list(session.get_inputs())
        if not 1 <= len(found) <= most:
            names = ", ".join(tensor.name for tensor in found)
            raise ModelError(f"{self.folder / name}: takes {names}; it must take {most} at most")
        return found

    def _vector(self, session: Any, feed: Mapping[str, NDArray[Any]], name: str) -> FloatVector:
        path = self.folder / name
        try:
            output = np.asarray(session.run(None, feed)[0], np.float32).reshape(-1)
        except Exception as error:
            raise ModelError(f"{path}: cannot be run ({_line(error)})") from error
        if output.size != self.dimension:
            raise ModelError(
                f"{path}: gives {output.size} numbers, config.json says {self.dimension}"
            )
        length = float(np.linalg.norm(output.astype(np.float64)))
        if not np.isfinite(length) or length < 1e-12:
            raise ModelError(f"{path}: gives no vector that has a direction")
        return np.asarray(output / np.float32(length), np.float32)


def open_dual_encoder(folder: Path) -> OnnxDualEncoder:
    """Return an imported dual encoder.

    Raises:
        ModelError: There is none in the folder, its settings cannot be used, or the packages of
            the extra `text` are missing.
    """
    found = OnnxDualEncoder(folder, read_dual_encoder_card(folder))
    runtime()
    return found


def runtime() -> tuple[Any, Any]:
    """Return the packages onnxruntime and tokenizers.

    Raises:
        ModelError: One is not installed.
    """
    try:
        import onnxruntime
        import tokenizers
    except ImportError as error:
        raise ModelError(
            "text models need onnxruntime and tokenizers: pip install 'edge_sim[text]'"
        ) from error
    return onnxruntime, tokenizers


def prepared(pixels: BgrImage, settings: VisualSettings) -> NDArray[np.float32]:
    """Return the (1, 3, S, S) float32 input of a picture, red first."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    if settings.resize_mode == "shortest":
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    elif settings.resize_mode == "longest":
        side = max(height, width)
        whole = np.full((side, side, 3), settings.fill_color, np.uint8)
        top, left = (side - height) // 2, (side - width) // 2
        whole[top : top + height, left : left + width] = pixels
        pixels = whole
    levels = squash(np.ascontiguousarray(pixels), settings.side_px)[:, :, ::-1] / np.float32(255.0)
    mean, std = (np.array(value, np.float32) for value in (settings.mean, settings.std))
    values = (levels - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)


def cleaned(text: str, *, canonical: bool) -> str:
    """Return a text with single spaces; a canonical one in lower case and without punctuation."""
    if canonical:
        text = _PUNCTUATION.sub("", text).lower()
    return " ".join(text.split())


def _session(path: Path) -> Any:
    onnxruntime, _ = runtime()
    check_memory(path.stat().st_size, str(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(_MOST_THREADS, os.cpu_count() or 1)
    # Threads that spin while they wait would take the cores from everything else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    onnxruntime.set_default_logger_severity(4)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path}: cannot be loaded ({_line(error)})") from error


def _tokenizer(folder: Path, length: int) -> Any:
    _, tokenizers = runtime()
    path = folder / TOKENIZER
    try:
        found = tokenizers.Tokenizer.from_str(read_tokenizer(folder))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{path}: not a tokenizer ({_line(error)})") from error
    token = read_pad_token(folder)
    number = None if token is None else found.token_to_id(token)
    if number is None:
        raise ModelError(
            f"{folder / TOKENIZER_CONFIG}: its pad_token {token!r} is no token of tokenizer.json"
        )
    found.enable_padding(length=length, pad_token=token, pad_id=number)
    found.enable_truncation(max_length=length)
    return found


def _kind_of(tensor: Any, kinds: Mapping[str, Any], path: Path) -> Any:
    if tensor.type not in kinds:
        raise ModelError(
            f"{path}: takes {tensor.name} as {tensor.type}, not as {' or '.join(kinds)}"
        )
    return kinds[tensor.type]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
