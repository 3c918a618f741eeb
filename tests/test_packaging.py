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
    places = ("edge_sim/**/*.py", "docs/*.md", "README.md", "configs/*.yaml", "tools/**/*")
    for place in places:
        for path in repository.glob(place):
            if path.is_file() and path.suffix not in (".pyc", ".png"):
                for names in _NAMED.findall(path.read_text()):
                    assert set(names.split(",")) <= known, f"{path}: {names}"
                    named |= set(names.split(","))
    assert {"web", "mqtt", "video"} <= named


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
