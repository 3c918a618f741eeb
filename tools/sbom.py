"""List all parts of an installed edge_sim as a CycloneDX file, the parts inside the wheel included.

    python tools/sbom.py --python .venv/bin/python --out edge_sim.cdx.json

cyclonedx-bom (extra `release`) lists the packages of an environment with their versions and
licences; the files of others that the wheel holds are rows of docs/third-party.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import check_artifacts

ROOT = check_artifacts.ROOT
INSTALLERS = frozenset({"pip", "setuptools"})
"""Packages that an environment begins with, and edge_sim does not need."""
SPDX = frozenset({"Apache-2.0", "MIT"})
"""Licences of parts that have an SPDX identifier; others are named."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the list; return 0, or 1 where cyclonedx-bom is not installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="of the environment to list")
    parser.add_argument("--out", type=Path, default=Path("edge_sim.cdx.json"))
    args = parser.parse_args(argv)
    listed = environment(args.python)
    if listed is None:
        print("error: cyclonedx-bom is missing: pip install '.[release]'", file=sys.stderr)
        return 1
    complete = with_parts(listed, check_artifacts.parts(ROOT), ROOT)
    args.out.write_text(json.dumps(complete, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{args.out}: {len(complete['components'])} parts")
    return 0


def environment(python: str) -> dict[str, Any] | None:
    """Return the packages of an environment as a CycloneDX document; None without cyclonedx-bom.

    Args:
        python: Interpreter of the environment.
    """
    project = str(ROOT / "pyproject.toml")
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", project]
    try:
        done = subprocess.run(
            [*command, "--mc-type", "library", "--output-reproducible", "--of", "JSON", python],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        if "No module named" in error.stderr:
            return None
        raise
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def with_parts(
    listed: dict[str, Any], parts: Sequence[check_artifacts.Part], root: Path
) -> dict[str, Any]:
    """Return a document with the parts of others that the wheel holds.

    Args:
        listed: CycloneDX document of an environment.
        parts: Parts to add.
        root: Checkout with the files of the parts.
    """
    made = [_component(part, root) for part in parts]
    version = check_artifacts.version_of(root)
    root_part = {
        **listed["metadata"]["component"],
        "version": version,
        "purl": f"pkg:pypi/edge-sim@{version}",
    }
    main = root_part["bom-ref"]
    found = listed.get("components", [])
    tools = {part["bom-ref"] for part in found if part["name"] in INSTALLERS}
    edges = [dict(edge) for edge in listed.get("dependencies", []) if edge["ref"] not in tools]
    for edge in edges:
        if edge["ref"] == main:
            held = [component["bom-ref"] for component in made]
            edge["dependsOn"] = sorted([*edge.get("dependsOn", []), *held])
    edges += [{"ref": component["bom-ref"]} for component in made]
    components = [*(part for part in found if part["bom-ref"] not in tools), *made]
    metadata = {**listed["metadata"], "component": root_part}
    return {**listed, "metadata": metadata, "components": components, "dependencies": edges}


def _component(part: check_artifacts.Part, root: Path) -> dict[str, Any]:
    named = {"id": part.licence} if part.licence in SPDX else {"name": part.licence}
    return {
        "type": "library",
        "bom-ref": f"vendored:{part.name}",
        "name": part.name,
        "version": part.version,
        "licenses": [{"license": named}],
        "externalReferences": [{"type": "website", "url": part.address}],
        "components": [
            {
                "type": "file",
                "bom-ref": f"file:{name}",
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": _sha256(root / name)}],
            }
            for name in part.files
        ],
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
