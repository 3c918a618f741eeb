"""What the documents show is what happens."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edge_sim.cli.main import GROUPS
from tests.conftest import REPOSITORY

FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(path.read_text()) if kind == language]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return python("-m", "edge_sim", *arguments, folder=folder)


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def worked_example(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A folder in which the README's walk-through was run, line by line."""
    folder = tmp_path_factory.mktemp("walk-through")
    (folder / "bowl.yaml").write_bytes((repository / "configs" / "bowl.yaml").read_bytes())
    for line in walk_through(repository):
        done = run(*shlex.split(line)[1:], folder=folder)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    return folder


def walk_through(repository: Path) -> list[str]:
    (body,) = (b for b in blocks(repository / "README.md", "sh") if "edge-sim gallery capture" in b)
    return [line for line in body.splitlines() if line.startswith("edge-sim ")]


def test_the_walk_through_leaves_a_gallery_that_runs(worked_example: Path) -> None:
    done = run("run", "-c", "bowl.yaml", "--max-frames", "20", folder=worked_example)
    assert done.returncode == 0, done.stderr
    first = json.loads(done.stdout.splitlines()[0])
    assert (first["watch"], first["before"]) == ("bowl", None)


def test_every_python_example_runs(worked_example: Path, repository: Path) -> None:
    for body in blocks(repository / "README.md", "python"):
        done = python("-c", body, folder=worked_example)
        assert done.returncode == 0, f"{body}\n{done.stderr}"
        assert done.stdout


def test_the_first_screen_shows_what_the_demo_prints(repository: Path, tmp_path: Path) -> None:
    (shown,) = blocks(repository / "README.md", "json")
    done = run("demo", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    real = [json.loads(line) for line in done.stdout.splitlines()]
    for line in shown.splitlines():
        part = json.loads(line.replace(", ...}", "}"))
        assert any(part.items() <= event.items() for event in real), part


def test_the_readme_names_every_verb(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    assert [verb for verb in GROUPS if f"`{verb.replace('_', '-')}" not in text] == []


def test_decisions_are_numbered_without_gaps(repository: Path) -> None:
    text = (repository / "DESIGN.md").read_text()
    numbers = [int(number) for number in re.findall(r"^### (\d+)\. ", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    for body in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        for part in ("**Context.**", "**Choice.**", "**Cost.**", "**Wrong if**"):
            assert part in body, body[:60]


def test_the_changelog_has_an_unreleased_part(repository: Path) -> None:
    assert "## [Unreleased]" in (repository / "CHANGELOG.md").read_text()
