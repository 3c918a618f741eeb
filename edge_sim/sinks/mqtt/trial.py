"""Would the broker let this device in? Asked without publishing and without disturbing a daemon."""

from __future__ import annotations

import time
from typing import Any

from edge_sim.errors import SinkError
from edge_sim.sinks.mqtt.link import client_of
from edge_sim.sinks.mqtt.options import MqttOptions

_LOOP_S = 0.2


def try_login(options: MqttOptions) -> str:
    """Connect, log in, and leave again; return what to tell people.

    The client id gets `-check` at its end: a broker throws a running daemon out when another client
    comes with its id.

    Raises:
        ConfigError: Settings that contradict each other.
        SinkError: No connection within `timeout_s`, or the broker refuses.
    """
    options.check()
    answers: list[Any] = []
    client = client_of(options, options.tls_context(), f"{options.own_client_id}-check")
    client.on_connect = lambda *args: answers.append(args[3])
    until_s = time.monotonic() + options.timeout_s
    try:
        client.connect(options.host, options.broker_port, options.keepalive_s)
        while not answers and time.monotonic() < until_s:
            result = client.loop(_LOOP_S)
            if result and not answers:
                raise SinkError(f"{options.name}: the broker hangs up ({result.name})")
    except (OSError, ValueError) as error:
        if isinstance(error, SinkError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise SinkError(f"{options.name}: cannot connect ({reason})") from error
    finally:
        client.disconnect()
        client.loop(_LOOP_S)
    if not answers:
        raise SinkError(f"{options.name}: no answer within {options.timeout_s:g} s")
    if answers[0].is_failure:
        raise SinkError(f"{options.name}: the broker refuses: {answers[0]}")
    who = f"as {options.username}" if options.username else "as nobody"
    return f"logged in {who}{', encrypted' if options.tls else ', in the clear'}"
