"""Which models are at hand, and whether each of them can be used.

Models at hand and models to be had: list, fetch, import.

    embedder = pull(PUBLIC["v3-small"], folder, opener=urllib.request.build_opener())
    for model in list_models(default_model_path().parent, folder):
        ...

Only `pull` uses the network, and only when it is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_sim.errors import ModelError
from edge_sim.vision.embedders.card import ModelCard, read_card
from edge_sim.vision.embedders.model_file import ModelFile, read_model_file
from edge_sim.vision.embedders.model_import import is_classifier
from edge_sim.vision.embedders.tflite import plan_tensors

SHIPPED, IMPORTED = "shipped", "imported"
EMBEDDER, CLASSIFIER, UNUSABLE = "embedder", "classifier", "unusable"
MATCHES, NO_CARD, REFUSED = "matches its card", "no card", "refused"


@dataclass(frozen=True, slots=True)
class Shelved:
    """One .tflite file.

    Args:
        path: Of the file.
        origin: `shipped` with edge_sim or `imported` by the user.
        role: `embedder`, `classifier` (`model import` makes an embedder of it) or `unusable`.
        size_bytes: Of the file.
        sha256: Of the file; None if it is no model.
        card: `matches its card`, `no card` or `refused`.
        input_px: Height and width of the picture; None if there is none.
        outputs: (name, shape) of each.
        problem: One line, None if all is well.
    """

    path: Path
    origin: str
    role: str
    size_bytes: int
    sha256: str | None = None
    card: str = NO_CARD
    input_px: tuple[int, int] | None = None
    outputs: tuple[tuple[str, tuple[int, ...]], ...] = ()
    problem: str | None = None


def list_models(shipped: Path, folder: Path) -> tuple[Shelved, ...]:
    """Return the models in both folders, those that came with edge_sim first, by name.

    A folder that is not there has none. Nothing is loaded into a runtime.
    """
    found = []
    for place, origin in ((shipped, SHIPPED), (folder, IMPORTED)):
        # A name with a dot in front is a model that is being written.
        paths = sorted(path for path in place.glob("*.tflite") if path.name[0] != ".")
        found += [shelved(path, origin) for path in paths]
    return tuple(found)


def shelved(path: Path, origin: str) -> Shelved:
    """Return what can be said of one file; what is wrong with it is part of that."""
    try:
        size = path.stat().st_size
        model = read_model_file(path)
    except (OSError, ModelError) as error:
        size = path.stat().st_size if path.exists() else 0
        return Shelved(path, origin, UNUSABLE, size, card=REFUSED, problem=str(error))
    card: ModelCard | None = None
    state, problem = NO_CARD, None
    try:
        card = read_card(path, model.sha256)
        state = NO_CARD if card is None else MATCHES
    except ModelError as error:
        state, problem = REFUSED, str(error)
    role, reason = _role(model, card)
    sides = [spec.shape for spec in model.inputs if len(spec.shape) == 4]
    return Shelved(
        path=path,
        origin=origin,
        role=UNUSABLE if state == REFUSED else role,
        size_bytes=size,
        sha256=model.sha256,
        card=state,
        input_px=(sides[0][1], sides[0][2]) if sides else None,
        outputs=tuple((output.name, output.shape) for output in model.outputs),
        problem=problem or reason,
    )


def _role(model: ModelFile, card: ModelCard | None) -> tuple[str, str | None]:
    """Return what a file is for, and why it is for nothing."""
    if card is None and is_classifier(model):
        return CLASSIFIER, None
    try:
        plan_tensors(model, card)
    except ModelError as error:
        return UNUSABLE, str(error)
    return EMBEDDER, None
