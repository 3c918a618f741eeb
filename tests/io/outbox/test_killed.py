"""Killed at random instants, a device loses no event that it called safe and mixes none up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("kills", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_kills_at_random_instants_lose_no_event(
    tmp_path: Path, repository: Path, kills: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.io.outbox.killed_writer", str(tmp_path), str(kills), "1"],
        capture_output=True,
        text=True,
        check=False,
        cwd=repository,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["kills"] == kills
    assert report["safe"] > kills // 2, report
