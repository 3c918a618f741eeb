"""The files of a release: what must be in them is checked, and all parts of others are listed."""

from __future__ import annotations

import io
import json
import re
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import check_artifacts
import pytest
import sbom

from edge_sim.version import __version__

ROOT = Path(__file__).resolve().parents[2]
INFO = f"edge_sim-{__version__}.dist-info"


def metadata() -> str:
    provided = "".join(f"Provides-Extra: {name}\n" for name in sorted(check_artifacts.extras(ROOT)))
    return (
        f"Metadata-Version: 2.4\nName: edge_sim\nVersion: {__version__}\n"
        "License-Expression: Apache-2.0\nLicense-File: LICENSE\n"
        f"License-File: docs/third-party.md\n{provided}\n# edge_sim\n"
    )


def artifacts(folder: Path, **changed: str | None) -> Path:
    """Lay a wheel and an sdist that may be published, but for what is changed."""
    files: dict[str, str | None] = dict.fromkeys(check_artifacts.NEEDED, "")
    files[f"{INFO}/METADATA"] = metadata()
    files[f"{INFO}/entry_points.txt"] = "[console_scripts]\nedge-sim = edge_sim.__main__:main\n"
    for part in check_artifacts.parts(ROOT):
        files[f"{INFO}/licenses/{part.text}"] = "MIT"
    with zipfile.ZipFile(folder / f"edge_sim-{__version__}-py3-none-any.whl", "w") as wheel:
        for name, text in (files | changed).items():
            if text is not None:
                wheel.writestr(name, text)
    with tarfile.open(folder / f"edge_sim-{__version__}.tar.gz", "w:gz") as source:
        for name in (*check_artifacts.IN_SOURCE, "PKG-INFO"):
            source.addfile(tarfile.TarInfo(f"edge_sim-{__version__}/{name}"), io.BytesIO())
    return folder


def test_whole_artifacts_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_artifacts.main([str(artifacts(tmp_path))]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("edge_sim/models/edge_sim_small.tflite", None, "lacks edge_sim/models/edge_sim_small"),
        (f"{INFO}/licenses/models/edge_sim_small.words.LICENSE.txt", None, "licence of WordNet"),
        ("tests/conftest.py", "", "holds tests/conftest.py, which no device needs"),
        (f"{INFO}/entry_points.txt", "", "has no command edge-sim"),
        (f"{INFO}/METADATA", None, "is not version"),
        (f"{INFO}/METADATA", metadata().replace("Provides-Extra: web\n", ""), "extras differ"),
        (f"{INFO}/METADATA", metadata().replace("Apache-2.0", "MIT"), "License-Expression is"),
    ],
)
def test_what_must_not_be_published_is_named(
    tmp_path: Path, name: str, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_artifacts.main([str(artifacts(tmp_path, **{name: text}))]) == 1
    assert message in capsys.readouterr().err


def test_an_empty_folder_is_no_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_artifacts.main([str(tmp_path)]) == 1
    assert "holds 0 wheels and 0 sdists" in capsys.readouterr().err


def test_every_file_of_others_is_named_with_its_licence() -> None:
    """All that lies in the folder of foreign files, and beside a licence in `models`."""
    listed = check_artifacts.parts(ROOT)
    named = {name for part in listed for name in (*part.files, part.text)}
    vendor = [path for path in ROOT.glob("edge_sim/**/vendor/*") if path.is_file()]
    texts = [path for path in ROOT.glob("models/*") if path.name.endswith(".LICENSE.txt")]
    assert len(vendor) >= 3
    assert {path.relative_to(ROOT).as_posix() for path in (*vendor, *texts)} <= named
    for name in named:
        assert (ROOT / name).is_file(), name
    project = (ROOT / "pyproject.toml").read_text().partition("license-files = [")[2]
    globs = re.findall(r'"([^"]+)"', project.partition("]")[0])
    licences = {path.relative_to(ROOT).as_posix() for glob in globs for path in ROOT.glob(glob)}
    assert {part.text for part in listed} | {"LICENSE", "docs/third-party.md"} == licences


def test_the_versions_of_foreign_files_are_those_in_them() -> None:
    for part in check_artifacts.parts(ROOT):
        heads = [(ROOT / name).read_bytes()[:200].decode("utf-8", "replace") for name in part.files]
        text = (ROOT / part.text).read_text()
        assert any(part.version in head for head in heads) or part.version in text, part.name


def listed() -> dict[str, Any]:
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {
            "component": {"type": "library", "name": "edge_sim", "bom-ref": "root-component"}
        },
        "components": [
            {"type": "library", "name": name, "bom-ref": name} for name in ("numpy", "pip")
        ],
        "dependencies": [
            {"ref": "root-component", "dependsOn": ["numpy"]},
            {"ref": "numpy"},
            {"ref": "pip"},
        ],
    }


def test_the_list_of_parts_has_what_the_wheel_holds() -> None:
    made = sbom.with_parts(listed(), check_artifacts.parts(ROOT), ROOT)
    found = {part["name"]: part for part in made["components"]}
    assert {"numpy", "uPlot", "WordNet"} == found.keys()
    assert found["uPlot"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert all(len(file["hashes"][0]["content"]) == 64 for file in found["uPlot"]["components"])
    edge = next(edge for edge in made["dependencies"] if edge["ref"] == "root-component")
    assert set(edge["dependsOn"]) == {"numpy", "vendored:uPlot", "vendored:WordNet"}
    assert "pip" not in {edge["ref"] for edge in made["dependencies"]}
    assert made["metadata"]["component"]["version"] == __version__


def test_the_list_of_a_bare_environment_is_valid(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx_py", reason="cyclonedx-bom: pip install '.[release]'")
    schema = pytest.importorskip("cyclonedx.schema")
    validation = pytest.importorskip("cyclonedx.validation.json")
    venv.create(tmp_path / "bare", with_pip=False)
    out = tmp_path / "parts.json"
    python = str(tmp_path / "bare" / "bin" / "python")
    assert sbom.main(["--python", python, "--out", str(out)]) == 0
    text = out.read_text()
    try:
        validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
        assert validator.validate_str(text) is None
    except validation.MissingOptionalDependencyException:
        pytest.skip("cyclonedx-bom validates with its extra only")
    assert [part["name"] for part in json.loads(text)["components"]] == ["uPlot", "WordNet"]
