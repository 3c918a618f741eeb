"""An index on disk of the pictures in a folder: build it once, bring it up to date, search it.

    with IndexStore.open("photos.index", create=Plan(Path("photos"), embedder.model_id)) as store:
        update(store, embedder)
        table = store.table()

An index is a folder. `index.db` (SQLite) is the truth: what is known of each file, and its vector.
`vectors-<n>.npy` and `graph-<n>.usearch` are made from it, to be mapped by a search; where they
are missing or out of date they are made again.
"""

from edge_sim.index_store.building import UpdateReport, Watching, update
from edge_sim.index_store.looks import look_of
from edge_sim.index_store.records import (
    LOOK_PX,
    IndexEntry,
    IndexPlan,
    Info,
    PictureTable,
    Unread,
    VectorScale,
)
from edge_sim.index_store.store import IndexStore
from edge_sim.index_store.vectors import one_vector, part_of

__all__ = [
    "LOOK_PX",
    "IndexEntry",
    "IndexPlan",
    "IndexStore",
    "Info",
    "PictureTable",
    "Unread",
    "UpdateReport",
    "VectorScale",
    "Watching",
    "look_of",
    "one_vector",
    "part_of",
    "update",
]
