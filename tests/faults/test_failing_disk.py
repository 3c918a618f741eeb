"""Whatever call on the disk fails: a clear error, nothing lost, and the next start works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.lives import KINDS, LIVES

NEVER = {
    ("outbox", "rename"),
    ("review", "truncate"),
    ("state-file", "truncate"),
    ("state-file", "unlink"),
    ("score-log", "fsync"),
    ("score-log", "truncate"),
    ("score-log", "unlink"),
    ("file-sink", "truncate"),
    ("file-sink", "unlink"),
}
"""What a life never does, or only after something else has failed."""
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that fails calls, compiled for this machine."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip(
            "there is no C compiler here, or no LD_PRELOAD: the disk cannot be made to fail"
        )
    library = tmp_path_factory.mktemp("disk") / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("life", LIVES)
def test_every_failing_call_is_survived(disk: Path, tmp_path: Path, life: str, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.lives", life, kind, str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "LD_PRELOAD": str(disk)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["faults"], "\n".join(found["faults"][:3])
    if (life, kind) not in NEVER:
        assert found["failed"] > 0
