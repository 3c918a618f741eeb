"""The code decides what it decided when the files below `decisions/` were made.

They are compared by content: order of watches, ids, versions and names of fields are no decisions.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

import edge_sim
from edge_sim.core.events import to_json_line
from tests.golden.cases import (
    CASES,
    FOLDER,
    RUNS,
    Case,
    ClipCase,
    decision_of,
    kept_decisions,
    uses_a_model,
)
from tests.golden.comparing import WITH_MODEL, WITHOUT_MODEL, differences

CLIPS = [case for case in CASES if isinstance(case, ClipCase)]
DRAWN = [case for case in CASES if not isinstance(case, ClipCase)]


def tolerance_of(case: Case) -> float:
    return WITH_MODEL if uses_a_model(case) else WITHOUT_MODEL


@pytest.mark.parametrize("case", DRAWN, ids=lambda case: case.name)
def test_a_drawn_scene_or_random_row_is_decided_as_ever(case: Case, tmp_path: Path) -> None:
    found = case.play(tmp_path, None)
    assert differences(kept_decisions(case.name), found, tolerance_of(case)) == []


@pytest.mark.parametrize("case", CLIPS, ids=lambda case: case.name)
def test_a_real_clip_is_decided_as_ever(case: ClipCase, tmp_path: Path, real_data: Path) -> None:
    found = case.play(tmp_path, real_data)
    assert differences(kept_decisions(case.name), found, tolerance_of(case)) == []


def test_an_embedding_program_gets_the_decisions_of_the_command(tmp_path: Path) -> None:
    case = RUNS[-1]
    config = edge_sim.load_config(case.prepare(tmp_path))
    with edge_sim.build(config) as device:
        found = [decision_of(json.loads(to_json_line(event))) for event in device.events()]
    assert differences(kept_decisions(case.name), found, tolerance_of(case)) == []


def test_every_kept_file_belongs_to_a_case() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {case.name for case in CASES}


def test_all_kinds_of_decision_are_among_the_kept_ones() -> None:
    kinds = {item["kind"] for case in CASES for item in kept_decisions(case.name)}
    assert kinds == {
        *("change", "problem", "problem over", "overdue", "overdue over"),
        *("too short", "too long", "implausible", "drift"),
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("frame", 3), ("after", "other"), ("reason", "novel"), ("confidence", 0.1), ("watch", "w")],
)
def test_a_decision_that_differs_is_named(name: str, value: object) -> None:
    kept = kept_decisions("demo-bowl-26")
    found = copy.deepcopy(kept)
    found[0][name] = value
    (fault,) = differences(kept, found, WITH_MODEL)
    assert fault.startswith("decision 1: ")
    assert fault.endswith(f": {name}")


def test_a_decision_too_many_or_missing_is_named() -> None:
    kept = kept_decisions("demo-bowl-26")
    assert len(differences(kept, kept[:-1], WITH_MODEL)) == 1
    assert len(differences(kept[:-1], kept, WITH_MODEL)) == 1
