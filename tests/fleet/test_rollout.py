"""Devices take a pack in stages, and one that its canaries refuse goes no further."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed: pip install '.[fleet]'")

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))
rollout = importlib.import_module("soaking.rollout")


@pytest.mark.parametrize("devices", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_fleet_takes_a_pack_in_stages_and_stops_one_that_its_canaries_refuse(
    tmp_path: Path, devices: int
) -> None:
    report = rollout.run(tmp_path, devices=devices)
    assert report["problems"] == []
    assert report["devices_after_each"][0] == report["canaries"] == devices // 20
    assert report["devices_after_each"][-1] == devices
