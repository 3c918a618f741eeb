"""Pictures become references, and those that would make a gallery worse are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_sim.core.images import crop
from edge_sim.core.types import BgrImage, Roi
from edge_sim.errors import GalleryError
from edge_sim.gallery.candidates import (
    CandidateResult,
    EnrolmentCandidate,
    Unreadable,
    candidates_in,
)
from edge_sim.gallery.enrolment import (
    EnrolmentPlan,
    EnrolmentReport,
    assess,
    enrol,
    enrol_batches,
    reembed,
)
from edge_sim.gallery.enrolment_checks import Refusal, duplicates_in
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.store import GalleryStore
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Mask, Region, make_probe
from tests.builders import BrightnessEmbedder
from tests.gallery.pictures import saved, scene

EMBEDDER = open_embedder("thumbnail")
OPEN, SHUT = EnrolmentPlan("gate", "open"), EnrolmentPlan("gate", "shut")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[GalleryStore]:
    with GalleryStore.open(tmp_path / "gallery.db", create=True) as opened:
        yield opened


def put(store: GalleryStore, plan: EnrolmentPlan, *pictures: BgrImage) -> EnrolmentReport:
    found = [EnrolmentCandidate(f"picture {at}", pixels) for at, pixels in enumerate(pictures)]
    return enrol(store, EMBEDDER, found, plan=plan, now=lambda: 1_700_000_000.0)


def refusals(report: EnrolmentReport) -> list[Refusal]:
    return [item.refusal for item in report.rejected]


def blurred(pixels: BgrImage, sigma_px: float) -> BgrImage:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma_px), np.uint8)


def test_a_picture_that_was_enrolled_matches_itself_exactly(store: GalleryStore) -> None:
    pixels = scene(1, shape=(90, 130))
    region = Region(Roi(0.1, 0.2, 0.8, 0.9), mask=Mask(np.eye(8, dtype=np.uint8) * 255))
    report = put(store, EnrolmentPlan("gate", "open", region=region), pixels)
    (reference,) = store.gallery("gate", model_id=EMBEDDER.model_id)
    probe = make_probe(EMBEDDER, region.pixels_of(pixels))
    np.testing.assert_array_equal(reference.embedding.vector, probe.embedding.vector)
    np.testing.assert_array_equal(reference.thumbnail, probe.thumbnail)
    assert report.accepted[0].reference_id == reference.reference_id
    assert reference.enrolled_at.timestamp() == 1_700_000_000


def test_only_the_region_is_kept(store: GalleryStore) -> None:
    pixels = scene(1, shape=(100, 200))
    roi = Roi(0.5, 0.0, 1.0, 0.5)
    put(store, EnrolmentPlan("gate", "open", region=Region(roi)), pixels)
    kept = cv2.imdecode(np.frombuffer(store.crop("r1"), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(kept, crop(pixels, roi))


def test_all_pictures_of_one_enrolment_are_one_revision(store: GalleryStore) -> None:
    report = put(store, OPEN, scene(1), scene(2), scene(3))
    assert report.revision == store.revision == 1
    assert [item.reference_id for item in report.accepted] == ["r1", "r2", "r3"]
    assert store.watches() == ("gate",)


def test_where_a_picture_came_from_and_what_the_user_said_is_kept(store: GalleryStore) -> None:
    plan = EnrolmentPlan("gate", "open", metadata={"by": "Ann", "from": "elsewhere"})
    enrol(store, EMBEDDER, [EnrolmentCandidate("cam#7", scene(1), 0.25)], plan=plan)
    assert store.record("r1").metadata == {
        "by": "Ann",
        "from": "elsewhere",
        "taken_at": "1970-01-01T00:00:00.250Z",
    }


def test_the_light_regime_is_found_by_itself(store: GalleryStore) -> None:
    grey = np.repeat(cv2.cvtColor(scene(2), cv2.COLOR_BGR2GRAY)[:, :, None], 3, axis=2)
    put(store, OPEN, scene(1), np.asarray(grey, np.uint8))
    assert [item.condition for item in store.records()] == ["day", "ir"]


def test_the_same_view_with_fresh_noise_is_a_duplicate_and_names_the_reference(
    store: GalleryStore,
) -> None:
    put(store, OPEN, scene(1, noise=1))
    report = put(store, OPEN, scene(1, noise=2), scene(2))
    assert refusals(report) == [Refusal.DUPLICATE]
    assert report.rejected[0].like == "r1"
    assert [item.reference_id for item in report.accepted] == ["r2"]


def test_a_duplicate_inside_one_batch_is_found(store: GalleryStore) -> None:
    report = put(store, OPEN, scene(1), scene(1))
    assert refusals(report) == [Refusal.DUPLICATE]
    assert report.rejected[0].like == "picture 0"


def test_the_same_view_in_other_light_teaches_something(store: GalleryStore) -> None:
    shadow = scene(1)
    shadow[:, :80] = shadow[:, :80] // 3
    assert refusals(put(store, OPEN, scene(1), shadow)) == []


@pytest.mark.parametrize(
    ("pixels", "refusal"),
    [
        (np.full((60, 80, 3), 120, np.uint8), Refusal.COVERED),
        (np.zeros((60, 80, 3), np.uint8), Refusal.DARK),
        (np.full((60, 80, 3), 255, np.uint8), Refusal.OVEREXPOSED),
    ],
    ids=["covered", "dark", "overexposed"],
)
def test_a_picture_that_shows_nothing_is_refused(
    store: GalleryStore, pixels: BgrImage, refusal: Refusal
) -> None:
    report = put(store, OPEN, pixels)
    assert refusals(report) == [refusal]
    assert report.revision is None
    assert store.revision == 0


def test_a_picture_far_less_sharp_than_the_others_is_refused(store: GalleryStore) -> None:
    put(store, OPEN, scene(1, shape=(480, 640)), scene(2, shape=(480, 640)))
    sharp, soft = scene(3, shape=(480, 640)), blurred(scene(4, shape=(480, 640)), 12.0)
    assert refusals(put(store, OPEN, soft)) == [Refusal.BLURRED]
    assert refusals(put(store, OPEN, sharp)) == []


def test_a_picture_of_the_other_state_is_a_conflict_that_names_the_reference(
    store: GalleryStore,
) -> None:
    for layout in (1, 2):
        put(store, OPEN, *(scene(layout, noise=5, light=light) for light in (1.0, 0.8)))
    put(store, SHUT, scene(11), scene(12))
    report = put(store, SHUT, scene(1, noise=3, light=0.9))
    assert refusals(report) == [Refusal.CONFLICT]
    assert store.record(str(report.rejected[0].like)).state == "open"


def test_a_labelled_picture_of_the_other_state_is_enrolled_and_reported(
    store: GalleryStore,
) -> None:
    for layout in (1, 2):
        put(store, OPEN, *(scene(layout, noise=5, light=light) for light in (1.0, 0.8)))
    put(store, SHUT, scene(11), scene(12))
    labelled = EnrolmentPlan("gate", "shut", labelled=True)
    report = put(store, labelled, scene(1, noise=3, light=0.9), scene(13))
    assert refusals(report) == []
    assert [item.overruled for item in report.accepted] == [Refusal.CONFLICT, None]


def test_a_labelled_picture_must_still_be_sound(store: GalleryStore) -> None:
    put(store, OPEN, scene(1, shape=(480, 640)), scene(2, shape=(480, 640)))
    labelled = EnrolmentPlan("gate", "open", labelled=True)
    soft = blurred(scene(4, shape=(480, 640)), 12.0)
    assert refusals(put(store, labelled, soft)) == [Refusal.BLURRED]


def test_a_picture_unlike_everything_is_no_conflict(store: GalleryStore) -> None:
    forced = EnrolmentPlan("gate", "open", force=True)
    put(store, forced, *(scene(1, noise=seed) for seed in (1, 2, 3)))
    put(store, SHUT, scene(11), scene(12))
    embed = EMBEDDER.embed
    new = embed(scene(53)).vector
    to_open, to_shut = new @ embed(scene(1)).vector, new @ embed(scene(11)).vector
    assert to_shut < to_open < 0.9, "nearer to the other state, but far from both"
    assert refusals(put(store, SHUT, scene(53))) == []


def test_the_first_picture_of_a_state_in_another_light_is_no_conflict(store: GalleryStore) -> None:
    def night(layout: int) -> BgrImage:
        grey = cv2.cvtColor(scene(layout), cv2.COLOR_BGR2GRAY)
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)

    put(store, OPEN, scene(1), night(1), night(2))
    put(store, SHUT, scene(11))
    assert refusals(put(store, SHUT, night(1))) == []


def test_force_overrules_and_says_what(store: GalleryStore) -> None:
    forced = EnrolmentPlan("gate", "open", force=True)
    report = put(store, forced, scene(1), scene(1))
    assert [item.overruled for item in report.accepted] == [None, Refusal.DUPLICATE]
    report = enrol(store, EMBEDDER, [Unreadable("x.jpg", "no picture")], plan=forced)
    assert refusals(report) == [Refusal.UNREADABLE]


def test_an_assessment_says_the_same_and_writes_nothing(store: GalleryStore) -> None:
    put(store, OPEN, scene(1))
    found: list[CandidateResult] = [
        EnrolmentCandidate("a", scene(1)),
        EnrolmentCandidate("b", scene(2)),
        Unreadable("c", "no picture"),
    ]
    gallery = store.gallery("gate")
    enrolled, foreseen = assess(gallery, EMBEDDER, [(OPEN, found)])
    assert (store.revision, len(enrolled)) == (1, 1)
    report = enrol(store, EMBEDDER, found, plan=OPEN)
    assert report.rejected == foreseen.rejected
    assert [item.name for item in report.accepted] == [item.name for item in foreseen.accepted]
    assert [item.reference_id for item in foreseen.accepted] == [None]


def test_an_assessment_needs_no_gallery_file() -> None:
    enrolled, report = assess(Gallery(), EMBEDDER, [(OPEN, [EnrolmentCandidate("a", scene(1))])])
    assert (len(enrolled), len(report.accepted)) == (1, 1)


def test_batches_of_several_states_are_one_revision_of_one_watch(store: GalleryStore) -> None:
    batches = [
        (OPEN, [EnrolmentCandidate("a", scene(1))]),
        (SHUT, [EnrolmentCandidate("b", scene(2))]),
    ]
    report = enrol_batches(store, EMBEDDER, batches)
    assert report.revision == 1
    assert [(item.reference_id, item.state) for item in report.accepted] == [
        ("r1", "open"),
        ("r2", "shut"),
    ]
    other = EnrolmentPlan("door", "open")
    with pytest.raises(GalleryError, match="one watch"):
        enrol_batches(store, EMBEDDER, [*batches, (other, [])])


@pytest.mark.parametrize(("watch", "state"), [("a b", "open"), ("gate", "unknown"), ("", "x")])
def test_names_are_checked_before_a_picture_is_read(watch: str, state: str) -> None:
    with pytest.raises(GalleryError, match="cannot be the name"):
        EnrolmentPlan(watch, state)


def test_a_gallery_of_another_model_takes_no_pictures(store: GalleryStore) -> None:
    put(store, OPEN, scene(1))
    with pytest.raises(GalleryError, match=r"brightness@1.*gallery reembed"):
        enrol(store, BrightnessEmbedder(), [EnrolmentCandidate("a", scene(2))], plan=OPEN)


def test_duplicates_are_found_in_a_gallery_and_the_first_one_stays(store: GalleryStore) -> None:
    forced = EnrolmentPlan("gate", "open", force=True)
    put(store, forced, scene(1, noise=1), scene(2), scene(1, noise=2), scene(1, noise=3))
    put(store, EnrolmentPlan("gate", "shut", force=True), scene(1, noise=4))
    found = duplicates_in(store.gallery("gate"))
    assert {name: verdict.like for name, verdict in found.items()} == {"r3": "r1", "r4": "r1"}
    assert duplicates_in(Gallery()) == {}


def test_reembed_gives_what_enrolling_with_that_model_would_have_given(
    store: GalleryStore, tmp_path: Path
) -> None:
    put(store, OPEN, scene(1), scene(2, shape=(700, 900)))
    other = BrightnessEmbedder()
    revision = reembed(store, other)
    assert revision is not None
    assert revision.altered == ("r1", "r2")
    with GalleryStore.open(tmp_path / "fresh.db", create=True) as fresh:
        found = [
            EnrolmentCandidate("a", scene(1)),
            EnrolmentCandidate("b", scene(2, shape=(700, 900))),
        ]
        forced = EnrolmentPlan("gate", "open", force=True)
        enrol(fresh, other, found, plan=forced)
        for mine, theirs in zip(
            store.gallery("gate", model_id=other.model_id), fresh.gallery("gate"), strict=True
        ):
            np.testing.assert_array_equal(mine.embedding.vector, theirs.embedding.vector)
    assert reembed(store, other) is None
    store.undo()
    assert len(store.gallery("gate", model_id=EMBEDDER.model_id)) == 2


def test_reembed_can_be_for_one_watch_only(store: GalleryStore) -> None:
    put(store, OPEN, scene(1))
    put(store, EnrolmentPlan("door", "open"), scene(2))
    revision = reembed(store, BrightnessEmbedder(), watch="door")
    assert revision is not None
    assert revision.altered == ("r2",)


def test_enrolling_real_pictures_keeps_most_and_refuses_their_copies(
    store: GalleryStore, real_data: Path
) -> None:
    folder = real_data / "states" / "toyparking_centre"
    states = sorted(item for item in folder.iterdir() if item.is_dir())[:2]
    for state in states:
        pictures = sorted(state.glob("*.jpg"))[::12][:8]
        plan = EnrolmentPlan("slot", state.name)
        report = enrol(store, EMBEDDER, candidates_in([str(p) for p in pictures]), plan=plan)
        assert len(report.accepted) >= len(pictures) // 2
        accepted = [item.name for item in report.accepted]
        again = enrol(store, EMBEDDER, candidates_in(accepted), plan=plan)
        assert refusals(again) == [Refusal.DUPLICATE] * len(accepted)


def test_files_that_are_no_pictures_are_reported_and_the_others_enrolled(
    store: GalleryStore, tmp_path: Path
) -> None:
    saved(tmp_path / "in", "a.png", scene(1))
    (tmp_path / "in" / "b.jpg").write_text("nonsense")
    (tmp_path / "in" / "notes.txt").write_text("not looked at")
    report = enrol(store, EMBEDDER, candidates_in([str(tmp_path / "in")]), plan=OPEN)
    assert len(report.accepted) == 1
    assert refusals(report) == [Refusal.UNREADABLE]
    assert report.rejected[0].name.endswith("b.jpg")
