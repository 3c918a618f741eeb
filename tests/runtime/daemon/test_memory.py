"""What survives a restart is whole, or is not taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.events import EventOrigin, SceneProblem, state_changed, unix_time_s
from edge_sim.core.types import UNKNOWN, State, UnknownReason
from edge_sim.decision.rules import RuleMemory
from edge_sim.decision.scene_problems import ProblemMemory
from edge_sim.errors import ConfigError
from edge_sim.runtime.daemon.state_file import (
    DeviceMemory,
    KeptDrift,
    StateFile,
    WatchMemory,
    reconciled,
)
from tests.builders import change

ORIGIN = EventOrigin("shed", "yard", "gate", "fake@1", 1)
CHANGED = state_changed(change(State("closed"), State("open")), ORIGIN)

watch_memories = st.builds(
    WatchMemory,
    state=st.sampled_from(["open", "closed", None]),
    in_state_s=st.floats(0, 1e9),
    drifts=st.lists(
        st.builds(
            KeptDrift,
            state=st.text(max_size=8),
            condition=st.sampled_from(["day", "ir"]),
            shift=st.floats(-0.2, 0.2),
            spread=st.none() | st.floats(0, 1),
            observations=st.integers(0, 10**9),
        ),
        max_size=3,
    ).map(tuple),
    problems=st.lists(
        st.builds(
            ProblemMemory,
            problem=st.sampled_from(SceneProblem),
            raised=st.booleans(),
            since_unix_s=st.floats(0, 1e10),
            lasted_s=st.floats(0, 1e9),
            rested_s=st.floats(0, 1e9),
        ),
        max_size=2,
    ).map(tuple),
    rules=st.none()
    | st.builds(
        RuleMemory,
        state=st.sampled_from(["open", None]),
        in_state_s=st.floats(0, 1e9),
        overdue=st.integers(0, 100),
        too_long=st.booleans(),
    ),
)


@given(watches=st.dictionaries(st.text(max_size=10), watch_memories, max_size=4))
def test_what_was_saved_is_what_is_loaded(
    watches: dict[str, WatchMemory], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("state") / "state.json"
    memory = DeviceMemory(watches=watches, lost_sources=("yard",))
    assert StateFile(path).save(memory)
    assert StateFile(path).load() == memory
    assert [item.name for item in path.parent.iterdir()] == ["state.json"]


def test_without_a_file_there_is_nothing_to_remember(tmp_path: Path) -> None:
    assert StateFile(tmp_path / "state.json").load() == DeviceMemory()


def test_without_a_path_nothing_is_written() -> None:
    file = StateFile(None)
    assert not file.save(DeviceMemory())
    assert file.load() == DeviceMemory()
    assert file.written_bytes == 0


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[]", b'{"watches": {"a": {"state": 3}}}', b"0" * 100]
)
def test_a_damaged_file_is_moved_aside_and_the_device_starts(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    assert StateFile(path).load() == DeviceMemory()
    assert (tmp_path / "state.damaged").read_bytes() == content
    assert "cannot be read" in caplog.text


@given(content=st.binary(max_size=300))
def test_no_content_can_keep_the_device_from_starting(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("state") / "state.json"
    path.write_bytes(content)
    assert isinstance(StateFile(path).load(), DeviceMemory)


def test_what_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json")
    memory = DeviceMemory(lost_sources=("yard",))
    file.save(memory)
    written = file.written_bytes
    file.save(memory)
    assert file.written_bytes == written


def test_a_disk_that_takes_nothing_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = StateFile(tmp_path / "missing" / "state.json")
    for _ in range(50):
        assert not file.save(DeviceMemory())
    assert caplog.text.count("No such file") == 1


def test_what_was_reported_counts_more_than_what_was_written_down() -> None:
    stale = WatchMemory(state="closed", in_state_s=500.0)
    assert reconciled(stale, CHANGED) == WatchMemory(state="open", in_state_s=0.0)
    fitting = WatchMemory(state="open", in_state_s=500.0)
    assert reconciled(fitting, CHANGED) == fitting
    assert reconciled(stale, None) == stale


def test_a_state_that_was_left_before_the_power_went_is_not_overdue_after_it() -> None:
    overdue = RuleMemory("closed", 5.0, in_state_s=900.0, overdue=1)
    found = reconciled(WatchMemory(state="closed", rules=overdue), CHANGED)
    assert found.rules == RuleMemory("open", unix_time_s(CHANGED.at))
    unsure = state_changed(change(State("closed"), State(UNKNOWN, UnknownReason.NOVEL)), ORIGIN)
    assert reconciled(WatchMemory(state="closed", rules=overdue), unsure).rules == overdue


def test_a_folder_in_the_place_of_the_state_file_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with pytest.raises(ConfigError, match="is a folder; name a file"):
        StateFile(folder).load()
    assert [item.name for item in tmp_path.iterdir()] == ["state"]
