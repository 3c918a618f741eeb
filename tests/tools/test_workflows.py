"""Workflows of test and release: their form, pinned actions, no more rights than needed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
SIGNING = {"attest", "pypi", "image-list"}
"""Jobs with an identity of their own; what they run is actions, and no code of this project."""

# The part of https://json.schemastore.org/github-workflow.json that these files use.
RIGHTS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        name: {"enum": ["read", "write"]}
        for name in ("contents", "packages", "attestations", "id-token")
    },
}
STEP = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "uses": {"type": "string", "pattern": r"^[\w.-]+/[\w.-]+@[0-9a-f]{40}$"},
        "run": {"type": "string"},
        "name": {"type": "string"},
        "id": {"type": "string", "pattern": r"^[a-z_][\w-]*$"},
        "with": {"type": "object", "additionalProperties": {"type": ["string", "boolean"]}},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "oneOf": [{"required": ["uses"]}, {"required": ["run"]}],
}
WORKFLOW = {
    "type": "object",
    "required": ["name", "on", "permissions", "concurrency", "jobs"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "on": {"type": "object"},
        "permissions": RIGHTS,
        "concurrency": {"type": "object", "required": ["group"]},
        "jobs": {
            "type": "object",
            "propertyNames": {"pattern": r"^[a-z_][\w-]*$"},
            "additionalProperties": {
                "type": "object",
                "required": ["runs-on", "timeout-minutes", "steps"],
                "additionalProperties": False,
                "properties": {
                    "runs-on": {"type": "string"},
                    "timeout-minutes": {"type": "integer", "maximum": 60},
                    "needs": {"type": ["string", "array"]},
                    "strategy": {"type": "object", "required": ["matrix"]},
                    "environment": {"type": "object", "required": ["name"]},
                    "permissions": RIGHTS,
                    "steps": {"type": "array", "items": STEP, "minItems": 1},
                },
            },
        },
    },
}


def read(path: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    found: dict[str, Any] = yaml.safe_load(re.sub(r"^on:", '"on":', path.read_text(), flags=re.M))
    return found


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in FILES:
        yield from read(path)["jobs"].items()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_workflow_has_the_documented_form(path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    faults = list(jsonschema.Draft202012Validator(WORKFLOW).iter_errors(read(path)))
    assert faults == [], f"{faults[0].json_path}: {faults[0].message}"


def test_every_action_is_named_by_a_commit_and_its_version() -> None:
    named: dict[str, str] = {}
    for path in FILES:
        for line in path.read_text().splitlines():
            if "uses:" in line:
                action = re.fullmatch(r" *- uses: (\S+)@([0-9a-f]{40}) # v[\d.]+", line)
                assert action is not None, f"{path.name}: {line}"
                assert named.setdefault(action[1], action[2]) == action[2], f"{line}: two commits"
    assert len(named) > 5


def test_rights_are_those_of_each_job() -> None:
    assert read(FOLDER / "release.yml")["permissions"] == {}
    for name, job in jobs():
        rights = job.get("permissions", {})
        assert ("id-token" in rights) == (name in SIGNING), name
        if name in {"attest", "pypi"}:
            assert all("uses" in step for step in job["steps"]), f"{name} runs a program"
        assert "secrets" not in str(job).replace("secrets.GITHUB_TOKEN", ""), name


def test_nothing_from_outside_is_put_into_a_script() -> None:
    for name, job in jobs():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), f"{name}: {step['run']}"
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_a_release_waits_for_the_tests_and_for_the_signatures() -> None:
    release = read(FOLDER / "release.yml")["jobs"]
    scripts = [step.get("run", "") for step in release["build"]["steps"]]
    (tested,) = [n for n, run in enumerate(scripts) if "bash .ci/run" in run]
    (built,) = [n for n, run in enumerate(scripts) if "python -m build" in run]
    assert tested < built
    assert "check_artifacts.py dist" in scripts[built]
    assert release["attest"]["needs"] == "build"
    assert release["pypi"]["needs"] == "attest"
    assert release["pypi"]["environment"]["name"] == "pypi"
    for name in release.keys() - {"build"}:
        assert "needs" in release[name], name


def test_every_program_that_a_workflow_runs_exists() -> None:
    named = set()
    for path in FILES:
        named |= set(re.findall(r"(?:tools|\.ci)/[\w/.]*\w", path.read_text()))
    assert {".ci/run", "tools/sbom.py", "tools/check_artifacts.py"} <= named
    for name in named:
        assert (REPOSITORY / name).exists(), name
