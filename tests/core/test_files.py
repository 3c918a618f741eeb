"""Questions to the file system have an answer, or one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_sim.core import files
from edge_sim.errors import AccessError

QUESTIONS: list[Callable[[str | Path], object]] = [
    files.exists,
    files.is_file,
    files.is_dir,
    files.size_of,
]


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("ask", QUESTIONS)
def test_a_folder_that_may_not_be_entered_is_one_sentence(
    ask: Callable[[str | Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(AccessError, match=r"^/secret/a\.png: no permission to access it"):
        ask(Path("/secret/a.png"))


@pytest.mark.parametrize("ask", QUESTIONS)
def test_a_name_that_is_too_long_is_one_sentence(
    ask: Callable[[str | Path], object], tmp_path: Path
) -> None:
    with pytest.raises(AccessError, match="the name is too long"):
        ask(tmp_path / ("x" * 300))


@pytest.mark.parametrize("path", ["nothing", "file/below", "a\0b", "self"])
def test_what_is_not_there_is_not_there(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("self").symlink_to("self")
    assert [ask(path) for ask in QUESTIONS] == [False, False, False, 0]


def test_what_is_there_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    for name in ("a", "link"):
        path = tmp_path / name
        assert files.exists(path)
        assert files.is_file(path)
        assert not files.is_dir(path)
        assert files.size_of(path) == 3
        assert files.start_of(path, 2) == b"ab"
    assert files.is_dir(tmp_path)
    assert files.start_of(tmp_path, 2) == b""
    assert [path.name for path in files.entries(tmp_path)] == ["a", "link"]


def test_a_folder_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="gone: No such file"):
        files.entries(tmp_path / "gone")


def test_a_name_that_is_no_text_is_printed_with_escapes() -> None:
    name = os.fsdecode(b"caf\xe9\x1b[2J\n")
    assert not files.is_text(name)
    assert files.printable(name) == "caf\\udce9\\x1b[2J\\n"
