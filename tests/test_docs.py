"""What the documents show is what happens."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

import edge_sim
from edge_sim.cli.main import GROUPS, build_parser
from tests.conftest import REPOSITORY

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def blocks(path: Path, *languages: str) -> list[str]:
    """Return the fenced blocks of a document in some languages, without their indentation."""
    found = FENCE.findall(path.read_text())
    return [textwrap.dedent(body) for _, kind, body in found if kind in languages]


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


def test_the_walk_through_enrols_every_frame_that_it_takes(
    worked_example: Path, repository: Path
) -> None:
    captures = [line for line in walk_through(repository) if "gallery capture" in line]
    taken = sum(int(line.split("--count ")[1].split()[0]) for line in captures)
    with edge_sim.GalleryStore.open(worked_example / "gallery.db", read_only=True) as store:
        assert len(store.records()) == taken


def test_the_walk_through_leaves_a_gallery_that_runs(worked_example: Path) -> None:
    done = run("run", "-c", "bowl.yaml", "--max-frames", "20", folder=worked_example)
    assert done.returncode == 0, done.stderr
    first = json.loads(done.stdout.splitlines()[0])
    assert (first["watch"], first["before"]) == ("bowl", None)


def test_the_tutorial_goes_on_from_the_walk_through(
    worked_example: Path, repository: Path, tmp_path: Path
) -> None:
    lines = commands(repository / "docs" / "tutorial.md")
    shared = walk_through(repository)
    assert [line for line in lines if "gallery capture" in line] == shared[:2]
    folder = shutil.copytree(worked_example, tmp_path / "try")
    for verb in ("gallery audit", "explain", "teach", "gallery undo"):
        (line,) = (line for line in lines if line.startswith(f"edge-sim {verb}"))
        done = run(*shlex.split(line)[1:], folder=folder)
        assert done.returncode == (verb == "teach"), f"{line}\n{done.stderr}"
        assert "not taught, the picture is duplicate" in done.stderr or verb != "teach"


def documents(repository: Path) -> list[Path]:
    names = ("README.md", "DESIGN.md", "CHANGELOG.md")
    return [*(repository / name for name in names), *sorted((repository / "docs").glob("*.md"))]


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings of a document, as web pages of it have them."""
    bare = FENCE.sub("", text)
    titles = (title.replace("`", "").strip().lower() for title in HEADING.findall(bare))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def commands(page: Path) -> list[str]:
    """Return every command line of edge-sim in the shell blocks of a document."""
    found = []
    for body in blocks(page, "sh", ""):
        for line in body.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|[|;](?=\s)", line.split(" #")[0]):
                words = part.removeprefix("$ ").removeprefix("sudo ").split()
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                    del words[0]
                if words and words[0].removeprefix(".venv/bin/") == "edge-sim":
                    found.append(part[part.index("edge-sim") :].strip())
    return found


def test_every_document_is_linked_from_the_readme(repository: Path) -> None:
    links = set(LINK.findall((repository / "README.md").read_text()))
    written = {
        path.relative_to(repository).as_posix()
        for path in (repository / "docs").iterdir()
        if path.is_file()
    }
    assert written - links == set()


def test_every_link_within_the_documents_leads_somewhere(repository: Path) -> None:
    checked = 0
    for page in documents(repository):
        for link in LINK.findall(FENCE.sub("", page.read_text())):
            if link.startswith(("http://", "https://")):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(target.read_text()), f"{page.name}: {link}"
            checked += 1
    assert checked > 20


def test_every_file_of_the_project_that_a_document_names_exists(repository: Path) -> None:
    checked = 0
    for page in documents(repository):
        for name in re.findall(
            r"\b(?:tests|tools|docs|configs|models)/[\w./-]*\w", page.read_text()
        ):
            assert (repository / name).exists(), f"{page.name}: {name}"
            checked += 1
    assert checked > 40


def test_every_command_in_the_documents_is_understood(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checked = 0
    for page in documents(repository):
        for line in commands(page):
            words = shlex.split(line)[1:]
            try:
                build_parser(words).parse_args(words)
            except SystemExit:
                pytest.fail(f"{page.name}: {line}\n{capsys.readouterr().err}")
            checked += 1
    assert checked > 40


def test_every_configuration_in_the_documents_is_valid(repository: Path) -> None:
    checked = 0
    for page in documents(repository):
        for body in blocks(page, "yaml"):
            sections = yaml.safe_load(body)
            if "automation" in sections:  # of Home Assistant
                continue
            sections.setdefault("sources", {"camera": {"uri": "/dev/video0"}})
            sections.setdefault("watches", {"bowl": {}})
            for watch in sections["watches"].values():
                if len(sections["sources"]) > 1:
                    watch.setdefault("source", next(iter(sections["sources"])))
            names = {name: "0123456789abcdef" for name in re.findall(r"\$\{(\w+)\}", body)}
            edge_sim.parse_config(
                yaml.safe_dump(sections, sort_keys=False), where=page.name, environ=names
            )
            checked += 1
    assert checked > 15


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


def test_every_extra_and_dependency_has_its_reason(repository: Path) -> None:
    project = (repository / "pyproject.toml").read_text().partition("[project.scripts]")[0]
    required, _, optional = project.partition("[project.optional-dependencies]\n")
    listed = required.partition("\ndependencies = [")[2]
    packages = set(re.findall(r'"([A-Za-z][\w.-]*)(?:[<>=;\[]|")', listed + optional))
    design = (repository / "DESIGN.md").read_text()
    assert len(packages) > 15
    assert {name for name in packages - {"edge_sim"} if name not in design} == set()
    readme = (repository / "README.md").read_text()
    extras = re.findall(r"^(\w+) = \[", optional, re.MULTILINE)
    assert [extra for extra in extras if f".[{extra}]" not in readme] == []


def test_the_design_can_be_read_in_one_go(repository: Path) -> None:
    assert len((repository / "DESIGN.md").read_text().splitlines()) <= 500


def test_decisions_are_numbered_without_gaps(repository: Path) -> None:
    text = (repository / "DESIGN.md").read_text()
    numbers = [int(number) for number in re.findall(r"^### (\d+)\. ", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    for body in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        for part in ("**Context.**", "**Choice.**", "**Cost.**", "**Wrong if**"):
            assert part in body, body[:60]


def test_the_changelog_has_an_unreleased_part(repository: Path) -> None:
    assert "## [Unreleased]" in (repository / "CHANGELOG.md").read_text()


def test_every_test_that_proves_a_promise_exists(repository: Path) -> None:
    rows = (repository / "docs" / "promises.md").read_text().splitlines()
    promises = [row for row in rows if row.startswith("| ")][1:]
    for row in promises:
        proofs = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert proofs, row
        for path, name in proofs:
            text = (repository / "tests" / path).read_text()
            assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{path}::{name}"
    assert len(promises) > 30
