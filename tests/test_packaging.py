"""How edge_sim is installed: versions, extras and schemas agree wherever they are named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge_sim.cli.main import main
from edge_sim.version import __version__

_NAMED = re.compile(r"(?:edge_sim|'\.|\"\.)\[([a-z,]+)\]")


def extras(repository: Path) -> set[str]:
    """Return the names of the extras in pyproject.toml."""
    text = (repository / "pyproject.toml").read_text()
    _, _, part = text.partition("[project.optional-dependencies]\n")
    return set(re.findall(r"^(\w+) = \[", part.partition("\n[")[0], re.MULTILINE))


def test_every_extra_that_a_text_names_exists(repository: Path) -> None:
    known = extras(repository)
    named = set()
    places = (
        "edge_sim/**/*.py", "docs/*.md", "README.md", "configs/*.yaml", "tools/**/*",
        ".github/**/*.yml", "Dockerfile", ".ci/run",
    )  # fmt: skip
    for place in places:
        for path in repository.glob(place):
            if path.is_file() and path.suffix not in (".pyc", ".png"):
                for names in _NAMED.findall(path.read_text()):
                    assert set(names.split(",")) <= known, f"{path}: {names}"
                    named |= set(names.split(","))
    assert {"web", "mqtt", "video"} <= named


def test_the_readme_lists_every_extra_with_its_packages(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    table = dict(re.findall(r"^\| `\.\[(\w+)\]` \| ([^|]+) \|", text, re.MULTILINE))
    _, _, part = (
        (repository / "pyproject.toml").read_text().partition("[project.optional-dependencies]\n")
    )
    wanted = {}
    for entry in re.split(r"^(?=\w+ = )", part.partition("\n[")[0], flags=re.MULTILINE)[1:]:
        packages = re.findall(r'"([A-Za-z][\w.-]*)', entry)
        wanted[entry.split()[0]] = {package for package in packages if package != "edge_sim"}
    assert {name: set(cell.strip().split(", ")) for name, cell in table.items()} == wanted


def test_every_extra_that_a_word_names_exists(repository: Path) -> None:
    """As in "needs the extra `web`" and "extra `fleet`"."""
    found = set()
    for place in ("edge_sim/**/*.py", "docs/*.md", "configs/*.yaml"):
        for path in repository.glob(place):
            for name in re.findall(r"\bextras? [`\"](\w+)[`\"]", path.read_text()):
                assert name in extras(repository), f"{path.name}: {name}"
                found.add(name)
    assert {"web", "fleet", "collect"} <= found


def test_the_version_has_its_section_in_the_changelog(repository: Path) -> None:
    assert f"\n## [{__version__}] - 20" in (repository / "CHANGELOG.md").read_text()


def schema(capsys: pytest.CaptureFixture[str], what: str) -> dict[str, Any]:
    assert main(["schema", what]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("what", ["event", "config", "explanation", "replay", "score-log"])
def test_schemas_say_what_they_are(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = schema(capsys, what)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["$id"] == f"urn:edge-sim:schema:{what}"


def test_every_key_has_a_title_a_description_and_a_default_or_is_required(
    capsys: pytest.CaptureFixture[str],
) -> None:
    count = 0
    for name, part in schema(capsys, "config")["$defs"].items():
        assert "Args:" not in part["description"], name
        for key, field in part.get("properties", {}).items():
            assert field["title"], f"{name}.{key}"
            assert field["description"], f"{name}.{key}"
            assert "default" in field or key in part["required"], f"{name}.{key}"
            if key.endswith("_s"):
                assert field["unit"] in ("seconds", "per second"), f"{name}.{key}"
            count += 1
    assert count > 100


def test_the_configurations_name_their_schema_for_editors(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the first line, as yaml-language-server reads it; the file is what the command prints."""
    kept = json.loads((repository / "configs" / "config.schema.json").read_text())
    assert kept == schema(capsys, "config"), "edge-sim schema config > configs/config.schema.json"
    for path in (repository / "configs").glob("*.yaml"):
        first = path.read_text().partition("\n")[0]
        assert first == "# yaml-language-server: $schema=config.schema.json", path.name


def test_a_validator_takes_the_configurations_and_rejects_a_misspelt_key(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    # As editors do, by YAML 1.2: `off` is a word there.
    reader = pytest.importorskip("ruamel.yaml", reason="ruamel.yaml is not installed").YAML(
        typ="safe"
    )
    kind = schema(capsys, "config")
    jsonschema.Draft202012Validator.check_schema(kind)
    validator = jsonschema.Draft202012Validator(kind)
    files = sorted((repository / "configs").glob("*.yaml"))
    assert files
    for path in files:
        faults = list(validator.iter_errors(reader.load(path.read_text())))
        assert faults == [], f"{path.name}: {faults[0].message}"
    assert not validator.is_valid({"devise": "porch"})
