"""Fetching a public model and making an embedder of it."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edge_sim.embedders.card import card_path
from edge_sim.embedders.model_file import read_model_file
from edge_sim.embedders.tflite import TfliteEmbedder, open_tflite
from edge_sim.errors import ModelError
from edge_sim.model_library.download import Opener, Watch, download
from edge_sim.model_library.placing import import_classifier
from edge_sim.model_library.public import DamagedArchiveError, PublicModel, model_in


@dataclass(frozen=True, slots=True, eq=False)
class Pulled:
    """What `pull` made or found; `was_there` if nothing had to be done."""

    embedder: TfliteEmbedder
    was_there: bool


def pull(
    model: PublicModel,
    folder: Path,
    *,
    opener: Opener,
    source: str | None = None,
    watch: Watch = lambda _done, _total: None,
) -> Pulled:
    """Return the embedder made of a public model, fetched into `folder` if it is not there.

    An interrupted fetch is continued. What was continued and does not fit together is fetched
    anew, once.

    Args:
        model: Of `PUBLIC`.
        folder: Is made if it is not there.
        opener: Sends the requests.
        source: Another address of the archive, or the path of a copy; None for the public one.
        watch: Told how many bytes have arrived.

    Raises:
        ModelError: No connection, a wrong file, or the folder cannot be written.
    """
    out = folder / f"{model.name}.tflite"
    if out.exists():
        return Pulled(_already_there(out, model), True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{folder}: cannot make the folder ({error.strerror})") from error
    place = model.url if source is None else source
    if "://" in place:
        data = _fetched(model, place, _part(folder, model), opener, watch)
    else:
        data = model_in(Path(place), model)
    embedder = _imported(model, data, out)
    _part(folder, model).unlink(missing_ok=True)
    return Pulled(embedder, False)


def _part(folder: Path, model: PublicModel) -> Path:
    return folder / f"{model.name}.tgz.part"


def _fetched(model: PublicModel, url: str, part: Path, opener: Opener, watch: Watch) -> bytes:
    was_begun = part.exists() and part.stat().st_size > 0
    download(url, part, opener=opener, watch=watch)
    try:
        return _checked(part, model)
    except DamagedArchiveError:
        if not was_begun:
            raise
    # The server's file may have changed since the first part of it came.
    download(url, part, opener=opener, watch=watch)
    return _checked(part, model)


def _checked(part: Path, model: PublicModel) -> bytes:
    """Return the model in `part`; a damaged archive is removed, there is nothing to continue."""
    try:
        return model_in(part, model)
    except DamagedArchiveError:
        part.unlink(missing_ok=True)
        raise


def _imported(model: PublicModel, data: bytes, out: Path) -> TfliteEmbedder:
    # A card without its model is left where a machine lost power between the two.
    card_path(out).unlink(missing_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=out.parent) as shop:
            path = Path(shop) / model.member
            path.write_bytes(data)
            return import_classifier(read_model_file(path), out, license_name=model.license)
    except OSError as error:
        raise ModelError(f"{out}: cannot write ({error.strerror or error})") from error


def _already_there(out: Path, model: PublicModel) -> TfliteEmbedder:
    """Return the embedder at `out`.

    Raises:
        ModelError: It was made of something else.
    """
    with contextlib.suppress(ModelError):
        embedder = open_tflite(out)
        training = embedder.card.training if embedder.card is not None else None
        if isinstance(training, dict) and training.get("cut_from_sha256") == model.sha256:
            return embedder
    raise ModelError(f"{out}: is there, but was not made of {model.member}; move it away")
