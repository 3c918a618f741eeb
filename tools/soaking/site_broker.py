"""The broker of a site as `docs/site` configures it, with certificates of clients."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SITE = Path(__file__).resolve().parent.parent.parent / "docs/site"
PREFIX = "edge_sim/yard"
_SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
_STOPPED_S = 60.0
_START_POLLS = 3000


def program() -> str | None:
    """Return the path of mosquitto; None if it is not installed."""
    return shutil.which("mosquitto", path=_SEARCH_PATH)


class Authority:
    """An authority that signs certificates, all files in one folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder, self.name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _named(f"authority {name}")
        certificate = (
            self._begun(self._subject, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str) -> tuple[Path, Path]:
        """Write a certificate and its key; return their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._begun(_named(name), key)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths

    def _begun(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=2))
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class SiteBroker:
    """A mosquitto with the configuration of `docs/site`, its paths and port replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.authority = Authority(folder)
        certificate, key = self.authority.sign("localhost")
        certificate.rename(folder / "server.pem")
        key.rename(folder / "server.key")
        (folder / "site.acl").write_text((SITE / "mosquitto.acl").read_text())
        (folder / "site.acl").chmod(0o600)
        text = (SITE / "mosquitto.conf").read_text()
        for old, new in (
            ("listener 8883", f"listener {self.port} 127.0.0.1"),
            ("/etc/mosquitto/", f"{folder}/"),
            ("/var/lib/mosquitto/", f"{folder}/"),
        ):
            if old not in text:
                raise RuntimeError(f"there is no {old!r} in {SITE / 'mosquitto.conf'}")
            text = text.replace(old, new)
        if os.geteuid() == 0:
            text += "user root\n"  # it could not read these files as its own user
        self._config = folder / "mosquitto.conf"
        self._config.write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id; None while it is stopped."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it, and return once it listens."""
        path = program()
        if path is None:
            raise RuntimeError("mosquitto is not installed: apt-get install mosquitto")
        log = self.folder / "mosquitto.log"
        # A file: it writes a line for every connection, and would wait for the reader of a pipe.
        with log.open("wb") as file:
            self._process = subprocess.Popen([path, "-c", str(self._config)], stderr=file)
        for _ in range(_START_POLLS):
            if b" running\n" in log.read_bytes():
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"mosquitto did not start: {log.read_text()[-500:]}")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it; by default at once."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_STOPPED_S)
        self._process = None

    def options(self, name: str, authority: Authority | None = None) -> dict[str, Any]:
        """Return what a sink or collector of that name needs to get in."""
        certificate, key = (authority or self.authority).sign(name)
        return {
            "host": "localhost",
            "port": self.port,
            "tls": True,
            "ca_file": str(self.authority.path),
            "cert_file": str(certificate),
            "key_file": str(key),
            "topic_prefix": PREFIX,
            "device": name,
            "backoff_s": (0.05,),
        }
