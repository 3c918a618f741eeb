"""The gallery file: one SQLite file per device that holds the references of all its watches.

Every change is one transaction and one revision; any revision can be rebuilt, so every change can
be undone. Pictures and embeddings are written once and never changed; what a revision changes are
the light rows that say which of them belongs to which watch and state.

    with GalleryStore.open("gallery.db", create=True) as store:
        store.add("bowl", enrolled)
        gallery = store.gallery("bowl", model_id=embedder.model_id)
"""

from edge_sim.gallery_store.calibrations import (
    KeptCalibration,
    KeptRate,
    KeptThreshold,
    keep_calibration,
    kept_calibrations,
)
from edge_sim.gallery_store.copies import Restored, back_up, restore
from edge_sim.gallery_store.heads import KeptHead, keep_heads, kept_head
from edge_sim.gallery_store.records import (
    Alteration,
    Difference,
    Enrolled,
    ReferenceRecord,
    Revision,
    Reworked,
)
from edge_sim.gallery_store.store import GalleryStore

__all__ = [
    "Alteration",
    "Difference",
    "Enrolled",
    "GalleryStore",
    "KeptCalibration",
    "KeptHead",
    "KeptRate",
    "KeptThreshold",
    "ReferenceRecord",
    "Restored",
    "Revision",
    "Reworked",
    "back_up",
    "keep_calibration",
    "keep_heads",
    "kept_calibrations",
    "kept_head",
    "restore",
]
