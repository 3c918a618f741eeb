"""The regression guard reads what callgrind writes and keeps one entry per commit."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))
guard = importlib.import_module("count_instructions")


def entry(commit: str, count: int) -> dict[str, Any]:
    return {"commit": commit, "at": "", "versions": {}, "instructions": {"embed": count}}


def test_the_sum_of_a_part_is_read_from_what_callgrind_wrote(tmp_path: Path) -> None:
    part = tmp_path / "counts.2"
    part.write_text("version: 1\nevents: Ir\nsummary: 123456\n\nfn=(1) f\n3 7\ntotals: 123456\n")
    assert guard._summary(part) == 123456
    part.write_text("version: 1\n")
    with pytest.raises(ValueError, match=r"counts\.2"):
        guard._summary(part)


def test_counting_a_commit_again_replaces_its_entry(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks" / "history.json"
    for item in (entry("a", 1), entry("b", 2), entry("a", 3)):
        guard._append(item, path)
    history = json.loads(path.read_text())
    assert [(item["commit"], item["instructions"]["embed"]) for item in history] == [
        ("b", 2),
        ("a", 3),
    ]


def test_the_history_that_is_kept_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    history = json.loads((REPOSITORY / "benchmarks" / "history.json").read_text())
    assert len(history) >= 2
    guard.draw(history, tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_without_valgrind_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert guard.main(["--history", str(tmp_path / "h.json")]) == 1
    assert "apt install valgrind" in capsys.readouterr().err
