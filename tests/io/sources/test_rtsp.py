"""RTSP cameras: read through a relay, which keeps FFmpeg and the password on their host."""

from __future__ import annotations

import io
import ssl
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge_sim.core.types import Frame
from edge_sim.errors import SourceError
from edge_sim.io.sources import interlaced, open_source
from edge_sim.io.sources.capture import LONGEST_GAP_S
from edge_sim.io.sources.interlaced import deinterlaced_by_opencv
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.reader import Clocks, Mailbox, Reader
from tests.io.sinks.broker import make_certificates
from tests.io.sources.devices import PATIENCE_S
from tests.io.sources.rtsp_camera import packets, rtsp_camera, transport_stream
from tests.io.sources.test_http import site, stream

OPTIONS = SourceOptions(
    open_timeout_s=PATIENCE_S, read_timeout_s=PATIENCE_S, name="gate", threaded=False
)


def first_of(uri: str, options: SourceOptions = OPTIONS) -> Frame:
    """Return the first picture of a stream."""
    with closing(open_source(uri, options)) as source:
        frame = source.read()
        assert frame is not None
        return frame


def is_first(frame: Frame) -> bool:
    """Return whether a frame is the first picture of the test's stream."""
    return frame.pixels.shape == (48, 64, 3) and abs(int(frame.pixels.mean()) - 50) <= 4


def redirect(text: str, status: int = 302) -> bytes:
    return f"RTSP/1.0 {status} Moved\r\nCSeq: 1\r\nLocation: {text}\r\n\r\n".encode()


def all_of_it(send: Callable[[bytes], None]) -> None:
    for packet in packets(transport_stream()):
        send(packet)


def test_a_stream_is_read_until_the_camera_ends_it() -> None:
    with (
        rtsp_camera(play=all_of_it) as camera,
        closing(open_source(f"rtsp://{camera.at}/live?channel=1", OPTIONS)) as source,
    ):
        frame = source.read()
        assert frame is not None
        assert is_first(frame)
        with pytest.raises(SourceError, match="the camera ended the stream"):
            list(iter(source.read, None))
    assert camera.asked[0].startswith(f"OPTIONS rtsp://{camera.at}/live?channel=1 RTSP/1.0")


@pytest.mark.parametrize("method", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"])
def test_a_redirect_to_another_server_is_not_followed(method: str) -> None:
    with rtsp_camera() as victim:

        def answer(asked: str, text: str) -> bytes | None:
            return redirect(f"rtsp://{victim.at}/admin?action=reboot") if asked == method else None

        with (
            rtsp_camera(answer) as camera,
            pytest.raises(SourceError, match=r"gate .*redirects to .*not the same host"),
        ):
            first_of(f"rtsp://{camera.at}/live")
    assert victim.visitors == 0


@pytest.mark.parametrize(
    "target", ["http://{at}/", "file:///etc/passwd", "rtsp://[::1", "{at}", ""]
)
def test_a_redirect_to_another_protocol_is_not_followed(target: str) -> None:
    with rtsp_camera() as victim:
        place = target.format(at=victim.at)
        with (
            rtsp_camera(lambda method, text: redirect(place)) as camera,
            pytest.raises(SourceError, match="redirects"),
        ):
            first_of(f"rtsp://{camera.at}/live")
    assert victim.visitors == 0


def test_a_redirect_on_the_same_host_is_followed() -> None:
    def answer(method: str, text: str) -> bytes | None:
        at = text.split()[1]
        return redirect(at.replace("/old", "/new")) if "/old" in at else None

    with rtsp_camera(answer) as camera:
        assert is_first(first_of(f"rtsp://{camera.at}/old"))
    assert "/new" in camera.asked[-1]


@pytest.mark.parametrize(
    "noise",
    [
        b"REDIRECT rtsp://{at}/ RTSP/1.0\r\nCSeq: 9\r\nLocation: rtsp://{at}/\r\n\r\n",
        b"RTSP/1.0 302 Moved\r\nCSeq: 99\r\nLocation: rtsp://{at}/\r\n\r\n",
        struct.pack(">BBH", 0x24, 0, 7) + b"RTSP/1.",
        b"garbage\r\n\r\n\0\0\xff",
    ],
)
def test_what_a_camera_sends_between_its_packets_leads_nowhere(noise: bytes) -> None:
    with rtsp_camera() as victim:
        said = noise.replace(b"{at}", victim.at.encode())
        with rtsp_camera(noise=said) as camera:
            assert is_first(first_of(f"rtsp://{camera.at}/live"))
    assert victim.visitors == 0


def test_addresses_in_the_description_and_the_transport_lead_nowhere() -> None:
    with rtsp_camera() as victim:
        host = victim.at

        def answer(method: str, text: str) -> bytes | None:
            number = text.split("CSeq: ")[1].split()[0]
            if method == "DESCRIBE":
                body = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                    f"a=control:rtsp://{host}/x\r\nm=video 0 RTP/AVP 33\r\n"
                    f"a=control:rtsp://{host}/track1\r\n"
                )
                head = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nContent-Base: rtsp://{host}/\r\n"
                head += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n"
                return (head + body).encode()
            if method == "SETUP":
                head = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 7\r\nTransport: "
                head += f"RTP/AVP/TCP;unicast;source={host};interleaved=0-1\r\n\r\n"
                return head.encode()
            return None

        with rtsp_camera(answer) as camera:
            assert is_first(first_of(f"rtsp://{camera.at}/live"))
    assert victim.visitors == 0


def test_a_digest_challenge_is_answered_and_the_password_is_never_sent() -> None:
    with rtsp_camera(user="me:s3cret") as camera:
        assert is_first(first_of(f"rtsp://me:s3cret@{camera.at}/live"))
        assert "Authorization" not in camera.asked[0]
        assert not any("s3cret" in text for text in camera.asked)
        with pytest.raises(SourceError, match="check those of the address"):
            first_of(f"rtsp://me:wrong@{camera.at}/live")
        with pytest.raises(SourceError, match="rtsp://USER:PASSWORD@"):
            first_of(f"rtsp://{camera.at}/live")


def test_the_certificate_of_the_connection_that_is_used_is_verified(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate("localhost"), made.key("localhost"))
    with rtsp_camera(tls=context) as camera:
        address = f"rtsps://localhost:{camera.at.split(':')[1]}/live"
        with pytest.raises(SourceError, match="is not trusted"):
            first_of(address)
        assert not camera.asked
        trusting = SourceOptions(
            open_timeout_s=PATIENCE_S,
            read_timeout_s=PATIENCE_S,
            threaded=False,
            ca_file=str(made.authority),
        )
        assert is_first(first_of(address, trusting))


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example ESMTP\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 20_000,
        b"RTSP/1.0 abc\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: -5\r\n\r\n",
    ],
)
def test_an_answer_that_is_none_is_one_line(answer: bytes) -> None:
    with rtsp_camera(lambda method, text: answer) as camera, pytest.raises(SourceError) as caught:
        first_of(f"rtsp://{camera.at}/live")
    assert str(caught.value).startswith("gate (rtsp://127.0.0.1:")
    assert "\n" not in str(caught.value)


def interlaced_stream() -> bytes:
    """Return 60 interlaced pictures of 128 x 96 as MPEG-TS, a bar that moves to the right."""
    module = pytest.importorskip("av", reason="needs PyAV (extra video)")
    kept = io.BytesIO()
    with module.open(kept, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.codec_context.options = {"flags": "+ildct+ilme", "top": "1"}
        for index in range(60):
            picture = np.full((96, 128, 3), 90, np.uint8)
            picture[:, index : index + 16] = 230
            container.mux(stream.encode(module.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode(None))
    return kept.getvalue()


@pytest.mark.skipif(deinterlaced_by_opencv(), reason="this OpenCV converts interlaced video")
@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_an_interlaced_stream_is_decoded_otherwise(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = interlaced_stream()
    with (
        rtsp_camera(stream=video) as rtsp,
        site({"/live": stream(video, "video/mp2t")}) as http,
    ):
        address = f"{scheme}://{rtsp.at if scheme == 'rtsp' else http.at}/live"
        picture = first_of(address).pixels
        assert picture.shape == (96, 128, 3)
        assert abs(int(picture[:, 60:].mean()) - 90) <= 4
        monkeypatch.setattr(interlaced, "_PYAV", "no_such_package")
        with pytest.raises(
            SourceError, match=r"interlaced video.*install PyAV .*edge_sim\[video\]"
        ):
            first_of(address)


def test_a_stream_without_pictures_is_waited_for_while_it_sends_data() -> None:
    clock, seconds = [0.0], 0.0

    class Stream:
        """Gives no picture for 70 s, data all the time."""

        silence = False

        @property
        def received_s(self) -> float:
            return -100.0 if self.silence else clock[0]

    reader = Reader(Stream, Mailbox(), OPTIONS, clocks=Clocks(lambda: clock[0]))  # type: ignore[arg-type]
    device = Stream()
    reader._source = device  # type: ignore[assignment]
    for seconds, is_receiving in ((1.0, True), (70.0, True), (LONGEST_GAP_S, False)):
        clock[0] = seconds
        assert reader.is_receiving == is_receiving
    clock[0], device.silence = 1.0, True
    assert not reader.is_receiving
