"""A source, a sink and a kind of event from outside: one file and one registration each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edge_sim
from edge_sim import events
from edge_sim.errors import ConfigError
from edge_sim.io import sinks
from edge_sim.io.sources import is_live, open_source
from edge_sim.runtime.assembly import Environment
from edge_sim.runtime.config import parse_config
from edge_sim.runtime.config.sinks import kind_of
from tests.conftest import REPOSITORY
from tests.devices import make_gallery
from tests.outside import brightness_event, fading_source, numbered_sink

OUTSIDE = Path(__file__).parent / "outside"
WATCH = "watches: {lamp: {roi: [0.52, 0.2, 0.82, 0.6], followers: [brightness]}}\n"
CONFIG = (
    "model: {path: thumbnail}\nsources: {yard: {uri: 'fading:60'}}\n" + WATCH
)  # the defaults for everything else


WAIT_S = 10.0


class FlakyCamera:
    """Gives one frame; then the first one fails, and a later one waits until it is closed."""

    def __init__(self, name: str, *, is_first: bool) -> None:
        self.name = name
        self.closed = threading.Event()
        self._is_first = is_first
        self._given = False

    def read(self) -> edge_sim.Frame | None:
        if not self._given:
            self._given = True
            at_s = 0.0 if self._is_first else 1.0
            pixels = np.full((48, 64, 3), 90, np.uint8)
            return edge_sim.Frame(pixels, at_s, 1_700_000_000.0 + at_s, 0, self.name)
        if not self._is_first:
            self.closed.wait(WAIT_S)
        raise edge_sim.SourceError(f"{self.name}: the cable is out")

    def close(self) -> None:
        self.closed.set()


def outside_config(folder: Path, sinks: str) -> Path:
    make_gallery(folder / "gallery.db", "lamp", watch="lamp")
    path = folder / "config.yaml"
    path.write_text(f"{CONFIG}sinks: {sinks}\n")
    return path


def test_a_device_runs_a_source_a_sink_and_a_kind_of_event_from_outside(tmp_path: Path) -> None:
    path = outside_config(tmp_path, "[{kind: numbered, folder: out, digits: 4}]")
    with edge_sim.build(edge_sim.load_config(path)) as device:
        found = list(device.events())
    risen = [event for event in found if isinstance(event, brightness_event.BrightnessRose)]
    assert [event.luma // 10 for event in risen] == [6, 7, 8, 9, 10]
    assert {(event.source, event.watch, event.device) for event in risen} == {
        ("yard", "lamp", "edge_sim")
    }
    written = [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())]
    assert [events.from_json_line(line) for line in written] == found
    assert (tmp_path / "out" / "0001.json").exists()


def test_a_live_source_from_outside_is_reported_lost_and_opened_again(tmp_path: Path) -> None:
    lost = threading.Event()
    opened: list[FlakyCamera] = []

    def open_flaky(place: str, options: edge_sim.SourceOptions) -> FlakyCamera:
        if opened:
            lost.wait(WAIT_S)  # the loss is to be seen before the camera is back
        opened.append(FlakyCamera(options.name or place, is_first=not opened))
        return opened[-1]

    scheme = f"flaky-{tmp_path.name.replace('_', '-').lower()}"
    edge_sim.register_source(scheme, open_flaky)
    path = outside_config(tmp_path, "[]")
    path.write_text(path.read_text().replace("fading:60", f"{scheme}:1"))
    kinds = []
    environment = Environment(retry_s=(0.0,))
    with edge_sim.build(edge_sim.load_config(path), environment=environment) as device:
        for event in device.events():
            if isinstance(event, events.SourceLost | events.SourceRestored):
                kinds.append(events.tag_of(event))
                lost.set()
            if len(kinds) == 2:
                break
    assert kinds == ["source_lost", "source_restored"]
    assert len(opened) == 2
    assert all(camera.closed.is_set() for camera in opened)


def test_two_events_of_one_kind_at_one_observation_have_two_ids() -> None:
    notices = [events.draft(brightness_event.BrightnessRose, luma=n, state="on") for n in (1, 2)]
    from tests.builders import observation

    origin = events.EventOrigin(device="d", source="s", watch="w", model="m", gallery_revision=0)
    first, second = (events.completed(notice, observation(), origin) for notice in notices)
    assert first.id != second.id


def test_the_schema_of_events_holds_registered_kinds() -> None:
    assert "BrightnessRose" in events.json_schema()["$defs"]
    assert events.event_kinds()["brightness_rose"] is brightness_event.BrightnessRose


@pytest.mark.parametrize(
    ("facts", "message"),
    [({"luma": 1.0}, "no value for 'state'"), ({"luma": 1.0, "sate": "on"}, "no field 'sate'")],
    ids=["missing", "unknown"],
)
def test_a_draft_with_other_fields_is_a_type_error(facts: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        events.draft(brightness_event.BrightnessRose, **facts)


class Unregistered(events.WatchEvent, frozen=True, tag="unregistered", tag_field="type"):
    """Never registered."""


class Taken(events.WatchEvent, frozen=True, tag="overdue", tag_field="type"):
    """Has the tag of another kind."""


class Untagged(events.WatchEvent, frozen=True):
    """Has no tag."""


def open_nothing(place: str, options: edge_sim.SourceOptions) -> fading_source.FadingSource:
    raise AssertionError("never opened")


def open_any(**options: object) -> numbered_sink.NumberedSink:
    raise AssertionError("never opened")


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda: edge_sim.register_source("rtsp", open_nothing), "'rtsp' of sources is taken"),
        (lambda: edge_sim.register_source("fading", open_nothing), "'fading' of sources is taken"),
        (lambda: edge_sim.register_source("C", open_nothing), "'C' cannot be the scheme"),
        (lambda: edge_sim.register_sink("mqtt", numbered_sink.open_numbered), "'mqtt' of sinks"),
        (lambda: edge_sim.register_sink("two words", open_any), "'two words' cannot be a kind"),
        (lambda: edge_sim.register_sink("loose", open_any), "give every option a name"),
        (lambda: edge_sim.register_follower("brightness", list), "'brightness' of followers"),  # type: ignore[arg-type]
        (lambda: edge_sim.register_follower("f1", lambda a: a), "'f1' must take no arguments"),  # type: ignore[arg-type, misc]
        (lambda: edge_sim.register_source(3, open_nothing), "3 cannot be the scheme"),  # type: ignore[arg-type]
        (lambda: edge_sim.register_sink(3, open_any), "3 cannot be a kind"),  # type: ignore[arg-type]
        (lambda: edge_sim.register_event(Taken), "'overdue' of events is taken"),
        (lambda: edge_sim.register_event(Untagged), "'Untagged' is no kind of event"),
        (lambda: edge_sim.register_event(dict), "'dict' is no kind of event"),  # type: ignore[type-var]
        (lambda: events.draft(Unregistered), "Unregistered is not registered"),
    ],
)
def test_what_cannot_be_registered_is_named(register: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        register()


def test_what_an_opener_returns_must_be_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_REGISTERED", {})
    edge_sim.register_sink("c1", lambda: 1)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match="'c1' returned int, which has no name, emit, close"):
        sinks.open_sink("c1")


def test_registering_the_same_part_again_changes_nothing() -> None:
    edge_sim.register_source("fading", fading_source.open_fading, live=False)
    edge_sim.register_sink("numbered", numbered_sink.open_numbered)
    edge_sim.register_follower("brightness", brightness_event.BrightnessFollower)
    edge_sim.register_event(brightness_event.BrightnessRose)
    assert list(events.event_kinds()).count("brightness_rose") == 1


def test_a_registered_source_says_whether_it_is_live() -> None:
    assert not is_live("fading:3")


def test_the_keys_of_a_registered_sink_are_the_parameters_of_its_opener() -> None:
    text = "sinks: [{kind: numbered, folder: out, token: '${TOKEN}'}]"
    (sink,) = parse_config(text, environ={"TOKEN": "s3cret"}).sinks
    assert kind_of(sink) == "numbered"
    assert sink == parse_config(text, environ={"TOKEN": "s3cret"}).sinks[0]
    assert "s3cret" not in repr(sink)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sinks: [{kind: numbered}]", "sinks[0]: the key 'folder' is missing"),
        ("sinks: [{kind: numbered, folder: a, digit: 4}]", "unknown key 'sinks[0].digit' (did"),
        (
            "sinks: [{kind: numbered, folder: a, digits: x}]",
            "digits: needs a whole number",
        ),
        ("sinks: [{kind: numberd, folder: a}]", "unknown kind 'numberd'"),
        (WATCH.replace("brightness", "brihtness"), "there is no follower 'brihtness' (did you"),
    ],
    ids=["missing", "unknown key", "type", "kind", "follower"],
)
def test_a_mistake_with_a_part_from_outside_names_its_key_and_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f"sources: {{yard: {{uri: 'fading:3'}}}}\n{text}", where="test")
    assert message in str(caught.value)
    assert str(caught.value).startswith("test:2:")


def test_an_unknown_scheme_lists_registered_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean fading:"):
        open_source("fadin:3")


def install(folder: Path, entry_points: str, module: str | None = None) -> Path:
    """Lay a package with entry points where Python finds installed ones."""
    (folder / "yard_parts-1.0.dist-info").mkdir(parents=True)
    (folder / "yard_parts-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: yard_parts\nVersion: 1.0\n"
    )
    (folder / "yard_parts-1.0.dist-info" / "entry_points.txt").write_text(entry_points)
    if module is not None:
        (folder / "yard_parts.py").write_text(module)
    return folder


def edge_sim_command(*arguments: str, site_folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_sim", *arguments],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{site_folder}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_installed_package_brings_its_parts_without_code_in_the_program(tmp_path: Path) -> None:
    module = "\n".join(
        (OUTSIDE / name).read_text().replace("from __future__ import annotations", "")
        for name in ("fading_source.py", "numbered_sink.py", "brightness_event.py")
    )
    module = "\n".join(
        line
        for line in module.splitlines()
        if not line.startswith(
            ("edge_sim.register_source", "edge_sim.register_sink", "edge_sim.register_follower")
        )
    )
    site_folder = install(
        tmp_path / "site",
        "[edge_sim.sources]\nfading = yard_parts:open_fading\n"
        "[edge_sim.sinks]\nnumbered = yard_parts:open_numbered\n"
        "[edge_sim.followers]\nbrightness = yard_parts:BrightnessFollower\n",
        f"from __future__ import annotations\n{module}\nopen_fading.live = False\n",
    )
    config = outside_config(tmp_path, "[{kind: numbered, folder: out}]")
    checked = edge_sim_command("check", "-c", str(config), site_folder=site_folder)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    done = edge_sim_command("run", "-c", str(config), site_folder=site_folder)
    assert done.returncode == 0, done.stderr
    kinds = [json.loads(path.read_bytes())["type"] for path in (tmp_path / "out").iterdir()]
    assert kinds.count("brightness_rose") == 5


def test_an_installed_part_is_not_imported_before_it_is_used(tmp_path: Path) -> None:
    site_folder = install(
        tmp_path / "site",
        "[edge_sim.sources]\nbroken = yard_parts:open_it\n",
        "raise RuntimeError('imported')",
    )
    config = outside_config(tmp_path, "[]")
    config.write_text(config.read_text().replace("fading:60", "synthetic:lamp?frames=3"))
    config.write_text(config.read_text().replace("followers: [brightness]", ""))
    assert edge_sim_command("run", "-c", str(config), site_folder=site_folder).returncode == 0
    config.write_text(config.read_text().replace("synthetic:lamp?frames=3", "broken:1"))
    done = edge_sim_command("run", "-c", str(config), site_folder=site_folder)
    assert done.returncode == 78
    assert "cannot load yard_parts:open_it (RuntimeError: imported)" in done.stderr
    assert "Traceback" not in done.stderr
