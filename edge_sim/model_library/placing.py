"""A classifier becomes an embedder with its card: both under their final names, or neither."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from edge_sim.embedders.card import SCHEMA as CARD_SCHEMA
from edge_sim.embedders.card import CardInput, CardOutput, CardOutputs, ModelCard, card_path
from edge_sim.embedders.classifier_cut import embedder_bytes
from edge_sim.embedders.model_file import ModelFile, read_model_file
from edge_sim.embedders.tensors import plan_tensors
from edge_sim.embedders.tflite import TfliteEmbedder, open_tflite
from edge_sim.errors import ModelError
from edge_sim.model_library.soundness import red_to_blue_cosine


def import_classifier(source: ModelFile, out: Path, *, license_name: str) -> TfliteEmbedder:
    """Cut a classifier, try the result, and put it at `out` with its card beside it.

    Args:
        source: The classifier.
        out: Ends in .tflite; its folder is there.
        license_name: SPDX identifier of the weights, for the card.

    Raises:
        ModelError: Not a classifier, `out` or its card is there already or cannot be written, or
            what comes out does not work; nothing is left behind.
    """
    if out.suffix != ".tflite":
        raise ModelError(f"{out}: the file to write must end in .tflite")
    for taken in (out, card_path(out)):
        if taken.exists():
            raise ModelError(f"{taken}: is there already; remove it or give another name")
    data = embedder_bytes(source)
    plan_tensors(source, None)  # What is wrong with the picture it wants is said of this file.
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=out.parent) as shop:
            draft = Path(shop) / out.name
            _write(draft, data)
            _write(card_path(draft), _card(source, read_model_file(draft), license_name))
            _try_out(draft, out)
            # The card first: without its model it is nothing, a model without its card is taken
            # for one of whom nobody knows where it comes from.
            card_path(draft).replace(card_path(out))
            draft.replace(out)
    except OSError as error:
        raise ModelError(f"{out}: cannot write ({error.strerror or error})") from error
    return open_tflite(out)


def _try_out(draft: Path, out: Path) -> None:
    try:
        red_to_blue_cosine(open_tflite(draft))
    except ModelError as error:
        # The user knows the final name only.
        raise ModelError(str(error).replace(str(draft), str(out))) from error


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _card(source: ModelFile, cut: ModelFile, license_name: str) -> bytes:
    """Return the card of a cut classifier, as JSON."""
    picture = cut.inputs[0]
    outputs = [CardOutput(name=output.name, shape=output.shape) for output in cut.outputs]
    card = ModelCard(
        schema=CARD_SCHEMA,
        name=cut.path.stem,
        file=cut.path.name,
        sha256=cut.sha256,
        license=license_name,
        input=CardInput(
            size=picture.shape[1],
            dtype=picture.dtype,
            scale=picture.scale,
            zero_point=picture.zero_point,
        ),
        outputs=CardOutputs(vector=outputs[0], spatial=outputs[1] if outputs[1:] else None),
        training={"cut_from": source.path.name, "cut_from_sha256": source.sha256},
    )
    return msgspec.json.format(msgspec.json.encode(card), indent=2)
