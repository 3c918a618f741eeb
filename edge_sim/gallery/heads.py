"""Learned heads of watches, kept in the gallery file as part of its history.

A head applies as long as every reference it was learned from is present with its state, and the
watch has the same states and model: then the measurements of it still hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_sim.errors import GalleryError
from edge_sim.gallery import head as head_rows
from edge_sim.gallery import history
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.head import Head
from edge_sim.gallery.records import Revision
from edge_sim.gallery.store import GalleryStore


@dataclass(frozen=True, slots=True, eq=False)
class KeptHead:
    """Head of the gallery file.

    Args:
        head: Head as it was learned.
        outdated: Reason why it no longer applies, one line; None if it does.
    """

    head: Head
    outdated: str | None


def keep_heads(
    store: GalleryStore, heads: Mapping[str, Head | None], *, revision: int, detail: str
) -> Revision:
    """Keep the heads of watches, in place of older ones, as one revision.

    Args:
        store: The open gallery file.
        heads: Watch -> head; None takes its head out.
        revision: Revision that the heads were learned at.
        detail: Text for the log.

    Raises:
        GalleryError: The gallery has changed since, or cannot be written.
    """
    with store.changing("adapt", detail) as (connection, number):
        if number - 1 != revision:
            raise GalleryError(
                f"{store.path}: the gallery changed while the heads were learned; learn them again"
            )
        for watch, head in heads.items():
            records = history.records_at(connection, revision)
            own = tuple((item.reference_id, item.state) for item in records if item.watch == watch)
            head_rows.put(connection, number, watch, head, own)
    return store.log(limit=1)[0]


def kept_head(store: GalleryStore, watch: str, gallery: Gallery) -> KeptHead | None:
    """Return the head that a watch has at the revision of `gallery`; None if it has none.

    Args:
        store: The open gallery file.
        watch: Name of the watch.
        gallery: References of the watch, from this store.

    Raises:
        GalleryError: The row of the head is damaged.
    """
    with store.reading() as connection:
        found = head_rows.find(connection, watch, gallery.revision)
    if found is None:
        return None
    head, facts = found
    return KeptHead(head, _outdated(facts, gallery))


def _outdated(facts: head_rows.HeadInfo, gallery: Gallery) -> str | None:
    if facts.model_id != gallery.model_id:
        return f"it was learned for the model {facts.model_id}"
    if facts.states != gallery.states:
        return f"it was learned for the states {', '.join(facts.states)}"
    present = {(item.reference_id, item.state) for item in gallery}
    gone = sum(pair not in present for pair in facts.learned_from)
    return f"{gone} of its references are gone or relabelled" if gone else None
