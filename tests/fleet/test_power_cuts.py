"""A device that is killed in any step of taking a pack has the old gallery or the new one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed: pip install '.[fleet]'")

from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("every", "least"),
    [(37, 10), pytest.param(1, 300, marks=pytest.mark.slow)],
    ids=["every 37th step", "every step"],
)
def test_a_device_that_is_killed_in_any_step_has_the_old_gallery_or_the_new_one(
    tmp_path: Path, every: int, least: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fleet.power_cuts", str(tmp_path), str(every)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= least
