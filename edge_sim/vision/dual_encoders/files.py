"""Files of a dual encoder: a folder as the photo server Immich keeps it, and a card of our own.

    config.json                     embed_dim, text_cfg (context_length, tokenizer_kwargs)
    visual/model.onnx               (1, 3, S, S) float32 -> (1, D)
    visual/preprocess_cfg.json      size, mean, std, resize_mode
    textual/model.onnx              (1, L) token numbers -> (1, D)
    textual/tokenizer.json          of the package tokenizers
    textual/tokenizer_config.json   pad_token

The settings are those of OpenCLIP (https://github.com/mlfoundations/open_clip), the layout is that
of https://huggingface.co/immich-app. The card, `card.json`, is written by an import: it holds the
SHA-256 of every file, and what is not on it is not loaded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from edge_sim.core.files import is_dir, is_file, read_bounded
from edge_sim.errors import ModelError

CONFIG = "config.json"
VISUAL = "visual/model.onnx"
PREPROCESSING = "visual/preprocess_cfg.json"
TEXTUAL = "textual/model.onnx"
TOKENIZER = "textual/tokenizer.json"
TOKENIZER_CONFIG = "textual/tokenizer_config.json"
FILES = (CONFIG, VISUAL, PREPROCESSING, TEXTUAL, TOKENIZER, TOKENIZER_CONFIG)
VISUAL_FILES = (CONFIG, VISUAL, PREPROCESSING)
TEXTUAL_FILES = (CONFIG, TEXTUAL, TOKENIZER, TOKENIZER_CONFIG)
CARD = "card.json"
LICENSE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "README.md")
FOLDER = "text"
"""Folder of the dual encoders inside the folder of a user's models."""
SCHEMA = 1
_SMALL_BYTES = 1_000_000
_TOKENIZER_BYTES = 256 << 20
_BLOCK_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FRONT_MATTER = re.compile(r"\A---\n.*?^license:[ \t]*['\"]?([\w.+-]+)", re.MULTILINE | re.DOTALL)
T = TypeVar("T")


class VisualSettings(msgspec.Struct, frozen=True):
    """Content of `preprocess_cfg.json`. Other keys are ignored.

    Args:
        size: Side of the input in pixels, or height and width, which must be equal.
        mean: Mean per colour, red first, in fractions of 255.
        std: Divisor per colour.
        resize_mode: `shortest` takes the square in the middle, `squash` the whole picture out of
            proportion, `longest` the whole picture with bars.
        fill_color: Level of the bars, 0 to 255.
    """

    size: int | tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_mode: Literal["shortest", "squash", "longest"] = "shortest"
    fill_color: int = 0

    @property
    def side_px(self) -> int:
        """Side of the square input, pixels."""
        return self.size if isinstance(self.size, int) else self.size[0]


class TextSettings(msgspec.Struct, frozen=True):
    """Part `text_cfg` of `config.json`: length of the input in tokens, and options of cleaning."""

    context_length: int = 77
    tokenizer_kwargs: Mapping[str, Any] = msgspec.field(default_factory=dict)

    @property
    def is_canonical(self) -> bool:
        """True if texts are taken without punctuation and in lower case, as SigLIP does."""
        return self.tokenizer_kwargs.get("clean") == "canonicalize"


class EncoderSettings(msgspec.Struct, frozen=True):
    """Content of `config.json`. Other keys are ignored."""

    embed_dim: int
    text_cfg: TextSettings = msgspec.field(default_factory=TextSettings)


class DualEncoderCard(msgspec.Struct, frozen=True, kw_only=True):
    """Card of an imported dual encoder.

    Args:
        schema: Number of the schema: 1.
        name: Name, that of the folder.
        license: SPDX identifier or first line of the licence, `unknown` where none was found.
        source: Address that it was pulled from; None if a folder was imported.
        sha256: Name of each file and its SHA-256, 64 hexadecimal digits.
        dimension: Length of the vectors.
        input_px: Side of the input, pixels.
    """

    schema: int
    name: str
    license: str
    source: str | None
    sha256: Mapping[str, str]
    dimension: int
    input_px: int

    @property
    def model_id(self) -> str:
        """Return `<name>@<12 digits over all files>`."""
        sums = "".join(self.sha256.get(name, "") for name in FILES)
        return f"{self.name}@{hashlib.sha256(sums.encode()).hexdigest()[:12]}"


def check_name(name: str) -> str:
    """Return a name for a dual encoder.

    Raises:
        ModelError: It has other characters than letters, digits, dot, hyphen and underscore, or is
            `none`.
    """
    if not _NAME.fullmatch(name) or name == "none":
        raise ModelError(
            f"{name[:60]!r} cannot name a text model: take letters, digits, `.`, `-` and `_`, "
            f"and not `none`"
        )
    return name


def check_layout(folder: Path) -> None:
    """Raise `ModelError` unless a folder has all files of a dual encoder."""
    if not is_dir(folder):
        raise ModelError(f"{folder}: no such folder")
    missing = [name for name in FILES if not is_file(folder / name)]
    if missing:
        raise ModelError(
            f"{folder}: no dual encoder as docs/models.md describes one: no {', '.join(missing)}"
        )


def read_settings(folder: Path) -> EncoderSettings:
    """Return the content of `config.json`.

    Raises:
        ModelError: It cannot be read, or is something else.
    """
    path = folder / CONFIG
    found = _decoded(path, EncoderSettings)
    if not 1 <= found.embed_dim <= 65_536:
        raise ModelError(f"{path}: embed_dim is 1 to 65536, got {found.embed_dim}")
    if not 1 <= found.text_cfg.context_length <= 65_536:
        length = found.text_cfg.context_length
        raise ModelError(f"{path}: text_cfg.context_length is 1 to 65536, got {length}")
    return found


def read_preprocessing(folder: Path) -> VisualSettings:
    """Return the content of `preprocess_cfg.json`.

    Raises:
        ModelError: It cannot be read, or is something else.
    """
    path = folder / PREPROCESSING
    found = _decoded(path, VisualSettings)
    if not isinstance(found.size, int) and found.size[0] != found.size[1]:
        raise ModelError(f"{path}: the input must be a square, got {list(found.size)}")
    if not 1 <= found.side_px <= 4096:
        raise ModelError(f"{path}: size is 1 to 4096, got {found.side_px}")
    if not all(found.std):
        raise ModelError(f"{path}: std must not hold 0")
    return found


class _TokenizerConfig(msgspec.Struct, frozen=True):
    pad_token: str | dict[str, Any] | None = None


def read_pad_token(folder: Path) -> str | None:
    """Return the token that fills short texts up; None where `tokenizer_config.json` names none.

    Raises:
        ModelError: The file cannot be read, or is something else.
    """
    token = _decoded(folder / TOKENIZER_CONFIG, _TokenizerConfig).pad_token
    return str(token.get("content")) if isinstance(token, dict) else token


def read_tokenizer(folder: Path) -> str:
    """Return the text of `tokenizer.json`.

    Raises:
        ModelError: It cannot be read, or is no text.
    """
    path = folder / TOKENIZER
    try:
        return read_bounded(path, _TOKENIZER_BYTES).decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: no text ({error.reason})") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def read_dual_encoder_card(folder: Path) -> DualEncoderCard:
    """Return the card of an imported dual encoder.

    Raises:
        ModelError: There is none, or it cannot be used.
    """
    path = folder / CARD
    if not is_file(path):
        raise ModelError(
            f"{folder}: no imported text model; `edge-sim model import-text {folder}` tries and "
            f"imports one"
        )
    card = _decoded(path, DualEncoderCard)
    if card.schema != SCHEMA:
        raise ModelError(f"{path}: schema {card.schema}, this edge_sim reads {SCHEMA}")
    return card


def check_sums(folder: Path, card: DualEncoderCard, names: tuple[str, ...]) -> None:
    """Raise `ModelError` unless some files are those of the card."""
    for name in names:
        if sha256_of(folder / name) != card.sha256.get(name):
            raise ModelError(
                f"{folder / name}: changed since it was imported; import the model again"
            )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        ModelError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def license_of(folder: Path) -> str:
    """Return the licence that a folder states; `unknown` where it states none.

    It is `license` in the head of README.md, as on Hugging Face, or the first line of a LICENSE.
    """
    texts = {}
    for name in LICENSE_FILES:
        if is_file(folder / name):
            try:
                texts[name] = read_bounded(folder / name, _SMALL_BYTES).decode("utf-8", "replace")
            except OSError:
                continue
    stated = _FRONT_MATTER.search(texts.pop("README.md", "").replace("\r\n", "\n"))
    if stated is not None:
        return stated[1]
    lines = (line.strip() for text in texts.values() for line in text.splitlines())
    return next((line[:100] for line in lines if line), "unknown")


def _decoded(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(read_bounded(path, _SMALL_BYTES), type=kind)
    except msgspec.DecodeError as error:
        raise ModelError(f"{path}: not as it should be ({error})") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
