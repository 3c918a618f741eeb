"""The count of modules that a frame passes sees a real frame, and each module once."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))
counting = importlib.import_module("count_modules")


def test_a_frame_with_one_event_passes_the_stages_of_a_watch(tmp_path: Path) -> None:
    passage = counting.through_events(counting.device(tmp_path))
    assert passage.frames
    for modules in passage.frames:
        assert any("sources" in name for name in modules)
        assert any("embedders" in name for name in modules)
        assert any(name.endswith("decider") for name in modules)
        assert not any(".cli." in name or ".report" in name for name in modules)


def test_the_profiler_is_gone_afterwards() -> None:
    with counting.profiled(counting.Passage(ends_at_emit=True)):
        assert sys.getprofile() is not None
    assert sys.getprofile() is None
