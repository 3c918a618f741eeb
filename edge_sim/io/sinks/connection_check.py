"""Tries sinks for real, without an event: can a file be written, does the far end let us in?"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from edge_sim.core.files import appending_opener, exists
from edge_sim.errors import SinkError
from edge_sim.io.sinks import open_sink
from edge_sim.io.sinks.options import CommandOptions, MqttOptions, UnixSocketOptions, WebhookOptions

REMOTE = frozenset({"mqtt", "webhook"})
"""Kinds whose trial needs the network."""
_ROOM_BYTES = 64 * 1024
_CONNECT_S = 2.0


def try_sink(kind: str, **options: Any) -> str:
    """Try a sink and return a summary for people; as `open_sink` otherwise.

    Raises:
        ConfigError: Its arguments can never work.
        SinkError: It would not work now.
    """
    try:
        if kind in _TRIALS:
            return _TRIALS[kind](**options)
        open_sink(kind, **options).close()
    except SinkError as error:
        step = _STEPS.get(kind)
        raise (error if step is None else SinkError(f"{error}; {step}")) from error
    return "can be opened"


def _try_stdout() -> str:
    return "always there"


def _try_file(path: str | Path, **options: Any) -> str:  # noqa: ARG001 - nothing is rotated
    """Write beside the file, and open the file; it stays as it is."""
    file = Path(path)
    _check_room(file)
    if exists(file):
        try:
            open(file, "ab", opener=appending_opener).close()
        except OSError as error:
            raise SinkError(f"{file}: cannot append events ({error.strerror})") from error
    return f"can be written, in {file.parent}"


def _try_mqtt(**options: Any) -> str:
    from edge_sim.io.sinks.mqtt.client import try_login

    return try_login(MqttOptions(**options))


def _try_webhook(url: str, **options: Any) -> str:
    from edge_sim.io.sinks.webhook import WebhookSink

    sink = WebhookSink.open(WebhookOptions(url=url, **options))
    try:
        status = sink.request_options()
    finally:
        sink.close()
    if status >= 500 or status in (401, 403):
        raise SinkError(f"{sink.name}: answers OPTIONS with status {status}")
    return f"answers (OPTIONS: {status})"


def _try_command(argv: Sequence[str], **options: Any) -> str:
    from edge_sim.io.sinks.command import CommandSink

    CommandSink.open(CommandOptions(argv=tuple(argv), **options)).close()
    return "is there and can be run; it was not run"


def _try_unix_socket(path: str | Path, **options: Any) -> str:
    from edge_sim.io.sinks.unix_socket import UnixSocketSink

    place = Path(path)
    if _is_served(place):
        return "served by a running daemon"
    if exists(place) and not stat.S_ISSOCK(place.lstat().st_mode):
        raise SinkError(f"unix_socket {place}: something that is no socket is there; move it away")
    # Under another name: a daemon that starts at this moment must find its own free.
    beside = str(place.with_name(f"{place.name}.check"))
    UnixSocketSink.open(UnixSocketOptions(path=beside, **options)).close()
    return f"can be served, in {place.parent}"


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_CONNECT_S)
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def _check_room(file: Path) -> None:
    """Raise `SinkError` where the folder takes no file of some size: read-only, full, or absent."""
    try:
        with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.check-") as stream:
            stream.write(bytes(_ROOM_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise SinkError(
            f"{file}: nothing can be written to {file.parent} ({error.strerror})"
        ) from error


_STEPS = {
    "file": "name a folder that is there and may be written, with room",
    "mqtt": "see that the broker is on, and that host, port, tls, username and password are its",
    "webhook": "see that its server is on, and that url, secret and token are its",
    "unix_socket": "name a folder that is there and may be written, and no file",
}
"""Next steps of people whose sink does not work, by kind."""
_TRIALS: Mapping[str, Callable[..., str]] = {
    "stdout": _try_stdout,
    "file": _try_file,
    "mqtt": _try_mqtt,
    "webhook": _try_webhook,
    "command": _try_command,
    "unix_socket": _try_unix_socket,
}
