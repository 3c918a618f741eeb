"""References found again in the gallery file, for those who did not keep them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge_sim.domain import Reference
from edge_sim.errors import GalleryError
from edge_sim.gallery_store import history
from edge_sim.gallery_store.database import open_database, transaction, translated

logger = logging.getLogger(__name__)

_TIMEOUT_S = 1.0  # a look waits for it; readers have to wait for next to nothing


@dataclass(frozen=True, slots=True)
class FromFile:
    """Finds references of one revision again: a `gallery.Recall`.

    The file is opened each time: few looks are told to anybody, and any thread may ask. What
    cannot be read is logged and left out, for nobody's decision hangs on it.

    Args:
        path: Of the gallery file.
        revision: At which the references were read.
    """

    path: Path
    revision: int

    def __call__(self, reference_ids: Iterable[str]) -> dict[str, Reference]:
        """Return those of the references that can be had."""
        try:
            opened = open_database(self.path, create=False, read_only=True, timeout_s=_TIMEOUT_S)
            with (
                closing(opened) as connection,
                translated(self.path),
                transaction(connection, writes=False),
            ):
                return history.references_of(connection, reference_ids, self.revision)
        except GalleryError as error:
            logger.warning("references cannot be read again: %s", error)
            return {}
