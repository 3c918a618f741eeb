"""Secrets of the configuration appear in no error and no log line."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sinks.options import MqttOptions
from edge_sim.io.sources.uri import masked
from edge_sim.runtime.config import parse_config
from edge_sim.secrets import MaskingFormatter, forget_secrets, mask_secrets, register_secret

CONFIG = """
sources:
  porch: {{uri: "{uri}"}}
watches:
  door: {{source: porch, states: [open, shut]}}
"""


def test_a_value_from_the_environment_is_hidden_in_errors() -> None:
    text = CONFIG.format(uri="rtsp://${HOST_PART}/stream/${KEY}")
    parse_config(text, environ={"HOST_PART": "camera.lan", "KEY": "Tr0ub4dor"})
    error = SourceError("rtsp://camera.lan/stream/Tr0ub4dor: no answer")
    assert str(error) == "rtsp://***/stream/***: no answer"
    assert masked("rtsp://camera.lan/stream/Tr0ub4dor") == "rtsp://***/stream/***"


def test_a_literal_password_is_hidden() -> None:
    config = CONFIG.format(uri="usb:0") + (
        "sinks:\n  - {kind: mqtt, host: broker, username: me, password: opensesame}\n"
    )
    parse_config(config)
    assert "opensesame" not in str(SourceError("refused: me/opensesame"))


def test_a_password_from_a_file_is_hidden(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("opensesame\n")
    options = MqttOptions(host="broker", username="me", password_file=str(file))
    assert options.current_password() == "opensesame"
    assert str(SourceError("refused: opensesame")) == "refused: ***"


def test_every_message_of_a_configuration_is_masked() -> None:
    register_secret("Tr0ub4dor")
    error = ConfigError("a: Tr0ub4dor", "b: fine")
    assert error.messages == ("a: ***", "b: fine")
    assert str(error) == "a: ***; b: fine"


def test_a_log_line_and_its_traceback_are_masked() -> None:
    register_secret("Tr0ub4dor")
    try:
        raise OSError("login with Tr0ub4dor failed")
    except OSError as error:
        trace = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "sent %s", ("Tr0ub4dor",), trace)
    line = MaskingFormatter("%(message)s").format(record)
    assert line.startswith("sent ***")
    assert "Tr0ub4dor" not in line


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param("p@ss/word 1", id="as it is"),
        pytest.param("p%40ss%2Fword%201", id="quoted"),
        pytest.param("p%40ss/word%201", id="quoted but for slashes"),
    ],
)
def test_the_forms_of_a_secret_in_an_address_are_masked(shown: str) -> None:
    register_secret("p@ss/word 1")
    assert mask_secrets(f"http://h/?x={shown}") == "http://h/?x=***"


def test_of_an_address_the_parts_are_hidden_alone() -> None:
    register_secret("http://me:hunter22@cam/snap?loginpas=Tr0ub4dor")
    assert mask_secrets("login hunter22, then Tr0ub4dor") == "login ***, then ***"


def test_a_secret_within_another_leaves_nothing_of_the_longer() -> None:
    register_secret("sesame")
    register_secret("opensesame99")
    assert mask_secrets("opensesame99") == "***"


def test_short_values_hide_no_words() -> None:
    register_secret("on")
    assert mask_secrets("connection gone on port 554") == "connection gone on port 554"


def test_forgotten_secrets_are_shown() -> None:
    register_secret("Tr0ub4dor")
    forget_secrets()
    assert mask_secrets("Tr0ub4dor") == "Tr0ub4dor"
