"""What pages write is what a person would write: comments stay, and nothing invalid is written."""

from __future__ import annotations

import stat
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sim.errors import ConfigError
from edge_sim.runtime.config import load_config
from edge_sim.web.config_file import (
    ConfigEdit,
    ConfigFile,
    diff_of,
    edited_text,
    faults_of,
    masked_text,
)
from edge_sim.web.watch_edits import (
    NewSource,
    NewWatch,
    WatchChange,
    added_source,
    added_watch,
    changed_watch,
    keep_mask,
    region_of_roi,
    removed_watch,
    roi_of,
    set_value,
)

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))
GATE = NewWatch(
    "shed", NewSource(uri="rtsp://u:secret-word@host/1"), (0.1, 0.2, 0.3, 0.4), ("on", "off")
)
TEXT = """\
# At home.
sources:
  camera: {uri: /dev/video0}  # the old one

watches:
  bowl:
    roi: [0.10, 0.2, 0.9, 1.0]   # measured by hand
    states: [empty, food]

# Events.
sinks:
- kind: stdout
"""


def png(plane: np.ndarray) -> bytes:
    return cv2.imencode(".png", plane)[1].tobytes()


def half_mask() -> bytes:
    plane = np.zeros((8, 8), np.uint8)
    plane[:4] = 255
    return png(plane)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_adding_a_watch_to_any_example_only_adds_lines(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "secret")
    copy = tmp_path / "config.yaml"
    copy.write_text(path.read_text())
    before = load_config(path)
    written = ConfigFile(copy).edit(added_watch(GATE))
    text = path.read_text().replace("source: null", "source: camera")  # there are two now
    old, new = text.splitlines(), copy.read_text().splitlines()
    kept = [line for line in new if line in old]
    assert kept == old
    assert set(written.config.watches) == {*before.watches, "shed"}
    assert written.config.sinks == before.sinks


def test_a_new_watch_stands_above_the_comment_of_the_next_section() -> None:
    text = edited_text(TEXT, added_watch(GATE))
    assert text == TEXT.replace(
        "video0}  # the old one\n",
        "video0}  # the old one\n  camera2:\n    uri: rtsp://u:secret-word@host/1\n",
    ).replace(
        "food]\n",
        "food]\n    source: camera\n"
        "  shed:\n    source: camera2\n    states: [on, off]\n    roi: [0.1, 0.2, 0.4, 0.6]\n",
    )


def test_a_source_with_the_same_address_is_used_again() -> None:
    same = NewWatch("gate", NewSource(uri=" /dev/video0 "))
    text = edited_text(TEXT, added_watch(same))
    assert text.count("/dev/video0") == 1
    assert "source: camera\n" in text


def test_a_change_of_a_region_changes_that_line(tmp_path: Path) -> None:
    change = WatchChange(region=(0.0, 0.0, 0.5, 0.5), sensitivity=0.7, private=True)
    lines = diff_of(TEXT, edited_text(TEXT, changed_watch("bowl", change)))
    assert [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")] == [
        "-    roi: [0.10, 0.2, 0.9, 1.0]   # measured by hand",
        "+    roi: [0.0, 0.0, 0.5, 0.5]    # measured by hand",
        "+    private: true",
        "+    sensitivity: 0.7",
    ]


def test_removing_a_watch_leaves_the_rest() -> None:
    text = edited_text(TEXT, removed_watch("bowl"))
    assert "bowl" not in text
    assert "# Events." in text
    assert "camera: {uri: /dev/video0}  # the old one" in text


def test_from_nothing_a_first_watch(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path / "config.yaml")
    written = file.edit(added_watch(GATE))
    assert list(written.config.watches) == ["shed"]
    assert written.config.watches["shed"].states == ("on", "off")
    assert stat.S_IMODE(file.path.stat().st_mode) & 0o007 == 0, "it may hold a password"
    file.restore(written)
    assert not file.path.exists()


def test_mode_stays_a_backup_is_kept_and_a_link_is_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "config.yaml"
    real.write_text(TEXT)
    real.chmod(0o664)
    link.symlink_to(real)
    file = ConfigFile(link)
    written = file.edit(removed_watch("bowl"))
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o664
    assert (tmp_path / "real.yaml.bak").read_text() == TEXT
    file.restore(written)
    assert real.read_text() == TEXT


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (added_watch(NewWatch("bowl", NewSource(name="camera"))), "a watch 'bowl' already"),
        (added_watch(NewWatch("x", NewSource(name="camra"))), "did you mean 'camera'"),
        (changed_watch("bwl", WatchChange(private=True)), "did you mean 'bowl'"),
        (set_value("watches.bowl.sensitivity", 3), "sensitivity"),
        (set_value("watches.bowl.sensitivty", 0.3), "sensitivity"),
        (added_source(NewSource(uri="/dev/video1", name="camera")), "a source 'camera' already"),
    ],
)
def test_what_cannot_be_leaves_the_file_alone(tmp_path: Path, edit: object, message: str) -> None:
    file = ConfigFile(tmp_path / "config.yaml")
    file.path.write_text(TEXT)
    with pytest.raises(ConfigError, match=message):
        file.edit(edit)  # type: ignore[arg-type]
    assert file.path.read_text() == TEXT
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


SHARED = TEXT.replace("  bowl:\n", "  bowl: &same\n").replace("food]\n", "food]\n  shed: *same\n")
BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]\n" for old, new in ("ab", "bc", "cd", "de")
)


@pytest.mark.parametrize(
    "edit",
    [
        changed_watch("shed", WatchChange(sensitivity=0.7)),
        set_value("watches.bowl.private", "true"),
    ],
)
def test_a_change_of_a_watch_that_shares_its_lines_changes_no_other(
    tmp_path: Path, edit: ConfigEdit
) -> None:
    file = ConfigFile(tmp_path / "config.yaml")
    file.path.write_text(SHARED)
    assert set(file.checked(SHARED).watches) == {"bowl", "shed"}
    with pytest.raises(ConfigError, match="without changing other parts; edit it by hand"):
        file.edit(edit)
    assert file.path.read_text() == SHARED


def test_what_a_watch_shares_can_be_replaced_for_it_alone(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path / "config.yaml")
    text = TEXT.replace("roi: [", "roi: &middle [").replace(
        "food]\n", "food]\n  shed: {roi: *middle}\n"
    )
    file.path.write_text(text)
    written = file.edit(changed_watch("shed", WatchChange(region=(0.0, 0.0, 0.5, 0.5))))
    assert written.config.watches["shed"].roi == (0.0, 0.0, 0.5, 0.5)
    assert written.config.watches["bowl"].roi == (0.1, 0.2, 0.9, 1.0)


@pytest.mark.parametrize("text", [BOMB, "watches: &a {bowl: *a}\n"], ids=["aliases", "circle"])
def test_aliases_without_end_are_not_followed(text: str) -> None:
    with pytest.raises(ConfigError, match=r"more than 20000 keys|cannot be changed here"):
        edited_text(text, set_value("device", "shed"))


@pytest.mark.parametrize("text", ["- a\n", "a: [", "watches: 3\n", "watches: {bowl: &a {}, x: *a}"])
def test_a_file_that_cannot_be_changed_safely_is_not(tmp_path: Path, text: str) -> None:
    file = ConfigFile(tmp_path / "config.yaml")
    file.path.write_text(text)
    with pytest.raises(ConfigError):
        file.edit(changed_watch("bowl", WatchChange(private=True)))
    assert file.path.read_text() == text


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_every_comment_survives_wherever_it_stands(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(CONFIGS)).read_text().splitlines()
    places = data.draw(st.lists(st.integers(0, len(lines)), min_size=1, max_size=6))
    for number, place in enumerate(sorted(places, reverse=True)):
        indent = data.draw(st.sampled_from(["", "  ", "    "]))
        lines.insert(place, f"{indent}# note {number}")
    text = "\n".join(lines) + "\n"
    change = data.draw(
        st.sampled_from(
            [
                added_watch(GATE),
                set_value("daemon.nice", 3),
                set_value("web.listen", "127.0.0.1:9713"),
            ]
        )
    )
    result = edited_text(text, change)
    found = [line.strip() for line in result.splitlines() if line.strip().startswith("#")]
    expected = [line.strip() for line in text.splitlines() if line.strip().startswith("#")]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_disk_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    file = ConfigFile(tmp_path / "config.yaml")
    file.path.write_text(TEXT)
    with monkeypatch.context() as patch:
        if call == "replace":
            patch.setattr(Path, "replace", fail)
        else:
            patch.setattr(f"edge_sim.web.config_file.os.{call}", fail)
        with pytest.raises(ConfigError, match="No space left"):
            file.edit(set_value("device", "shed"))
    assert file.path.read_text() == TEXT
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_change_is_not_taken_back_over_a_later_one(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path / "config.yaml")
    file.path.write_text(TEXT)
    first = file.edit(set_value("device", "shed"))
    file.edit(set_value("device", "barn"))
    file.restore(first)
    assert load_config(file.path).device == "barn"


def test_names_and_regions_that_cannot_be_are_rejected() -> None:
    with pytest.raises(ConfigError, match="reserved"):
        added_watch(NewWatch("gate", NewSource(), states=("on", "unknown")))
    with pytest.raises(ConfigError, match="twice"):
        added_watch(NewWatch("gate", NewSource(), states=("on", "on")))
    with pytest.raises(ConfigError, match="region"):
        roi_of((0.5, 0.5, 0.0, 0.1))
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"name":"../x","source":{}}', type=NewWatch)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 0.5), min_size=2, max_size=2), st.floats(0.01, 1.0))
def test_a_region_survives_its_way_through_the_file(corner: list[float], size: float) -> None:
    roi = roi_of((corner[0], corner[1], size, size))
    assert roi_of(region_of_roi(roi)) == roi


def test_a_replaced_text_is_checked_and_compared_with_its_base(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path / "config.yaml")
    file.path.write_text(TEXT)
    with pytest.raises(ConfigError, match="somebody else"):
        file.replace("device: a\n", base="older")
    with pytest.raises(ConfigError) as caught:
        file.replace("device: a\nwatches:\n  bowl:\n    rio: 3\n    roi: [0, 0, 2, 1]\n")
    faults = faults_of(caught.value)
    assert [fault.line for fault in faults] == [4, 5]
    assert faults[0].key == "watches.bowl.rio"
    assert str(faults[1].key).startswith("watches.bowl.roi")
    assert file.replace("device: shed\n", base=TEXT).config.device == "shed"


def test_differences_and_texts_show_no_password() -> None:
    assert "secret-word" not in "\n".join(diff_of(TEXT, edited_text(TEXT, added_watch(GATE))))
    assert masked_text("uri: rtsp://u:secret-word@host/1") == "uri: rtsp://u:***@host/1"


def test_a_mask_is_kept_under_a_name_of_its_own(tmp_path: Path) -> None:
    name = keep_mask(tmp_path, "gate", half_mask())
    assert name == keep_mask(tmp_path, "gate", half_mask())
    assert (tmp_path / name).read_bytes() == half_mask()
    for bad, message in [
        (b"no picture", "no picture"),
        (png(np.zeros((8, 8), np.uint8)), "whole region"),
        (png(np.full((8, 8), 255, np.uint8)), "hides nothing"),
    ]:
        with pytest.raises(ConfigError, match=message):
            keep_mask(tmp_path, "gate", bad)
    assert len(list((tmp_path / "masks").iterdir())) == 1
