"""Explanations are kept in bounded space, and found again whatever happened to the file."""

from __future__ import annotations

import resource
from pathlib import Path

import msgspec
import pytest

from edge_sim.errors import DataError
from edge_sim.runtime.explanations import Explanation, ExplanationFile, find_explanation
from tests.analysis.logs import looks
from tests.analysis.test_account import explained

BASE = explained(looks("ooosss"))


def numbered(number: int) -> Explanation:
    event = msgspec.structs.replace(BASE.event, id=f"{number:04d}{number * 7919:012x}")
    return msgspec.structs.replace(BASE, event=event)


def kept(path: Path, count: int, *, max_mb: float = 8.0) -> ExplanationFile:
    file = ExplanationFile(path, max_mb=max_mb)
    for number in range(count):
        file.append(numbered(number))
    return file


def test_what_was_kept_comes_back_in_full_precision(tmp_path: Path) -> None:
    kept(tmp_path / "e.jsonl", 3)
    assert find_explanation([tmp_path / "e.jsonl"], numbered(1).event.id) == numbered(1)


def test_the_last_one_and_the_first_digits_are_enough(tmp_path: Path) -> None:
    kept(tmp_path / "e.jsonl", 12)
    assert find_explanation([tmp_path / "e.jsonl"], "last") == numbered(11)
    assert find_explanation([tmp_path / "e.jsonl"], "0007") == numbered(7)


def test_an_event_that_is_not_there_names_what_is_near(tmp_path: Path) -> None:
    kept(tmp_path / "e.jsonl", 12)
    wanted = numbered(7).event.id[:-1] + "x"
    with pytest.raises(DataError, match=f"nearest: {numbered(7).event.id}"):
        find_explanation([tmp_path / "e.jsonl"], wanted)
    with pytest.raises(DataError, match=f"among 12; nearest: {numbered(11).event.id}"):
        find_explanation([tmp_path / "e.jsonl"], "zzz")


def test_first_digits_that_several_events_share_are_not_guessed_at(tmp_path: Path) -> None:
    file = ExplanationFile(tmp_path / "e.jsonl")
    for tail in ("a", "b"):
        event = msgspec.structs.replace(BASE.event, id=f"abcd{tail}")
        file.append(msgspec.structs.replace(BASE, event=event))
    with pytest.raises(DataError, match="abcd may be abcda, abcdb; give more digits"):
        find_explanation([tmp_path / "e.jsonl"], "abcd")


def test_two_files_of_the_size_asked_for_are_kept_at_most(tmp_path: Path) -> None:
    kept(tmp_path / "e.jsonl", 40, max_mb=0.02)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["e.jsonl", "e.jsonl.1"]
    assert max(item.stat().st_size for item in tmp_path.iterdir()) <= 20_000
    assert find_explanation([tmp_path / "e.jsonl"], "last") == numbered(39)
    with pytest.raises(DataError, match="there is no event"):
        find_explanation([tmp_path / "e.jsonl"], numbered(0).event.id)


def test_a_line_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    file = kept(path, 2)
    path.write_bytes(path.read_bytes()[:-200])
    file.append(numbered(5))
    assert find_explanation([path], "0000") == numbered(0)
    assert find_explanation([path], "last") == numbered(5)
    with pytest.raises(DataError, match="cannot be read"):
        find_explanation([path], numbered(1).event.id)


def test_an_event_told_twice_after_a_power_cut_is_one(tmp_path: Path) -> None:
    file = kept(tmp_path / "e.jsonl", 2)
    file.append(numbered(0))
    assert find_explanation([tmp_path / "e.jsonl"], "last") == numbered(0)


def test_an_id_of_bytes_that_are_no_text_breaks_nothing(tmp_path: Path) -> None:
    file = kept(tmp_path / "e.jsonl", 1)
    content = (tmp_path / "e.jsonl").read_bytes().replace(b'"id":"0000', b'"id":"\xff\xfe')
    (tmp_path / "e.jsonl").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        find_explanation([tmp_path / "e.jsonl"], "last")
    file.append(numbered(1))
    assert find_explanation([tmp_path / "e.jsonl"], "last") == numbered(1)


@pytest.mark.parametrize("content", ["", "nonsense\n", '{"type":"score"}\n', "\x00\x01"])
def test_a_foreign_file_holds_no_event(tmp_path: Path, content: str) -> None:
    (tmp_path / "e.jsonl").write_text(content)
    with pytest.raises(DataError, match="no event of a change of state"):
        find_explanation([tmp_path / "e.jsonl"], "last")


def test_a_file_that_is_not_there_says_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="edge-sim daemon"):
        find_explanation([tmp_path / "e.jsonl"], "last")
    with pytest.raises(DataError, match="cannot be read"):
        find_explanation([tmp_path], "last")


def test_a_full_disk_and_a_missing_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot append"):
        ExplanationFile(tmp_path / "no" / "e.jsonl").append(BASE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(DataError, match="cannot append"):
            ExplanationFile(tmp_path / "e.jsonl").append(BASE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"reason":null,"confidence"', b'"reason":"weather","confidence"'),
        (b'"after":"shut"', b'"after":"unknown"'),
        (b'"at":"2023', b'"at":"then'),
        (b'"state":"shut","reference_id"', b'"state":"ajar","reference_id"'),
        (b'"probability":0.96}', b'"probability":9.6}'),
        (b'"enter":0.', b'"enter":7.'),
        (b'"matches":3', b'"matches":9'),
        (b'"condition":"day","impediment":null', b'"condition":"day","impediment":"rain"'),
    ],
)
def test_what_cannot_have_happened_is_not_explained(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "e.jsonl"
    kept(path, 1)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(DataError, match="cannot be read"):
        find_explanation([path], "last")
