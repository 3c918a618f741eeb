"""The text model of an index: `edge-sim index build --text-model`, and `edge-sim search --text`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_sim.cli.output import note, progress
from edge_sim.core.files import printable

if TYPE_CHECKING:
    from edge_sim.core.protocols import DualEncoder
    from edge_sim.search.searcher import Collection, Query
    from edge_sim.search.store import IndexStore

NONE = "none"
_LINES_S = 10.0
_SHOWN_FAULTS = 20


class TextFacts(msgspec.Struct, frozen=True):
    """Text column of an index, for people and as JSON.

    Args:
        model_id: Dual encoder of the vectors.
        folder: Folder of the encoder.
        pictures: Number of pictures that can be searched in words.
        missing: Number of pictures without a vector.
    """

    model_id: str
    folder: str
    pictures: int
    missing: int

    def __str__(self) -> str:
        rest = f", {self.missing} without a vector" if self.missing else ""
        return f"{self.model_id}, {self.pictures} pictures{rest}"


def text_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the text model of an index."""
    parser.add_argument(
        "--text-model",
        metavar="NAME",
        help="a dual encoder from `model import-text`, by which `search --text` finds pictures; "
        "`none` takes it off; left out: as before",
    )


def check_text_model(spec: str | None) -> None:
    """Raise `ModelError` where --text-model names no encoder that can be opened."""
    if spec is not None and spec != NONE:
        _opened(spec)


def _opened(spec: str) -> tuple[Path, DualEncoder]:
    from edge_sim.cli.model import user_models
    from edge_sim.cli.options import absolute
    from edge_sim.vision.dual_encoders.install import encoder_folder
    from edge_sim.vision.dual_encoders.onnx_encoder import open_dual_encoder

    folder = absolute(encoder_folder(spec, user_models()))
    return folder, open_dual_encoder(folder)


def planned(store: IndexStore, spec: str | None) -> tuple[Path, DualEncoder] | None:
    """Return the encoder by which the pictures of an index get vectors for words, and its folder.

    None if there is none; where that of the index cannot be opened on this machine, it is said.

    Args:
        store: Open index.
        spec: Name or folder of a dual encoder, `none`, or None for that of the index.

    Raises:
        ModelError: There is no such encoder, or it cannot be used.
        SearchError: The text column cannot be read or deleted.
    """
    from edge_sim.errors import ModelError
    from edge_sim.search.text_column import drop_text_column, open_text_column

    if spec == NONE:
        drop_text_column(store.path)
        return None
    if spec is not None:
        return _opened(spec)
    column = open_text_column(store.path)
    if column is None:
        return None
    with column:
        folder = str(column.model_folder)
    try:
        return _opened(folder)
    except ModelError as error:
        note(f"new pictures get no vector for words: {error}")
        return None


def fill(store: IndexStore, chosen: tuple[Path, DualEncoder] | None) -> TextFacts | None:
    """Give the pictures of an index their vectors for words; return what it holds then.

    Args:
        store: Open index.
        chosen: Result of `planned`.

    Raises:
        ModelError: The encoder cannot be loaded.
        SearchError: The text column cannot be read or written.
    """
    from edge_sim.search.text_column import fill_text_column

    if chosen is None:
        return described(store)
    folder, encoder = chosen
    show = partial(progress, label="words", every_s=_LINES_S)
    report = fill_text_column(store, encoder, folder, progress=show)
    for path, reason in report.failed[:_SHOWN_FAULTS]:
        note(f"not for words: {printable(path)}: {printable(reason)}")
    if len(report.failed) > _SHOWN_FAULTS:
        note(f"and {len(report.failed) - _SHOWN_FAULTS} more")
    return described(store)


def described(store: IndexStore) -> TextFacts | None:
    """Return the facts of the text column of an index; None if it has none."""
    from edge_sim.search.text_column import open_text_column

    column = open_text_column(store.path)
    if column is None:
        return None
    with column:
        pictures, missing = column.counts(store)
        return TextFacts(column.model_id, printable(column.model_folder), pictures, missing)


def problems(index: Path) -> tuple[str, ...]:
    """Return the faults of the text column of an index, a line each."""
    from edge_sim.errors import SearchError
    from edge_sim.search.text_column import open_text_column

    try:
        column = open_text_column(index)
        if column is None:
            return ()
        with column:
            return column.problems()
    except SearchError as error:
        return (str(error),)


def text_search(index: Path, pictures: Collection, text: str) -> tuple[Collection, Query] | None:
    """Return pictures and query of a search by the text model of an index; None if it has none.

    Raises:
        ModelError: The model is not there, changed, or gives no vector.
        SearchError: The column cannot be read.
    """
    from edge_sim.search.store import IndexStore
    from edge_sim.search.text_column import open_text_column
    from edge_sim.vision.dual_encoders.onnx_encoder import open_dual_encoder

    column = open_text_column(index)
    if column is None:
        return None
    with column, IndexStore.open(index) as store:
        query = column.query(text, open_dual_encoder(column.model_folder))
        found = column.collection(store, pictures)
    missing = len(pictures.names) - len(found.names)
    if missing:
        note(f"{missing} pictures have no vector for words yet; `edge-sim index build` makes them")
    return found, query
