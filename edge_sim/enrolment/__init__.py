"""Turns pictures into references of a gallery, through the same `make_probe` as the live path.

    with GalleryStore.open("gallery.db", create=True) as store:
        plan = EnrolmentPlan("bowl", "food", region=Region(Roi(0.2, 0.3, 0.6, 0.8)))
        report = enrol(store, embedder, candidates_in(["food/"]), plan=plan)

A picture that would make the gallery worse is refused with the reason: see `Refusal`.
"""

from edge_sim.enrolment.archives import is_archive, unpacked
from edge_sim.enrolment.arrays import (
    MaskLike,
    RoiLike,
    check_embedder,
    enrol_pictures,
    make_reference,
    region_from,
    rejection_error,
)
from edge_sim.enrolment.candidates import (
    EnrolmentCandidate,
    ReferenceOrigin,
    Sampling,
    Unreadable,
    candidates_in,
    frames_of,
    sampled,
)
from edge_sim.enrolment.crops import as_stored, encoded_crop, reference_of
from edge_sim.enrolment.enrolling import (
    Accepted,
    Batch,
    EnrolmentPlan,
    EnrolmentReport,
    Rejected,
    assess,
    enrol,
    enrol_batches,
    enrol_each,
)
from edge_sim.enrolment.folders import classes_in, export_states, pictures_of, states_in
from edge_sim.enrolment.gates import Gates, Refusal, duplicates_in
from edge_sim.enrolment.reembedding import reembed

__all__ = [
    "Accepted",
    "Batch",
    "EnrolmentCandidate",
    "EnrolmentPlan",
    "EnrolmentReport",
    "Gates",
    "MaskLike",
    "ReferenceOrigin",
    "Refusal",
    "Rejected",
    "RoiLike",
    "Sampling",
    "Unreadable",
    "as_stored",
    "assess",
    "candidates_in",
    "check_embedder",
    "classes_in",
    "duplicates_in",
    "encoded_crop",
    "enrol",
    "enrol_batches",
    "enrol_each",
    "enrol_pictures",
    "export_states",
    "frames_of",
    "is_archive",
    "make_reference",
    "pictures_of",
    "reembed",
    "reference_of",
    "region_from",
    "rejection_error",
    "sampled",
    "states_in",
    "unpacked",
]
