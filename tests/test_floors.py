"""Imports point down."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FLOORS = {
    "errors": -1,
    "version": 0,
    "domain": 0,
    "plugins": 0,
    "resources": 1,
    "file_lock": 2,
    "private_file": 1,
    "reference_region": 1,
    "sqlite_file": 1,
    "sqlite_schema": 1,
    "events": 1,
    "imaging": 1,
    "similarity": 1,
    "conditions": 1,
    "ranking": 1,
    "gallery": 2,
    "protocols": 2,
    "followers": 3,
    "sources": 3,
    "embedders": 3,
    "indexes": 3,
    "edges": 2,
    "files": 1,
    "backoff": 0,
    "tables": 2,
    "heap": 0,
    "picture_header": 0,
    "mask": 1,
    "quantiles": 0,
    "sight": 3,
    "sinks": 3,
    "scoring": 3,
    "scene": 3,
    "gate": 3,
    "rules": 2,
    "problems": 2,
    "deciding": 3,
    "gallery_store": 3,
    "adaptation": 4,
    "head": 2,
    "model_library": 4,
    "outbox": 4,
    "pipeline": 4,
    "steadying": 4,
    "comparison": 4,
    "calibration": 4,
    "calibration_table": 3,
    "drift": 4,
    "score_log": 5,
    "explaining": 6,
    "replaying": 7,
    "review": 6,
    "review_folder": 5,
    "audit": 7,
    "evaluation": 7,
    "loop": 5,
    "config_yaml": 2,
    "options": 0,
    "config_sinks": 4,
    "config_records": 4,
    "config_daemon": 4,
    "config_watch": 4,
    "systemd": 1,
    "health": 6,
    "config": 5,
    "stages": 6,
    "assembly": 7,
    "index_store": 6,
    "search": 7,
    "duplicates": 7,
    "report": 7,
    "enrolment": 7,
    "daemon": 8,
    "watcher": 8,
    "demo": 8,
    "benchmark": 0,
    "benchmark_cases": 8,
    "cli": 9,
    "__init__": 9,
    "__main__": 10,
}
PACKAGE = Path(__file__).resolve().parent.parent / "edge_sim"
MODULES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if not {"models", "configs"} & set(path.relative_to(PACKAGE).parts)
)


def floor_name(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("edge_sim."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "edge_sim":
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            names.update(a.name.split(".")[1] for a in node.names if a.name.startswith("edge_sim."))
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_below_or_beside_in_its_own_package(path: Path) -> None:
    own = floor_name(path)
    for name in imported_names(path):
        if name in FLOORS and name != own:
            assert FLOORS[name] < FLOORS[own], f"{path.name} on {FLOORS[own]} imports {name}"


def test_every_module_has_a_floor() -> None:
    assert {floor_name(path) for path in MODULES} <= FLOORS.keys()
