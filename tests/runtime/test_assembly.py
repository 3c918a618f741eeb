"""A configuration becomes a device that runs, or one line that says why not."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from edge_sim.core.events import StateChanged, from_json_line
from edge_sim.errors import ConfigError, EdgeSimError, GalleryError, ModelError, SourceError
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime.assembly import build
from edge_sim.runtime.config import load_config
from tests.devices import make_device


def changes(config: Path) -> list[tuple[str | None, str]]:
    with build(load_config(config)) as device:
        return [(e.before, e.after) for e in device.events() if isinstance(e, StateChanged)]


def test_a_device_reports_what_its_watch_sees(tmp_path: Path) -> None:
    found = changes(make_device(tmp_path, "lamp"))
    assert found[0][0] is None
    assert {after for _, after in found} >= {"off", "on"}


def test_the_same_clip_gives_the_same_events_to_every_sink(tmp_path: Path) -> None:
    extra = "sinks:\n  - {kind: file, path: a.jsonl}\n  - {kind: file, path: b.jsonl}\n"
    config = make_device(tmp_path, "lamp", extra=extra)
    found = changes(config)
    for name in ("a.jsonl", "b.jsonl"):
        lines = (tmp_path / name).read_bytes().splitlines()
        events = [from_json_line(line) for line in lines]
        assert [(e.before, e.after) for e in events if isinstance(e, StateChanged)] == found


def test_a_gallery_that_changes_is_taken_over_while_running(tmp_path: Path) -> None:
    config = make_device(tmp_path, "lamp")
    with build(load_config(config)) as device:
        steps = device.steps()
        next(steps)
        with GalleryStore.open(tmp_path / "gallery.db") as store:
            gone = [item.reference_id for item in store.gallery("lamp").of_state("on")]
            store.remove(gone)
        next(steps)
        assert device.watches["lamp"].gallery.states == ("off",)


def test_two_watches_share_one_source(tmp_path: Path) -> None:
    config = make_device(tmp_path, "lamp", extra="  other: {roi: [0, 0, 0.5, 0.5]}\n")
    with build(load_config(config)) as device:
        *_, step = itertools.islice(device.steps(), 3)
    assert [outcome.watch for outcome in step.outcomes] == ["lamp", "other"]
    assert step.outcomes[1].state.reason == "no_references"


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("path: thumbnail", "path: missing.tflite", ModelError, "missing.tflite"),
        ("synthetic:lamp?seed=1&frames=120&dwell_s=6", "missing.mp4", SourceError, "missing.mp4"),
        ("  lamp:", "  lamp:\n    states: [off, burning]\n    mask:", ConfigError, "burning"),
        ("lamp: {", "lamp: {mask: missing.png, ", ConfigError, "missing.png"),
        ("sources:", "gallery: {path: missing.db}\nsources:", GalleryError, "missing.db"),
        ("sources:", "sinks: [{kind: file, path: no/where.jsonl}]\nsources:", OSError, "where"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_opened_is_named(
    tmp_path: Path, old: str, new: str, error: type[Exception], message: str
) -> None:
    config = make_device(tmp_path, "lamp")
    text = config.read_text()
    if "states" in new:
        text = text.replace("lamp: {", "lamp: {states: [off, burning], ")
    else:
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)
    with pytest.raises(error, match=message) as caught:
        build(load_config(config)).close()
    assert isinstance(caught.value, EdgeSimError)
    assert "\n" not in str(caught.value)


def test_a_configuration_without_watches_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("sources: {a: {uri: 'synthetic:bowl'}}\n")
    with pytest.raises(ConfigError, match="nothing to watch: the configuration has no watches"):
        build(load_config(path))


def test_a_corrupt_gallery_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    config = make_device(tmp_path, "lamp")
    damaged = b"not a gallery" * 100
    (tmp_path / "gallery.db").write_bytes(damaged)
    with pytest.raises(GalleryError, match=r"gallery\.db"):
        build(load_config(config))
    assert (tmp_path / "gallery.db").read_bytes() == damaged


def test_a_gallery_of_another_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    config = make_device(tmp_path, "lamp")
    config.write_text(config.read_text().replace("path: thumbnail", "path: default"))
    with pytest.raises(GalleryError, match="reembed"):
        build(load_config(config))


def test_scikit_image_can_do_the_structural_similarity(tmp_path: Path) -> None:
    own = make_device(tmp_path, "lamp")
    ours = first_told_ssim(own)
    own.write_text(own.read_text() + "score: {ssim_engine: scikit-image}\n")
    assert ours == pytest.approx(first_told_ssim(own), abs=1e-4)


def first_told_ssim(config: Path) -> float:
    """Structural similarity in the cause of the first change."""
    with build(load_config(config)) as device:
        changes = (outcome.change for step in device.steps() for outcome in step.outcomes)
        match = next(change for change in changes if change is not None).cause.match
    assert match is not None
    assert match.best.score.ssim is not None
    return match.best.score.ssim
