"""Devices that do what a test tells them: cameras, a CSI module, a network camera."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import encode_jpeg
from edge_sim.io.sources.synthetic.source import render

PATIENCE_S = 10.0
"""How long a test waits for another thread before it fails; never waited for when all is well."""


def flat(level: int) -> NDArray[np.uint8]:
    """Return a small picture of one grey level."""
    return np.full((4, 6, 3), level, np.uint8)


class Hang:
    """A read that does not return before `end` is set."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.end = threading.Event()


class Device:
    """A camera that gives, at each read, what the test has put in: picture, None, error, hang.

    With nothing put in, a read waits, as a real camera's does. `openings` may hold errors and
    hangs for the openings to come.
    """

    def __init__(self) -> None:
        self.script: queue.Queue[Any] = queue.Queue()
        self.openings: queue.Queue[Any] = queue.Queue()
        self.opened = 0
        self.released = 0
        self.reads = 0
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._hangs: list[Hang] = []

    def open(self) -> Device:
        """Open the camera."""
        if not self.openings.empty():
            self._play(self.openings.get())
        with self._changed:
            self.opened += 1
            self._changed.notify_all()
        return self

    def read(self) -> NDArray[Any] | None:
        """Return the next thing of the script."""
        with self._changed:
            self.reads += 1
            self._changed.notify_all()
        while not self._ended.is_set():
            try:
                item = self.script.get(timeout=0.005)
            except queue.Empty:
                continue
            picture: NDArray[Any] | None = self._play(item)
            return picture
        return None

    def release(self) -> None:
        """Count that the camera was given back."""
        with self._changed:
            self.released += 1
            self._changed.notify_all()

    def put(self, *items: Any) -> None:
        """Let the coming reads give `items`, and wait until the reader has taken them all."""
        with self._changed:
            target = self.reads + len(items)
            for item in items:
                self.script.put(item)
            assert self._changed.wait_for(lambda: self.reads >= target, PATIENCE_S)

    def wait_for(self, what: str, count: int) -> None:
        """Wait until the counter named `what` has reached `count`."""
        with self._changed:
            assert self._changed.wait_for(lambda: getattr(self, what) >= count, PATIENCE_S)

    def end(self) -> None:
        """Let go of every read, also of those that hang."""
        self._ended.set()
        for hang in self._hangs:
            hang.end.set()

    def _play(self, item: Any) -> Any:
        if isinstance(item, Exception):
            raise item
        if isinstance(item, Hang):
            self._hangs.append(item)
            item.begun.set()
            item.end.wait(PATIENCE_S)
            return None
        return item


class V4l2Layer:
    """Stands for `cv2.VideoCapture` with the V4L2 backend: called to open, keeps what was set.

    Without `jpeg` or `yuyv` the camera sends BGR, grey levels that rise from frame to frame.
    """

    def __init__(
        self,
        *,
        opens: bool = True,
        jpeg: bytes | None = None,
        yuyv: NDArray[np.uint8] | None = None,
    ) -> None:
        self.opens = opens
        self.sent: NDArray[np.uint8] | None = yuyv
        format_name = b"BGR3" if yuyv is None else b"YUYV"
        if jpeg is not None:
            format_name = b"MJPG"
            self.sent = np.frombuffer(jpeg, np.uint8).reshape(1, -1)
        self._size = (640.0, 480.0) if yuyv is None else (yuyv.shape[1], yuyv.shape[0])
        self._fourcc = int.from_bytes(format_name, "little")
        self.asked: list[tuple[str, int]] = []
        self.settings: dict[int, float] = {}
        self.released = 0
        self.converted = 0
        self._level = 0

    def __call__(self, path: str, backend: int) -> V4l2Layer:
        self.asked.append((path, backend))
        return self

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.opens

    def set(self, prop: int, value: float) -> bool:
        self.settings[prop] = value
        return True

    def get(self, prop: int) -> float:
        width, height = self._size
        size = {cv2.CAP_PROP_FRAME_WIDTH: width, cv2.CAP_PROP_FRAME_HEIGHT: height}
        return float(self._fourcc) if prop == cv2.CAP_PROP_FOURCC else size[prop]

    def grab(self) -> bool:
        self._level = (self._level + 1) % 256
        return True

    def retrieve(self) -> tuple[bool, NDArray[np.uint8] | None]:
        self.converted += 1
        if self.settings.get(cv2.CAP_PROP_CONVERT_RGB) == 0:
            assert self.sent is not None
            return True, self.sent.copy()
        return True, flat(self._level)

    def release(self) -> None:
        self.released += 1


class ClipLayer:
    """Stands for `cv2.VideoCapture` with FFmpeg: `frames` pictures with the given readings."""

    def __init__(
        self, frames: int, *, fps: float, times_ms: list[float], promised: float = 0.0
    ) -> None:
        self.picture: NDArray[Any] = flat(7)
        self._left = frames
        self._fps = fps
        self._times_ms = times_ms
        self._promised = promised

    def __call__(self, path: str, backend: int) -> ClipLayer:
        return self

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return True

    def read(self) -> tuple[bool, NDArray[Any] | None]:
        self._left -= 1
        return (True, self.picture) if self._left >= 0 else (False, None)

    def get(self, prop: int) -> float:
        if prop == cv2.CAP_PROP_POS_MSEC:
            return self._times_ms.pop(0)
        return self._fps if prop == cv2.CAP_PROP_FPS else self._promised

    def release(self) -> None:
        pass


class CameraRequest:
    """Stands for a completed request of picamera2, with its buffers until it is released."""

    def __init__(self, module: Picamera2Module, number: int) -> None:
        self._module = module
        self.number = number
        self.is_released = False
        module.out += 1

    def view(self, stream: str) -> NDArray[np.uint8]:
        assert not self.is_released, "a buffer that was given back is read"
        return self._module.picture(stream, self.number)

    def make_array(self, stream: str) -> NDArray[np.uint8]:
        self._module.copied.append((stream, self._module.picture(stream, self.number).shape))
        return self.view(stream).copy()

    def release(self) -> None:
        assert not self.is_released, "released twice"
        self.is_released = True
        self._module.out -= 1


class Picamera2Module:
    """Stands for the module picamera2 with `cameras` connected cameras.

    Every picture is `shown` at the size that was asked for, or of one colour. A camera with all of
    its six buffers out gives no more pictures. Rows of the small picture are filled up to 64 bytes.
    """

    BUFFERS = 6

    def __init__(
        self,
        cameras: int = 1,
        *,
        error: Exception | None = None,
        has_small: bool = True,
        shown: NDArray[np.uint8] | None = None,
    ) -> None:
        self.configuration: dict[str, Any] = {}
        self.calls: list[str] = []
        self.stopped = threading.Event()
        self.shown = shown
        self.out = 0
        self.taken = 0
        self.copied: list[tuple[str, tuple[int, ...]]] = []
        module = self

        class Picamera2:
            def __init__(self, camera_num: int) -> None:
                if error is not None:
                    raise error
                module.calls.append(f"open {camera_num}")

            @staticmethod
            def global_camera_info() -> list[SimpleNamespace]:
                return [SimpleNamespace(Num=number) for number in range(cameras)]

            def create_video_configuration(self, **wishes: Any) -> dict[str, Any]:
                return wishes

            def configure(self, configuration: dict[str, Any]) -> None:
                if "lores" in configuration and not has_small:
                    raise RuntimeError("Invalid camera configuration")
                module.configuration = configuration

            def camera_configuration(self) -> dict[str, Any]:
                return module.configuration

            def start(self) -> None:
                module.calls.append("start")

            def capture_request(self) -> CameraRequest:
                if module.stopped.is_set():
                    raise RuntimeError("Camera frontend has timed out!")
                assert module.out < module.BUFFERS - 2, "no buffer is left to the camera"
                module.taken += 1
                return CameraRequest(module, module.taken)

            def stop(self) -> None:
                module.calls.append("stop")

            def close(self) -> None:
                module.calls.append("close")

        @contextmanager
        def mapped(request: CameraRequest, stream: str) -> Iterator[SimpleNamespace]:
            yield SimpleNamespace(array=request.view(stream))

        self.Picamera2 = Picamera2
        self.MappedArray = mapped

    def picture(self, stream: str, number: int) -> NDArray[np.uint8]:
        """Return a picture as it lies in the camera's memory."""
        width, height = self.configuration[stream]["size"]
        shown = self.shown
        if shown is None:
            shown = np.full((height, width, 3), (200, 100, 50), np.uint8)
        sized = cv2.resize(shown, (width, height), interpolation=cv2.INTER_AREA)
        if stream == "main":
            return np.asarray(sized, np.uint8)
        planes = np.asarray(cv2.cvtColor(sized, cv2.COLOR_BGR2YUV_I420), np.uint8)
        filling = -width % 64
        luma = np.pad(planes[:height], ((0, 0), (0, filling)))
        colour = planes[height:].reshape(height, width // 2)
        colour = np.pad(colour, ((0, 0), (0, filling // 2)))
        return np.vstack([luma, colour.reshape(height // 2, width + filling)])


class NetworkCamera:
    """Serves a drawn scene as MJPEG over HTTP on loopback; can be cut off and come back."""

    def __init__(self) -> None:
        self.on = threading.Event()
        self.on.set()
        self.connections = 0
        picture = cv2.resize(render("gate", "closed"), (160, 120), interpolation=cv2.INTER_AREA)
        body = encode_jpeg(np.asarray(picture, np.uint8))
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
        part = head.encode() + body + b"\r\n"
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not camera.on.is_set():
                    self.send_error(503)
                    return
                camera.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                pace = threading.Event()
                try:
                    while camera.on.is_set():
                        self.wfile.write(part)
                        pace.wait(0.01)
                except OSError:
                    return

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def uri(self) -> str:
        """With a password."""
        return f"http://viewer:s3cret@127.0.0.1:{self._server.server_address[1]}/stream"

    def close(self) -> None:
        """Stop serving."""
        self.on.clear()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_S)


@contextmanager
def network_camera() -> Iterator[NetworkCamera]:
    """A network camera for the length of a `with` block."""
    camera = NetworkCamera()
    try:
        yield camera
    finally:
        camera.close()


def write_video(path: str, frames: int, *, grain: int = 0) -> None:
    """Write a 64 x 48 MJPG AVI, 5 per second, whose frame i has the grey level 10 i (modulo 250).

    `grain` adds noise of that many levels, which makes the file larger.
    """
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(path, int.from_bytes(b"MJPG", "little"), 5.0, (64, 48))
    assert writer.isOpened()
    for index in range(frames):
        noise = rng.integers(0, grain + 1, (48, 64, 3), dtype=np.uint8)
        writer.write(np.asarray(noise + np.uint8(index * 10 % 250), np.uint8))
    writer.release()
