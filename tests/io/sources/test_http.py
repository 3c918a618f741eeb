"""Cameras at http addresses: bounded, confined to their host, polled where they give pictures."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest

from edge_sim.core.images import encode_jpeg
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources import check_source, open_source
from edge_sim.io.sources.capture import GrabbingCapture
from edge_sim.io.sources.http import digest_header, same_host
from edge_sim.io.sources.http_camera import PipedVideo
from edge_sim.io.sources.interlaced import EmptyStreamCheck, check_fields
from edge_sim.io.sources.options import SourceOptions
from tests.io.sinks.broker import make_certificates
from tests.io.sources.devices import PATIENCE_S

OPTIONS = SourceOptions(
    open_timeout_s=PATIENCE_S, read_timeout_s=PATIENCE_S, name="yard", threaded=False, poll_s=0.001
)
GREY = np.full((48, 64, 3), 120, np.uint8)
PICTURE = encode_jpeg(GREY)
Page = bytes | Callable[[bytes], bytes]


class Site:
    """A web server that answers each path with given bytes, and keeps the requests."""

    def __init__(self, pages: Mapping[str, Page], tls: ssl.SSLContext | None = None) -> None:
        self.pages = dict(pages)
        self.asked: list[bytes] = []
        site = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    wire = self.request
                    if tls is not None:
                        wire = tls.wrap_socket(wire, server_side=True)
                    request = b""
                    while b"\r\n\r\n" not in request:
                        data = wire.recv(4096)
                        if not data:
                            return
                        request += data
                    site.asked.append(request)
                    page = site.pages.get(request.split()[1].decode(), reply(404, b"", "text/html"))
                    wire.sendall(page(request) if callable(page) else page)
                    wire.close()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.at = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(PATIENCE_S)
        self._server.server_close()


@contextmanager
def site(pages: Mapping[str, Page], tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    made = Site(pages, tls)
    try:
        yield made
    finally:
        made.close()


def reply(status: int, body: bytes, kind: str, *more: str) -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*head, "", ""]).encode() + body


def parts(*bodies: bytes, lengths: bool = True, boundary: str = "frame") -> bytes:
    found = b""
    for body in bodies:
        length = f"Content-Length: {len(body)}\r\n" if lengths else ""
        found += f"--{boundary}\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + body
        found += b"\r\n"
    return found + f"--{boundary}--\r\n".encode()


def stream(body: bytes, kind: str = "multipart/x-mixed-replace; boundary=frame") -> bytes:
    return f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode() + body


def redirect(target: str) -> bytes:
    return reply(302, b"", "text/html", f"Location: {target}")


def huge_jpeg() -> bytes:
    """Return a picture whose header says 16,000 x 16,000 pixels."""
    at = PICTURE.index(b"\xff\xc0")
    size = (16_000).to_bytes(2, "big")
    return PICTURE[: at + 5] + size + size + PICTURE[at + 9 :]


@pytest.mark.parametrize("lengths", [True, False])
def test_the_pictures_of_a_multipart_stream_are_read_until_it_ends(lengths: bool) -> None:
    other = encode_jpeg(np.full((48, 64, 3), 200, np.uint8))
    body = stream(parts(PICTURE, other, lengths=lengths))
    with site({"/v": body}) as camera, closing(open_source(f"http://{camera.at}/v", OPTIONS)) as it:
        levels = [int(frame.pixels.mean()) for frame in (it.read(), it.read()) if frame]
        assert levels == pytest.approx([120, 200], abs=2)
        with pytest.raises(SourceError, match="the camera ended the stream"):
            it.read()


def test_chunks_cut_anywhere_make_the_same_pictures() -> None:
    body = parts(PICTURE)
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(body[at : at + 37]), body[at : at + 37])
        for at in range(0, len(body), 37)
    )
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/x\r\n\r\n"
    answer = head + chunks + b"0\r\n\r\n"
    with site({"/": answer}) as camera, closing(open_source(f"http://{camera.at}", OPTIONS)) as it:
        frame = it.read()
        assert frame is not None
        assert frame.pixels.shape == (48, 64, 3)


def test_a_stream_that_changes_its_colour_sampling_shows_the_new_colours() -> None:
    red = np.full((48, 64, 3), (0, 0, 255), np.uint8)
    sampling = [
        int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR),
        int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ]
    full = cv2.imencode(".jpg", red, sampling)[1].tobytes()
    body = stream(parts(PICTURE, full))
    with site({"/": body}) as camera, closing(open_source(f"http://{camera.at}", OPTIONS)) as it:
        it.read()
        frame = it.read()
        assert frame is not None
        assert frame.pixels[24, 32].tolist() == pytest.approx([0, 0, 255], abs=4)


@pytest.mark.parametrize(
    "answer",
    [
        stream(parts(huge_jpeg())),
        reply(200, huge_jpeg(), "image/jpeg"),
        reply(200, huge_jpeg(), "application/octet-stream"),
    ],
    ids=["stream", "single picture", "without a type"],
)
def test_a_huge_picture_is_rejected_before_it_is_decoded(answer: bytes) -> None:
    with (
        site({"/": answer}) as camera,
        closing(open_source(f"http://{camera.at}", OPTIONS)) as it,
        pytest.raises(SourceError, match=r"yard .*: 16000 x 16000 pixels are more than"),
    ):
        it.read()


def test_a_part_that_announces_too_many_bytes_is_not_waited_for() -> None:
    body = stream(b"--frame\r\nContent-Length: 99999999999\r\n\r\n")
    with (
        site({"/": body}) as camera,
        closing(open_source(f"http://{camera.at}", OPTIONS)) as it,
        pytest.raises(SourceError, match="a picture of 99999999999 bytes"),
    ):
        it.read()


def test_the_address_of_a_single_picture_is_asked_again_and_again() -> None:
    with (
        site({"/snap.jpg": reply(200, PICTURE, "image/jpeg")}) as camera,
        closing(open_source(f"http://{camera.at}/snap.jpg", OPTIONS)) as it,
    ):
        frames = [it.read() for _ in range(3)]
        assert [frame.index for frame in frames if frame] == [0, 1, 2]
        assert len(camera.asked) == 3
        del camera.pages["/snap.jpg"]
        with pytest.raises(SourceError, match=r"lost: it has nothing at /snap\.jpg"):
            it.read()


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{port}/admin",
        "http://localhost:{port}/admin",
        "http://127.0.0.1:1/admin",
        "//127.0.0.2/admin",
        "file:///etc/hostname",
        "rtsp://127.0.0.1:{port}/",
        "ftp://127.0.0.1/",
    ],
)
def test_a_redirect_elsewhere_is_not_followed(target: str) -> None:
    with site({}) as camera:
        port = camera.at.rpartition(":")[2]
        camera.pages["/"] = redirect(target.format(port=port))
        with pytest.raises(SourceError, match="which is not the same host"):
            open_source(f"http://{camera.at}/", OPTIONS)
        assert len(camera.asked) == 1


def test_a_redirect_on_the_same_host_is_followed_and_an_endless_one_is_not() -> None:
    pages = {"/": redirect("/cam/1"), "/cam/1": reply(200, PICTURE, "image/jpeg")}
    with site(pages) as camera, closing(open_source(f"http://{camera.at}/", OPTIONS)) as it:
        assert it.read() is not None
        camera.pages["/cam/1"] = redirect("/")
        with pytest.raises(SourceError, match="redirects more than 5 times"):
            open_source(f"http://{camera.at}/", OPTIONS)


def test_same_host_lets_a_camera_change_to_https_and_not_back() -> None:
    assert same_host("http://cam/a", "https://CAM/b")
    assert same_host("http://cam/a", "http://cam:80/b")
    assert not same_host("https://cam/a", "http://cam/b")
    assert not same_host("http://cam/a", "http://cam.evil.example/b")
    assert not same_host("http://cam/a", "http://cam:x/b")


def test_the_password_is_sent_only_after_a_challenge_and_escaped_letters_are_meant() -> None:
    expected = b"Basic " + base64.b64encode(b"me:a@b")

    def guarded(request: bytes) -> bytes:
        if expected in request:
            return reply(200, PICTURE, "image/jpeg")
        return reply(401, b"", "text/html", 'WWW-Authenticate: Basic realm="cam"')

    with (
        site({"/": guarded}) as camera,
        closing(open_source(f"http://me:a%40b@{camera.at}/", OPTIONS)) as it,
    ):
        assert it.read() is not None
        assert b"Authorization" not in camera.asked[0]
        with pytest.raises(SourceError, match="check those of the address"):
            open_source(f"http://me:wrong@{camera.at}/", OPTIONS)


def test_a_digest_challenge_is_answered() -> None:
    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    def guarded(request: bytes) -> bytes:
        fields = dict(re.findall(r'(\w+)="?([^",\r]*)', request.decode()))
        wanted = md5(
            f"{md5('me:cam:pw')}:n1:{fields.get('nc')}:{fields.get('cnonce')}:auth:"
            f"{md5('GET:/x?a=1')}"
        )
        if fields.get("response") == wanted:
            return reply(200, PICTURE, "image/jpeg")
        challenge = 'WWW-Authenticate: Digest realm="cam", nonce="n1", qop="auth", algorithm=MD5'
        others = ("WWW-Authenticate: Negotiate", 'WWW-Authenticate: Basic realm="cam"')
        return reply(401, b"", "text/html", *others, challenge)

    with (
        site({"/x?a=1": guarded}) as camera,
        closing(open_source(f"http://me:pw@{camera.at}/x?a=1", OPTIONS)) as it,
    ):
        assert it.read() is not None
        assert not any(b"Basic" in request for request in camera.asked)


def test_a_challenge_of_an_unknown_kind_is_not_answered() -> None:
    assert digest_header({"algorithm": "SHA-512-256"}, "me", "pw", "/", 1) is None
    assert digest_header({"qop": "auth-int"}, "me", "pw", "/", 1) is None


def encode_video(path: Path) -> bytes:
    writer = cv2.VideoWriter(str(path), int.from_bytes(b"MJPG", "little"), 5.0, (64, 48))
    for level in range(50, 60):
        writer.write(np.full((48, 64, 3), level * 2, np.uint8))
    writer.release()
    return path.read_bytes()


def test_other_video_reaches_ffmpeg_through_a_pipe(tmp_path: Path) -> None:
    video = encode_video(tmp_path / "a.avi")
    with (
        site({"/v": stream(video, "video/x-msvideo")}) as camera,
        closing(open_source(f"http://{camera.at}/v", OPTIONS)) as it,
    ):
        frames = [it.read() for _ in range(10)]
        assert int(frames[0].pixels.mean()) == pytest.approx(100, abs=3) if frames[0] else False
        with pytest.raises(SourceError, match="ended the stream"):
            it.read()


def test_the_segments_of_a_play_list_are_played_in_order(tmp_path: Path) -> None:
    video = encode_video(tmp_path / "a.avi")
    half = len(video) // 2
    pages: dict[str, Page] = {
        "/live/all.m3u8": reply(
            200, b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n", "application/x-mpegURL"
        ),
        "/live/low.m3u8": reply(
            200, b"#EXTM3U\n#EXTINF:1,\n1.ts\n#EXTINF:1,\n/2.ts\n#EXT-X-ENDLIST\n", "text/plain"
        ),
        "/live/1.ts": reply(200, video[:half], "video/MP2T"),
        "/2.ts": reply(200, video[half:], "video/MP2T"),
    }
    with (
        site(pages) as camera,
        closing(open_source(f"http://{camera.at}/live/all.m3u8", OPTIONS)) as it,
    ):
        assert all(it.read() is not None for _ in range(10))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("http://127.0.0.2/admin?action=reboot", "not on the camera's host"),
        ("file:///etc/hostname", "not on the camera's host"),
        ('#EXT-X-MAP:URI="http://10.0.0.1/x"', "not on the camera's host"),
        ('#EXT-X-MEDIA:TYPE=AUDIO,URI="tcp://10.0.0.1:22"', "not on the camera's host"),
        ('#EXT-X-KEY:METHOD=AES-128,URI="key"', "is encrypted"),
        ("#EXT-X-BYTERANGE:100@0", "parts of files"),
    ],
)
def test_a_play_list_that_leads_elsewhere_is_rejected(line: str, reason: str) -> None:
    page = reply(200, f"#EXTM3U\n{line}\n".encode(), "application/vnd.apple.mpegurl")
    with site({"/a.m3u8": page}) as camera:
        with pytest.raises(SourceError, match=reason):
            open_source(f"http://{camera.at}/a.m3u8", OPTIONS)
        assert len(camera.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"ffconcat version 1.0\nfile 'http://{at}/admin'\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 26\n",
        b"[Reference]\r\nRef1=http://{at}/admin\r\n",
    ],
    ids=["concat", "sdp", "reference"],
)
def test_a_list_that_ffmpeg_knows_opens_nothing(body: bytes) -> None:
    with site({}) as camera:
        content = body.replace(b"{at}", camera.at.encode())
        camera.pages["/v"] = reply(200, content, "video/mp4")
        with pytest.raises(SourceError):
            open_source(f"http://{camera.at}/v", OPTIONS).read()
        assert len(camera.asked) == 1


def test_video_with_the_type_of_a_text_is_video(tmp_path: Path) -> None:
    video = encode_video(tmp_path / "a.avi")
    with (
        site({"/v.ts": reply(200, video, "text/vnd.trolltech.linguist")}) as camera,
        closing(open_source(f"http://{camera.at}/v.ts", OPTIONS)) as it,
    ):
        assert it.read() is not None


def test_a_web_page_is_called_one() -> None:
    with site({"/": reply(200, b"<html>", "text/html")}) as camera:
        expected = r"gives a page \(text/html\), neither pictures nor video"
        with pytest.raises(SourceError, match=expected):
            open_source(f"http://{camera.at}/", OPTIONS)


def test_a_certificate_is_verified_unless_configured_otherwise(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.certificate("localhost"), certificates.key("localhost"))
    with site({"/": reply(200, PICTURE, "image/jpeg")}, context) as camera:
        uri = f"https://me:s3cret@localhost:{camera.at.rpartition(':')[2]}/"
        with pytest.raises(SourceError, match=r"is not trusted .*ca_file.*verify: false"):
            open_source(uri, OPTIONS)
        assert camera.asked == []
        for options in (
            {"verify": False},
            {"ca_file": str(certificates.authority)},
        ):
            made = SourceOptions(name="yard", threaded=False, **options)
            with closing(open_source(uri, made)) as it:
                assert it.read() is not None


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http:///live", "names no host"),
        ("rtsp://cam:99999/live", "cannot be read"),
        ("csi:abc", "must be a number"),
    ],
)
def test_an_address_that_can_never_work_is_an_error_without_opening(uri: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        check_source(uri, SourceOptions(name="yard"))


def test_a_file_of_certificates_that_is_not_there_is_an_error_without_opening() -> None:
    with pytest.raises(ConfigError, match="ca_file: /nowhere: cannot be used"):
        check_source("https://cam/", SourceOptions(ca_file="/nowhere"))


def test_a_stream_of_zeros_is_no_dark_scene() -> None:
    now_s = [0.0]
    check = EmptyStreamCheck(clock=lambda: now_s[0])
    dark = np.zeros((4, 4, 3), np.uint8)
    check.add(dark)
    now_s[0] = 9.0
    check.add(dark)
    now_s[0] = 10.0
    with pytest.raises(ValueError, match="which no camera gives"):
        check.add(dark)


def test_a_dark_scene_after_pictures_is_one() -> None:
    now_s = [0.0]
    check = EmptyStreamCheck(clock=lambda: now_s[0])
    check.add(np.ones((4, 4, 3), np.uint8))
    now_s[0] = 60.0
    check.add(np.zeros((4, 4, 3), np.uint8))


class Frames:
    """Stands for `cv2.VideoCapture`: gives these grey levels."""

    def __init__(self, levels: Iterable[int]) -> None:
        self._levels = iter(levels)

    def read(self) -> tuple[bool, np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None]:
        level = next(self._levels, None)
        return (False, None) if level is None else (True, np.full((4, 4, 3), level, np.uint8))


@pytest.mark.parametrize("levels", [[9] * 30, [0] * 30, [0]])
def test_fields_whose_pictures_never_change_or_are_black_are_an_error(levels: list[int]) -> None:
    with pytest.raises(ValueError, match="interlaced video"):
        check_fields(cast("cv2.VideoCapture", Frames(levels)), PATIENCE_S)


@pytest.mark.parametrize("levels", [[9, 9, 9, 9, 10], [9], []])
def test_fields_that_are_converted_are_read(levels: list[int]) -> None:
    check_fields(cast("cv2.VideoCapture", Frames(levels)), PATIENCE_S)


def test_a_play_list_without_new_segments_and_a_video_that_drips_end() -> None:
    page = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/v\n"
    options = SourceOptions(open_timeout_s=1.0, read_timeout_s=1.0, name="yard", threaded=False)
    with (
        site({"/v": reply(200, page, "application/x-mpegURL")}) as camera,
        pytest.raises(SourceError, match="names no new segment"),
    ):
        open_source(f"http://{camera.at}/v", options)
    with pytest.raises(SourceError, match=r"no picture within 0\.2 s"):
        PipedVideo(iter(lambda: b"\0", None), lambda: None, "yard", drained, 0.2)


def drained(pipe: str) -> GrabbingCapture:
    """Read a pipe to its end, as FFmpeg does while it looks for a picture."""
    while os.read(int(pipe.removeprefix("pipe:")), 65536):
        pass
    raise SourceError("yard: the stream does not open")
