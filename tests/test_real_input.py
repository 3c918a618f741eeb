"""The main job on a real camera: 19 days of a building site, one true change."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from edge_sim.cli.main import main

PRESENT = ("container_present", datetime(2023, 6, 15), datetime(2023, 6, 19))  # noqa: DTZ001
GONE = ("container_gone", datetime(2023, 6, 22, 6), datetime(2023, 7, 2))  # noqa: DTZ001
SPACING = timedelta(hours=3)


def spread_over_a_day(labels: Path, state: str, first: datetime, end: datetime) -> list[str]:
    """Return 8 pictures of a state, about three hours apart."""
    with labels.open(newline="") as table:
        taken = [
            (datetime.fromisoformat(row["timestamp_utc"]), row["frame"])
            for row in csv.DictReader(table)
            if row["state"] == state
        ]
    usable = [(at, frame) for at, frame in taken if first <= at < end]
    start = usable[0][0]
    wanted = [start + number * SPACING for number in range(8)]
    return [min(usable, key=lambda item: abs(item[0] - at))[1] for at in wanted]


@pytest.fixture
def site(tmp_path: Path, real_data: Path) -> Path:
    """A configuration whose gallery was enrolled from the command line."""
    config = tmp_path / "site.yaml"
    clip = real_data / "sequences" / "sitecam_container_removed"
    config.write_text(
        f"sources:\n  webcam: {{uri: 'folder:{clip}?times=labels.csv'}}\nwatches:\n  site: {{}}\n"
    )
    pictures = real_data / "states" / "sitecam_container_right"
    for state, first, end in (PRESENT, GONE):
        chosen = spread_over_a_day(pictures / "labels.csv", state, first, end)
        paths = [str(pictures / name) for name in chosen]
        arguments = ["--gallery", str(tmp_path / "gallery.db"), "--watch", "site"]
        assert main(["gallery", "add", *arguments, "--state", state, "--force", *paths]) == 0
    return config


def test_one_true_change_is_reported_and_nothing_else(
    site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert main(["run", "-c", str(site)]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    events = [line for line in lines if line["type"] == "state_changed"]
    told = [event["after"] for event in events if event["after"] != "unknown"]
    changes = [after for at, after in enumerate(told) if at == 0 or told[at - 1] != after]
    assert changes == ["container_present", "container_gone"]
    gone = next(event for event in events if event["after"] == "container_gone")
    assert "2023-06-20T19:20" < gone["at"] < "2023-06-21T12:00"
