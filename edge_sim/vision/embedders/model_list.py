"""List of the models that are installed, with the role and the problems of each.

for model in list_models(default_model_path().parent, folder):
    ...
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_sim.errors import ModelError
from edge_sim.vision.embedders.card import ModelCard, read_card
from edge_sim.vision.embedders.model_file import ModelFile, read_model_file
from edge_sim.vision.embedders.model_import import is_classifier
from edge_sim.vision.embedders.model_trial import verified_sums
from edge_sim.vision.embedders.tflite import plan_tensors

SHIPPED, IMPORTED = "shipped", "imported"
EMBEDDER, CLASSIFIER, UNUSABLE = "embedder", "classifier", "unusable"
MATCHES, VERIFIED, NO_CARD, REJECTED = "matches its card", "verified", "no card", "rejected"


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """One .tflite file.

    Args:
        path: Path of the file.
        origin: `shipped` with edge_sim or `imported` by the user.
        role: `embedder`, `classifier` (`model import` makes an embedder of it) or `unusable`.
        size_bytes: Size of the file.
        sha256: SHA-256 of the file; None if it is no model.
        card: `matches its card`, `verified` (on the list of its folder), `no card` (and not
            verified: no program loads it) or `rejected`.
        input_px: Height and width of the input picture; None without one.
        outputs: Name and shape of each output.
        problem: One line; None without a problem.
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


def list_models(shipped: Path, folder: Path) -> tuple[InstalledModel, ...]:
    """Return the models in both folders, those that came with edge_sim first, by name.

    A folder that is not there has none. Nothing is loaded into a runtime.
    """
    models = []
    for place, origin in ((shipped, SHIPPED), (folder, IMPORTED)):
        # A name with a dot in front is a model that is being written.
        paths = sorted(path for path in place.glob("*.tflite") if path.name[0] != ".")
        models += [describe_model(path, origin) for path in paths]
    return tuple(models)


def describe_model(path: Path, origin: str) -> InstalledModel:
    """Return the description of one file, its problem included."""
    try:
        size = path.stat().st_size
        model = read_model_file(path)
    except (OSError, ModelError) as error:
        size = path.stat().st_size if path.exists() else 0
        return InstalledModel(path, origin, UNUSABLE, size, card=REJECTED, problem=str(error))
    card: ModelCard | None = None
    state, problem = NO_CARD, None
    try:
        card = read_card(path, model.sha256)
        verified = VERIFIED if model.sha256 in verified_sums(path.parent) else NO_CARD
        state = verified if card is None else MATCHES
    except ModelError as error:
        state, problem = REJECTED, str(error)
    role, reason = _role(model, card)
    sides = [spec.shape for spec in model.inputs if len(spec.shape) == 4]
    return InstalledModel(
        path=path,
        origin=origin,
        role=UNUSABLE if state == REJECTED else role,
        size_bytes=size,
        sha256=model.sha256,
        card=state,
        input_px=(sides[0][1], sides[0][2]) if sides else None,
        outputs=tuple((output.name, output.shape) for output in model.outputs),
        problem=problem or reason,
    )


def _role(model: ModelFile, card: ModelCard | None) -> tuple[str, str | None]:
    """Return the role of a file, and the reason where it is unusable."""
    if card is None and is_classifier(model):
        return CLASSIFIER, None
    try:
        plan_tensors(model, card)
    except ModelError as error:
        return UNUSABLE, str(error)
    return EMBEDDER, None
