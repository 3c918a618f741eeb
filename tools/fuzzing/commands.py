"""Commands as strangers may publish or post them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from hypothesis import strategies as st

from edge_sim.errors import CommandError
from edge_sim.io.outbox.queue import OutboxCounts
from edge_sim.io.sinks.capabilities import DeviceInfo, SetSensitivity, Teach, WatchInfo
from edge_sim.io.sinks.mqtt.topics import Topics, read_command
from edge_sim.runtime.config import Config, parse_config
from edge_sim.runtime.daemon.teaching import Lesson
from edge_sim.runtime.health.status import StatusBoard
from edge_sim.web.server import open_server
from fuzzing.texts import words
from fuzzing.trial import BrokenPromiseError

STATES = ("closed", "open")
TOPICS = Topics("edge_sim", "porch")
SITE = DeviceInfo((WatchInfo("gate", "yard", STATES, 0.5), WatchInfo("new", "yard", (), 0.5)))
TOKEN = "0123456789abcdef"
_ANSWER_S = 8.0

_json = st.recursive(
    st.one_of(words, st.integers(), st.floats(), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(("state", "event", "watch", "x")), inner, max_size=4),
    ),
    max_leaves=6,
)
_orders = st.fixed_dictionaries(
    {},
    optional={
        "watch": st.one_of(st.just("gate"), words),
        "state": st.one_of(st.sampled_from(STATES), words),
        "event": st.one_of(st.just("0123456789abcdef"), words, st.none()),
    },
)


def _as_json(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (msgspec.MsgspecError, UnicodeEncodeError, TypeError):
        return repr(value).encode("utf-8", "replace")


payloads = st.one_of(
    st.binary(max_size=40),
    words.map(lambda text: text.encode("utf-8", "replace")),
    _orders.map(_as_json),
    _json.map(_as_json),
    st.sampled_from((b"open", b"0.5", b"1.0", b"{" * 250, b"[" * 250, b"open" * 90)),
    st.builds(
        lambda state, event: _as_json({"state": state, "event": event}),
        st.sampled_from(STATES),
        st.one_of(st.none(), st.just("0123456789abcdef"), words),
    ),
)
_topics = st.one_of(
    st.sampled_from(
        [TOPICS.command(card.name, verb) for card in SITE.watches for verb in ("teach", "x")]
        + [TOPICS.command("gate", "sensitivity"), TOPICS.state("gate"), "", "/", "homeassistant"]
    ),
    st.sampled_from([TOPICS.command("gate", "teach"), TOPICS.command("gate", "sensitivity")]),
    words.map(lambda word: f"edge_sim/porch/{word}/teach/set"),
)
messages = st.tuples(_topics, payloads)
"""Topic and payload."""


def publish(message: tuple[str, bytes]) -> str:
    """Read a message as the MQTT sink does; return what came of it."""
    topic, payload = message
    try:
        command = read_command(topic, payload, TOPICS, SITE)
    except CommandError as error:
        if not str(error).isprintable():
            raise BrokenPromiseError(f"an error that is no line: {str(error)!r}") from error
        return "refused"
    if isinstance(command, SetSensitivity):
        if not 0.0 <= command.sensitivity <= 1.0:
            raise BrokenPromiseError(f"took {command}")
        return "sensitivity"
    if command.watch != "gate" or command.state not in STATES:
        raise BrokenPromiseError(f"took {command}")
    return "teach"


def _request(parts: tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes, int]) -> bytes:
    verb, path, headers, body, spare = parts
    lines = [verb + b" " + path + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in headers]
    if spare < 2:
        lines.append(b"Content-Length: " + str(max(len(body) - spare, 0)).encode())
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


_headers = st.lists(
    st.tuples(
        st.sampled_from(
            (b"Host", b"Authorization", b"Content-Type", b"Content-Length", b"Expect", b"X-A")
        ),
        st.one_of(
            st.sampled_from(
                (b"localhost", b"evil.example", b"application/json", b"-1", b"99999999999", b"1e3")
            ),
            st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"")),
        ),
    ),
    max_size=2,
)
_right = [
    (b"Host", b"localhost"),
    (b"Authorization", b"Bearer " + TOKEN.encode()),
    (b"Content-Type", b"application/json"),
]
requests = st.one_of(
    st.tuples(
        st.just(b"POST"),
        st.just(b"/teach"),
        _headers.map(lambda more: [*_right, *more]),
        payloads,
        st.sampled_from((0, 0, 0, 0, 1, 2)),
    ).map(_request),
    st.tuples(
        st.sampled_from((b"GET", b"HEAD", b"PUT", b"POST", b"get", b"\x16\x03\x01", b"")),
        st.one_of(
            st.sampled_from(
                (b"/state", b"/healthz", b"/metrics", b"/../etc/passwd", b"//x", b"/%00", b"*")
            ),
            st.binary(max_size=20).map(lambda raw: b"/" + raw),
        ),
        _headers.map(lambda more: [*_right[:2], *more]),
        payloads,
        st.integers(0, 2),
    ).map(_request),
    st.binary(max_size=80),
)
"""Whole requests, as bytes."""


class _Device:
    """Daemon as the web server sees it: no camera, and a gallery with one watch."""

    def __init__(self, config: Config) -> None:
        self.board = StatusBoard("porch")
        self.config = config
        self.written_bytes = 0

    def counts(self) -> OutboxCounts:
        return OutboxCounts(
            waiting=0,
            waiting_bytes=0,
            unsaved=0,
            pending={},
            delivered={},
            dropped={},
            written_bytes=0,
            written_bytes_last_day=0,
            over_budget=False,
        )

    def failing(self) -> dict[str, int]:
        return {}

    def frame(self, source: str) -> None:  # noqa: ARG002
        return None

    def picture(self, watch: str) -> None:  # noqa: ARG002
        return None

    def teach(self, command: Teach, limit_s: float = 10.0) -> Lesson:  # noqa: ARG002
        if command.watch != "gate" or command.state not in STATES:
            raise CommandError(f"there is no watch {command.watch!r} or no state {command.state!r}")
        return Lesson(command.watch, command.state, "r1", 2, None, ())


@contextmanager
def served() -> Iterator[int]:
    """Run the web server as the daemon does, and give its port."""
    config = parse_config(
        f"web: {{listen: '127.0.0.1:0', token: '{TOKEN}', requests_per_s: 1000000}}",
        where="fuzz.yaml",
    )
    server = open_server(config, _Device(config))  # type: ignore[arg-type]
    try:
        yield server.port
    finally:
        server.close()


def post(request: bytes, port: int) -> str:
    """Send a request; return the status of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return "cut off"
        except TimeoutError as error:
            raise BrokenPromiseError(f"no answer to {request!r}") from error
    if not answer:
        return "no answer"
    if b"Traceback" in answer or b"root:x:" in answer:
        raise BrokenPromiseError(f"answered {answer!r} to {request!r}")
    words_ = answer.split(b" ", 2)
    return words_[1].decode("ascii", "replace")[:3] if answer.startswith(b"HTTP/") else "bare text"
