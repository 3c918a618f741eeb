"""Network cameras of the local network: WS-Discovery, and the stream addresses by ONVIF.

A probe is sent by multicast; cameras answer with the address of their device service (OASIS Web
Services Dynamic Discovery 1.1; ONVIF Core, chapter 7). That service names the media service, whose
profiles have the stream addresses (ONVIF Media, 5.15). Many cameras tell them to anybody, others
want a user, sent as a digest (Web Services Security UsernameToken Profile 1.0).

Everything that arrives is from strangers: small, without entities, and asked only of the host that
has answered.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import islice
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from edge_sim.core.files import printable
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources.uri import masked
from edge_sim.secrets import register_secret

MULTICAST = ("239.255.255.250", 3702)
"""Group and port of WS-Discovery."""
PROBE_S = 2.0
MAX_CAMERAS = 64
_MAX_BYTES = 64 * 1024
_HTTP_S = 4.0
_CAMERA_S = 12.0
"""Longest time for all questions to one camera: a device that answers slowly is one of many."""
_MOST_PROFILES = 16
_AT_ONCE = 8
_PROBES = 2  # datagrams get lost
_SCOPE = "onvif://www.onvif.org/"
_NAMESPACES = (
    'xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:t="http://www.onvif.org/ver10/media/wsdl" '
    'xmlns:d="http://www.onvif.org/ver10/device/wsdl" '
    'xmlns:c="http://www.onvif.org/ver10/schema"'
)
_PROBE = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
    'xmlns:w="http://schemas.xmlsoap.org/ws/2005/04/discovery" '
    'xmlns:n="http://www.onvif.org/ver10/network/wsdl"><s:Header>'
    "<a:MessageID>uuid:{number}</a:MessageID>"
    "<a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>"
    "<a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action></s:Header>"
    "<s:Body><w:Probe><w:Types>n:NetworkVideoTransmitter</w:Types></w:Probe></s:Body></s:Envelope>"
)
_DIGEST = (
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0"
    "#PasswordDigest"
)
_SECURITY = (
    '<w:Security xmlns:w="http://docs.oasis-open.org/wss/2004/01/'
    'oasis-200401-wss-wssecurity-secext-1.0.xsd" '
    'xmlns:u="http://docs.oasis-open.org/wss/2004/01/'
    'oasis-200401-wss-wssecurity-utility-1.0.xsd"><w:UsernameToken>'
    '<w:Username>{user}</w:Username><w:Password Type="{kind}">{digest}</w:Password>'
    "<w:Nonce>{nonce}</w:Nonce><u:Created>{created}</u:Created></w:UsernameToken></w:Security>"
)


@dataclass(frozen=True, slots=True)
class NetworkCamera:
    """Camera that has answered.

    Args:
        address: Host of the camera, a numeric address.
        service: Address of its device service.
        name: Name and model that it gives itself; may be empty.
        streams: Stream addresses, the first profile first, without user and password.
        error: Reason why there are no streams, in one line; None if there are.
    """

    address: str
    service: str
    name: str
    streams: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class CameraLogin:
    """User of a camera."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"CameraLogin(user={self.user!r}, password='***')"


def discover(
    login: CameraLogin | None = None,
    *,
    wait_s: float = PROBE_S,
    target: tuple[str, int] = MULTICAST,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[NetworkCamera, ...]:
    """Return the cameras that answer a probe, with their streams, sorted by address.

    Args:
        login: User for cameras that want one; None asks without.
        wait_s: Time to wait for answers, seconds.
        target: Address of the probe.
        clock: Monotonic seconds.

    Raises:
        SourceError: This machine has no network to ask.
    """
    if login is not None:
        register_secret(login.password)
    found = probed(wait_s, target, clock)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="discovery") as pool:
        cameras = pool.map(lambda camera: with_streams(camera, login), found)
    return tuple(sorted(cameras, key=lambda camera: (camera.address, camera.service)))


def probed(
    wait_s: float = PROBE_S,
    target: tuple[str, int] = MULTICAST,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[NetworkCamera, ...]:
    """Return the cameras that answer a probe, without their streams.

    Raises:
        SourceError: This machine has no network to ask.
    """
    found: dict[str, NetworkCamera] = {}
    try:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
            asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            for _ in range(_PROBES):
                asking.sendto(_PROBE.format(number=uuid.uuid4()).encode(), target)
            until_s = clock() + wait_s
            while len(found) < MAX_CAMERAS and (left_s := until_s - clock()) > 0.0:
                asking.settimeout(left_s)
                try:
                    answer, sender = asking.recvfrom(_MAX_BYTES)
                except TimeoutError:
                    break
                for camera in _matches(answer, sender[0]):
                    found.setdefault(camera.service, camera)
    except OSError as error:
        raise SourceError(
            f"network cameras cannot be searched: {error.strerror or error}; is this machine on a "
            "network?"
        ) from error
    return tuple(found.values())


def with_streams(camera: NetworkCamera, login: CameraLogin | None = None) -> NetworkCamera:
    """Return the camera with its stream addresses, or with the reason why there are none."""
    try:
        streams = tuple(_streams(camera, login))
    except (OSError, http.client.HTTPException, ElementTree.ParseError, ValueError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        return replace(camera, error=printable(text)[:200])
    if not streams:
        return replace(camera, error="it names no stream")
    return replace(camera, streams=streams)


def with_login(uri: str, login: CameraLogin) -> str:
    """Return a stream address with user and password in it, as a configuration takes it.

    Raises:
        ConfigError: It is no address of a network camera.
    """
    try:
        parts = urlsplit(uri)
        is_address = bool(parts.scheme and parts.hostname)
    except ValueError:
        is_address = False
    if not is_address:
        raise ConfigError(f"{masked(uri)[:200]!r} is no address that a user can log in at")
    host = parts.netloc.rpartition("@")[2]
    user = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{user}@{host}"))


def _matches(answer: bytes, sender: str) -> Iterator[NetworkCamera]:
    try:
        root = _parsed(answer)
    except (ElementTree.ParseError, ValueError):
        return  # not for us
    for match in _all(root, "ProbeMatch"):
        addresses = " ".join(item.text or "" for item in _all(match, "XAddrs")).split()
        own = [item for item in addresses if _host_of(item) == sender]
        if own:
            scopes = " ".join(item.text or "" for item in _all(match, "Scopes")).split()
            yield NetworkCamera(sender, own[0], _name_of(scopes))


def _name_of(scopes: list[str]) -> str:
    words = []
    for kind in ("name", "hardware"):
        start = f"{_SCOPE}{kind}/"
        found = [unquote(scope.removeprefix(start)) for scope in scopes if scope.startswith(start)]
        words += [word for word in found[:1] if word not in words]
    return printable(" ".join(words))[:100]


def _streams(camera: NetworkCamera, login: CameraLogin | None) -> Iterator[str]:
    ask = _Asker(camera, login)
    answer = ask(
        camera.service, "<d:GetCapabilities><d:Category>Media</d:Category></d:GetCapabilities>"
    )
    media = next(
        (
            address.text or ""
            for part in _all(answer, "Media")
            for address in _all(part, "XAddr")
            if _host_of(address.text or "") == camera.address
        ),
        camera.service,
    )
    for profile in islice(_all(ask(media, "<t:GetProfiles/>"), "Profiles"), _MOST_PROFILES):
        token = escape(profile.get("token", ""), {'"': "&quot;"})
        answer = ask(
            media,
            "<t:GetStreamUri><t:StreamSetup><c:Stream>RTP-Unicast</c:Stream><c:Transport>"
            "<c:Protocol>RTSP</c:Protocol></c:Transport></t:StreamSetup>"
            f"<t:ProfileToken>{token}</t:ProfileToken></t:GetStreamUri>",
        )
        for uri in _all(answer, "Uri"):
            text = (uri.text or "").strip()
            if text.startswith(("rtsp://", "rtsps://", "http://", "https://")):
                yield _without_user(text)


class _Asker:
    """Asks the services of one camera, and no other host."""

    def __init__(self, camera: NetworkCamera, login: CameraLogin | None) -> None:
        self._host = camera.address
        self._login = login
        self._until_s = time.monotonic() + _CAMERA_S

    def __call__(self, service: str, body: str) -> ElementTree.Element:
        parts = urlsplit(service)
        if parts.scheme not in ("http", "https") or parts.hostname != self._host:
            raise ValueError(f"its service is not at {self._host}")
        make = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        header = "" if self._login is None else _security(self._login)
        envelope = (
            f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope {_NAMESPACES}>'
            f"<s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
        )
        left_s = min(_HTTP_S, self._until_s - time.monotonic())
        if left_s <= 0.0:
            raise ValueError("it answers too slowly")
        with closing(make(self._host, parts.port, timeout=left_s)) as connection:
            connection.connect()
            with _ended_after(connection.sock, left_s):
                connection.request(
                    "POST",
                    parts.path or "/",
                    envelope.encode(),
                    {"Content-Type": "application/soap+xml; charset=utf-8"},
                )
                response = connection.getresponse()
                content = response.read(_MAX_BYTES)
        if response.status in (401, 403) or b"NotAuthorized" in content:
            wrong = "the user or the password is wrong" if self._login else "it wants a user"
            raise ValueError(f"{wrong} (status {response.status})")
        if response.status != 200:
            raise ValueError(f"it answers with status {response.status}")
        return _parsed(content)


@contextmanager
def _ended_after(connection: socket.socket, limit_s: float) -> Iterator[None]:
    """End a connection in time: the time-out of a socket begins again with every byte."""

    def end() -> None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _security(login: CameraLogin) -> str:
    nonce = os.urandom(16)
    created = datetime.now(tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha1(nonce + created.encode() + login.password.encode()).digest()
    return _SECURITY.format(
        user=escape(login.user),
        kind=_DIGEST,
        digest=base64.b64encode(digest).decode(),
        nonce=base64.b64encode(nonce).decode(),
        created=created,
    )


def _parsed(content: bytes) -> ElementTree.Element:
    if b"\0" in content or b"<!" in content.replace(b"<!--", b"").replace(b"<![CDATA[", b""):
        raise ValueError("it answers with a document type")  # entities may grow without bound
    return ElementTree.fromstring(content)


def _all(root: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Yield the elements of a name in any namespace: cameras differ in their versions."""
    for element in root.iter():
        if element.tag.rpartition("}")[2] == name:
            yield element


def _host_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _without_user(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
