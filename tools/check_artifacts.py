"""Check the wheel and the sdist of a release before they are published.

    python -m build && python tools/check_artifacts.py dist

Names, version, extras, entry point, licences of all parts, and that the wheel holds what a device
needs and nothing else. Prints one line per file; the first fault ends it with an error.
"""

from __future__ import annotations

import argparse
import email
import re
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = (
    "edge_sim/py.typed",
    "edge_sim/models/edge_sim_small.tflite",
    "edge_sim/models/edge_sim_small.json",
    "edge_sim/models/edge_sim_small.words.npz",
    "edge_sim/configs/default.yaml",
    "edge_sim/web/pages/index.html",
)
IN_SOURCE = ("tests/conftest.py", "tools/lock.py", "docs/third-party.md", ".ci/run", "Dockerfile")


@dataclass(frozen=True)
class Part:
    """One part of others that the wheel holds: a row of docs/third-party.md.

    Args:
        name: Name of the part.
        version: Its version.
        licence: SPDX identifier of its licence.
        files: Its files, relative to the checkout.
        text: File with the text of the licence, relative to the checkout.
        address: Where it comes from.
    """

    name: str
    version: str
    licence: str
    files: tuple[str, ...]
    text: str
    address: str


def main(argv: Sequence[str] | None = None) -> int:
    """Check the artifacts in a folder; return 0 if they may be published."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("dist"))
    folder = parser.parse_args(argv).folder
    wheels, sources = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    try:
        if len(wheels) != 1 or len(sources) != 1:
            raise ValueError(
                f"{folder} holds {len(wheels)} wheels and {len(sources)} sdists, not one of each"
            )
        version = version_of(ROOT)
        check_wheel(wheels[0], version)
        check_source(sources[0], version)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in (*wheels, *sources):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, as it should be")
    return 0


def version_of(root: Path) -> str:
    """Return the version in the code."""
    (version,) = re.findall(
        r'^__version__ = "(.+)"$', (root / "edge_sim/version.py").read_text(), re.M
    )
    return str(version)


def parts(root: Path) -> list[Part]:
    """Return the rows of docs/third-party.md.

    Args:
        root: Checkout.
    """
    rows = []
    for line in (root / "docs" / "third-party.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| [") and len(cells) == 5:
            name, address = re.fullmatch(r"\[(.+)\]\((.+)\)", cells[0]).groups()  # type: ignore[union-attr]
            files = tuple(re.findall(r"`([^`]+)`", cells[3]))
            rows.append(Part(name, cells[1], cells[2], files, cells[4].strip("`"), address))
    return rows


def extras(root: Path) -> set[str]:
    """Return the extras of pyproject.toml.

    Args:
        root: Checkout.
    """
    text = (root / "pyproject.toml").read_text().partition("[project.optional-dependencies]\n")[2]
    return set(re.findall(r"^(\w+) = \[", text.partition("\n[")[0], re.MULTILINE))


def check_wheel(path: Path, version: str) -> None:
    """Check one wheel.

    Args:
        path: Wheel.
        version: Version that it must have.

    Raises:
        ValueError: Something is missing, or is there that must not be.
    """
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        info = f"edge_sim-{version}.dist-info"
        if f"{info}/METADATA" not in names:
            raise ValueError(f"{path.name} is not version {version}")
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        commands = archive.read(f"{info}/entry_points.txt").decode()
    if "edge-sim = edge_sim.__main__:main" not in commands:
        raise ValueError(f"{path.name} has no command edge-sim")
    for name in NEEDED:
        if name not in names:
            raise ValueError(f"{path.name} lacks {name}")
    for name in names:
        if not name.startswith(("edge_sim/", f"{info}/")) or name.endswith(".pyc"):
            raise ValueError(f"{path.name} holds {name}, which no device needs")
    check_metadata(metadata, path.name)
    for part in parts(ROOT):
        if f"{info}/licenses/{part.text}" not in names:
            raise ValueError(f"{path.name} lacks the licence of {part.name}, {part.text}")


def check_metadata(metadata: Message, where: str) -> None:
    """Check the metadata of a wheel.

    Args:
        metadata: Parsed METADATA.
        where: Name of the wheel.

    Raises:
        ValueError: A field is missing or wrong.
    """
    wanted = {
        "Metadata-Version": "2.4", "Name": "edge_sim", "License-Expression": "Apache-2.0"
    }  # fmt: skip
    for field, value in wanted.items():
        if metadata[field] != value:
            raise ValueError(f"{where}: {field} is {metadata[field]!r}, not {value!r}")
    provided = set(metadata.get_all("Provides-Extra", []))
    if provided != extras(ROOT):
        raise ValueError(f"{where}: extras differ from pyproject.toml: {provided ^ extras(ROOT)}")
    named = set(metadata.get_all("License-File", []))
    if not {"LICENSE", "docs/third-party.md"} <= named:
        raise ValueError(f"{where}: License-File names {sorted(named)} only")
    if "# edge_sim" not in str(metadata.get_payload()):
        raise ValueError(f"{where}: the README is not its description")


def check_source(path: Path, version: str) -> None:
    """Check one sdist.

    Args:
        path: Sdist.
        version: Version that it must have.

    Raises:
        ValueError: Something is missing.
    """
    with tarfile.open(path) as archive:
        names = set(archive.getnames())
    for name in (*IN_SOURCE, "PKG-INFO"):
        if f"edge_sim-{version}/{name}" not in names:
            raise ValueError(f"{path.name} lacks {name}")


if __name__ == "__main__":
    sys.exit(main())
