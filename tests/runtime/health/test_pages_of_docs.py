"""What the pages on cameras, metrics and the service show is what there is."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")

from edge_sim.runtime.config import parse_config
from edge_sim.runtime.health.metrics import exposition
from edge_sim.runtime.health.status import UpdateStatus
from tests.runtime.health.test_metrics import collector_of, seen

DOCS = Path(__file__).resolve().parent.parent.parent.parent / "docs"
PAGES = ("usb", "rtsp", "csi", "prometheus", "systemd", "threat-model")
METRIC = re.compile(r"\bedge_sim_[a-z_]+\b")


def exported() -> set[str]:
    board = seen()
    board.updates = UpdateStatus(1_700_000_000.0)
    text = exposition(collector_of(board)).decode()
    names = set(re.findall(r"^# TYPE (edge_sim_\w+) ", text, re.MULTILINE))
    return names | {f"{name}_bucket" for name in names}


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    dashboard = json.loads((DOCS / "dashboard.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in METRIC.findall(target["expr"])
    }
    assert len(asked) >= 8
    assert asked - exported() == set()


def test_the_page_on_metrics_lists_every_metric_and_no_other() -> None:
    text = (DOCS / "prometheus.md").read_text()
    listed = set(re.findall(r"^\| `(edge_sim_\w+)` \|", text, re.MULTILINE))
    assert listed == {name for name in exported() if not name.endswith("_bucket")}


@pytest.mark.parametrize("page", PAGES)
def test_every_configuration_in_the_pages_is_valid(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text()
    environ = {"CAMERA_PASSWORD": "secret", "EDGE_SIM_TOKEN": "0123456789abcdef"}
    bodies = re.findall(r"^ *```yaml\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    for body in bodies:
        parse_config(textwrap.dedent(body), where=page, environ=environ)
