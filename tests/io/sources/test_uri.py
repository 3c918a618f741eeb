from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.errors import ConfigError
from edge_sim.io.sources import is_live, open_source
from edge_sim.io.sources.uri import anchored, label, masked, split_settings, split_uri

ENDLESS_TEXT = st.text(max_size=60)
WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
# Everything a password may hold in practice, also what should have been escaped.
PASSWORDS = st.text("QWERTZ0123456789!$%&/()=*+~@:.-_", min_size=6, max_size=20).filter(
    lambda text: any(letter.isalpha() for letter in text)
)


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [
        ("/dev/video0", "v4l2"),
        ("/dev/v4l/by-id/usb-cam-video-index0", "v4l2"),
        ("0", "v4l2"),
        ("v4l2:/dev/video2", "v4l2"),
        ("rtsp://host/stream", "rtsp"),
        ("RTSP://host/stream", "rtsp"),
        ("https://host/stream", "https"),
        ("csi:0", "csi"),
        ("clip.mp4", "video"),
        ("some/where/clip", "video"),
        ("picture.JPG", "folder"),
        ("pictures/*.png", "folder"),
        ("folder:pictures", "folder"),
        ("synthetic:bowl?seed=1", "synthetic"),
        ("C:/clip.mp4", "video"),
    ],
)
def test_a_uri_tells_its_kind(uri: str, scheme: str) -> None:
    assert split_uri(uri)[0] == scheme


def test_an_existing_folder_needs_no_prefix(tmp_path: Path) -> None:
    assert split_uri(str(tmp_path)) == ("folder", str(tmp_path))


def test_an_existing_file_with_a_colon_in_its_name_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clip:1.avi").touch()
    monkeypatch.chdir(tmp_path)
    assert split_uri("clip:1.avi") == ("video", "clip:1.avi")


@pytest.mark.parametrize("uri", ["", "  ", "a\0b"])
def test_an_empty_uri_is_refused_with_what_to_write(uri: str) -> None:
    with pytest.raises(ConfigError, match="/dev/video0"):
        open_source(uri)


def test_a_misspelt_kind_is_named_with_the_nearest_and_without_the_password() -> None:
    with pytest.raises(ConfigError) as caught:
        open_source("rstp://viewer:s3cret@host/x")
    assert "did you mean rtsp:" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "live"),
    [
        ("0", True),
        ("rtsp://h/x", True),
        ("csi:0", True),
        ("a.mp4", False),
        ("synthetic:bowl", False),
        ("synthetic:bowl?live=1", True),
    ],
)
def test_cameras_and_streams_are_live_and_recordings_are_not(uri: str, live: bool) -> None:
    assert is_live(uri) is live


@given(user=WORDS, password=PASSWORDS, host=WORDS, path=WORDS)
def test_no_password_survives_masking(user: str, password: str, host: str, path: str) -> None:
    shown = masked(f"rtsp://{user}:{password}@{host}:554/{path}?channel=1")
    assert shown == f"rtsp://{user}:***@{host}:554/{path}?channel=1"


@given(text=ENDLESS_TEXT)
def test_masking_never_raises_and_once_is_enough(text: str) -> None:
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://h/x?user=a&pwd=b&z=1", "http://h/x?user=a&pwd=***&z=1"),
        ("http://h/x?access_token=abc#top", "http://h/x?access_token=***#top"),
        ("rtsp://onlytoken@h/1", "rtsp://***@h/1"),
        ("rtsp://u:pa?ss@h/1", "rtsp://u:***@h/1"),
        ("http://h:80/mail@home", "http://h:80/mail@home"),
        ("/home/me/a@b.mp4", "/home/me/a@b.mp4"),
    ],
)
def test_what_is_secret_is_hidden_and_nothing_else(uri: str, shown: str) -> None:
    assert masked(uri) == shown


def test_settings_are_split_off_but_a_glob_stays_whole() -> None:
    assert split_settings("p?times=a.csv&fps=2") == ("p", {"times": "a.csv", "fps": "2"})
    assert split_settings("p/img?.png") == ("p/img?.png", {})


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("clip.mp4", "/cfg/clip.mp4"),
        ("/data/clip.mp4", "/data/clip.mp4"),
        ("folder:pictures?times=labels.csv", "folder:/cfg/pictures?times=labels.csv"),
        ("video:clip.mp4", "video:/cfg/clip.mp4"),
        ("0", "0"),
        ("/dev/video0", "/dev/video0"),
        ("rtsp://h/x", "rtsp://h/x"),
        ("synthetic:bowl", "synthetic:bowl"),
        ("~/clip.mp4", "~/clip.mp4"),
    ],
)
def test_only_relative_paths_are_anchored(uri: str, expected: str) -> None:
    assert anchored(uri, "/cfg") == expected


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (None, "rtsp://u:***@h/x"),
        ("front", "front (rtsp://u:***@h/x)"),
        ("rtsp://u:***@h/x", "rtsp://u:***@h/x"),
    ],
)
def test_a_message_names_a_source_and_its_place_once(name: str | None, shown: str) -> None:
    assert label(name, "rtsp://u:s3cret@h/x") == shown


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://host/user=admin_password=HIDDEN_channel=1_stream=0.sdp",
        "rtsp://host/user=admin&password=HIDDEN&channel=1.sdp",
        "http://host/snap?usr=a&pw=HIDDEN",
        "http://host/snap.cgi?loginuse=a&loginpas=HIDDEN&x=1",
        "http://host/PWD=HIDDEN/snap",
        "http://host/snap?psw=HIDDEN",
    ],
)
def test_passwords_of_real_cameras_in_path_and_query_are_hidden(uri: str) -> None:
    assert "HIDDEN" not in masked(uri)
    assert "***" in masked(uri)
