"""What the documents show is what happens."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import edge_sim
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


def examples(repository: Path) -> list[tuple[str, str]]:
    """Every Python program in README and docs, with a name."""
    pages = [repository / "README.md", *sorted((repository / "docs").glob("*.md"))]
    return [
        (f"{page.stem.lower().replace('-', '_')}_{number}", body)
        for page in pages
        for number, body in enumerate(blocks(page, "python"), start=1)
    ]


def test_every_python_example_runs(worked_example: Path, repository: Path) -> None:
    for name, body in examples(repository):
        done = python("-c", body, folder=worked_example)
        assert done.returncode == 0, f"{name}: {body}\n{done.stderr}"
        assert done.stdout or "print(" not in body, name


def test_every_python_example_passes_a_strict_type_check(tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed: pip install '.[lint]'")
    found = examples(repository)
    assert len(found) > 5
    for name, body in found:
        (tmp_path / f"{name}.py").write_text(body)
    files = [str(path) for path in sorted(tmp_path.glob("*.py"))]
    cache = str(repository / ".mypy_cache")
    done = python("-m", "mypy", "--strict", "--cache-dir", cache, *files, folder=repository)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_first_example_prints_every_event_once(worked_example: Path, repository: Path) -> None:
    done = python("-c", examples(repository)[0][1], folder=worked_example)
    lines = done.stdout.splitlines()
    assert lines
    assert not [line for line in lines if line.startswith("{")]
    with edge_sim.build(edge_sim.load_config(worked_example / "bowl.yaml"), sinks=()) as device:
        changes = [event for event in device.events() if isinstance(event, edge_sim.StateChanged)]
    assert [line.split()[3] for line in lines] == [event.after for event in changes]


def test_the_example_in_the_docstring_of_the_package_runs(worked_example: Path) -> None:
    body = textwrap.dedent((edge_sim.__doc__ or "").partition("\n\n")[2].partition("\n\nNames")[0])
    assert "build" in body
    done = python("-c", body.replace("config.yaml", "bowl.yaml"), folder=worked_example)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.startswith("{")
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
