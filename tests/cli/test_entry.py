"""The process ends with the exit code of the verb, whatever its threads are doing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ENTRY = """
import atexit, sys, threading
atexit.register(lambda: print("taken apart", file=sys.stderr))
if {threads}:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
sys.argv = ["edge-sim", *{words}]
from edge_sim.__main__ import main
sys.exit(main())
"""


def ended(repository: Path, words: list[str], *, threads: bool) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", ENTRY.format(threads=threads, words=words)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("threads", [True, False])
def test_all_is_written_and_the_code_kept_with_and_without_threads_left(
    repository: Path, threads: bool
) -> None:
    code, out, err = ended(repository, ["schema", "event"], threads=threads)
    assert code == 0
    assert "$defs" in json.loads(out)
    assert ("taken apart" in err) is not threads


def test_a_wrong_configuration_is_still_exit_code_78(repository: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("devise: x\n")
    code, _, err = ended(repository, ["check", "-c", str(config)], threads=True)
    assert code == 78
    assert "did you mean 'device'?" in err
