"""Start of the Home Assistant app: configuration at the first start, broker from the supervisor.

https://developers.home-assistant.io/docs/api/supervisor/endpoints
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DATA = Path("/data")
INGRESS_PROXY = "172.30.32.2"
PASSWORD = "MQTT_PASSWORD"


def main() -> None:
    """Make what is missing, and become the daemon."""
    broker = asked_broker(os.environ.get("SUPERVISOR_TOKEN", ""))
    environment = {**os.environ, PASSWORD: str((broker or {}).get("password", ""))}
    config = DATA / "config.yaml"
    if not config.exists():
        options = json.loads((DATA / "options.json").read_text(encoding="utf-8"))
        config.write_text(first_config(options, broker), encoding="utf-8")
    place = ["-c", str(config), "--state-dir", str(DATA)]
    if not (DATA / "accounts.json").exists():
        token = secrets.token_urlsafe(12)
        made = ["edge-sim", "web", "passwd", "admin", *place]
        subprocess.run(made, input=f"{token}\n", text=True, check=True, env=environment)
        print(f"first start: log in as admin with the password {token}", file=sys.stderr)
    os.execvpe("edge-sim", ["edge-sim", "daemon", *place], environment)


def asked_broker(token: str) -> dict[str, Any] | None:
    """Return the broker that the supervisor knows; None if there is none."""
    request = urllib.request.Request(
        "http://supervisor/services/mqtt", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
            return found
    except (urllib.error.URLError, KeyError, ValueError) as error:
        print(f"no broker from the supervisor ({error}): no entities", file=sys.stderr)
        return None


def first_config(options: Mapping[str, Any], broker: Mapping[str, Any] | None) -> str:
    """Return the configuration of the first start.

    Args:
        options: Options of the app.
        broker: Broker as the supervisor describes it; None without one.
    """
    sinks: list[dict[str, Any]] = [{"kind": "stdout"}]
    if broker is not None:
        sink = {"kind": "mqtt", "host": broker["host"], "port": int(broker["port"])}
        if broker.get("username"):
            sink |= {"username": broker["username"], "password": f"${{{PASSWORD}}}"}
        if broker.get("ssl"):
            sink["tls"] = True
        sinks.append(sink | {"image": bool(options.get("image", False))})
    web = {"listen": "0.0.0.0:9713", "trusted_proxies": [INGRESS_PROXY]}
    # JSON is YAML: the page and people may edit it further.
    parts = {"device": options.get("device", "edge_sim"), "web": web, "sinks": sinks}
    head = "# Made at the first start of the app. Watches are made on the page.\n"
    return head + "".join(f"{key}: {json.dumps(value)}\n" for key, value in parts.items())


if __name__ == "__main__":
    main()
