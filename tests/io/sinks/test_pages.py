"""What the pages about sinks show can be used as it stands."""

from __future__ import annotations

import hmac
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_sim.io.sinks import KINDS
from edge_sim.io.sinks.mqtt.discovery import discovery_topic
from edge_sim.io.sinks.mqtt.topics import Topics
from edge_sim.io.sinks.webhook import REJECTIONS, signature
from edge_sim.runtime.config import parse_config
from edge_sim.runtime.config.sinks import kind_of

FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
PAGES = ("docs/events.md", "docs/home-assistant.md")
SECRETS = {"MQTT_PASSWORD": "x", "HOOK_SECRET": "x"}


def blocks(repository: Path, page: str, language: str) -> list[str]:
    return [
        body for kind, body in FENCE.findall((repository / page).read_text()) if kind == language
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_configuration_is_valid(repository: Path, page: str) -> None:
    texts = [text for text in blocks(repository, page, "yaml") if "sinks:" in text]
    assert texts
    for text in texts:
        assert parse_config(text, where=page, environ=SECRETS).sinks


def test_every_kind_of_sink_is_explained(repository: Path) -> None:
    shown = {
        kind_of(sink)
        for page in PAGES
        for text in blocks(repository, page, "yaml")
        if "sinks:" in text
        for sink in parse_config(text, where=page, environ=SECRETS).sinks
    }
    assert shown == KINDS.keys() - {"stdout"}


def test_other_yaml_is_yaml(repository: Path) -> None:
    for page in PAGES:
        for text in blocks(repository, page, "yaml"):
            assert isinstance(yaml.safe_load(text), dict)


def test_the_check_of_a_signature_works(repository: Path) -> None:
    (program,) = blocks(repository, "docs/events.md", "python")
    names: dict[str, Any] = {}
    exec(program, names)
    header = signature(b"key", b"body")
    assert names["is_genuine"](b"body", header, b"key")
    assert not names["is_genuine"](b"bodY", header, b"key")
    assert names["hmac"] is hmac


def test_the_statuses_that_refuse_an_event_are_those_listed(repository: Path) -> None:
    text = " ".join((repository / "docs/events.md").read_text().split())
    (listed,) = re.findall(r"accepts the event; ([\d, and]+) reject it for good", text)
    assert {int(number) for number in re.findall(r"\d+", listed)} == REJECTIONS


def test_the_topics_are_those_listed(repository: Path) -> None:
    text = (repository / "docs/home-assistant.md").read_text()
    listed = set(re.findall(r"^\| `((?:edge_sim|homeassistant)/[^`]+)` \|", text, re.MULTILINE))
    topics = Topics("edge_sim", "porch")
    assert listed == {
        topics.available,
        topics.events,
        topics.stats,
        topics.pack("bowl"),
        topics.source_available("yard"),
        *topics.of_watch("gate"),
        topics.event("gate"),
        topics.embedding("gate"),
        topics.picture("gate", "<event id>").replace("_event_id_", "<event id>"),
        topics.command("gate", "teach"),
        topics.command("gate", "sensitivity"),
        discovery_topic("homeassistant", "porch"),
    }
