"""The lock files of a release: whole, with hashes, and what `pyproject.toml` asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import lock
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Python 3.11 or later; the files are the same for each.
tomllib = pytest.importorskip("tomllib", reason="tomllib comes with Python 3.11")

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MACHINES = {
    ".ci/locked.txt": [
        (python, machine)
        for python in ("3.10", "3.11", "3.12", "3.13", "3.14")
        for machine in ("x86_64", "aarch64")
    ],
    ".ci/locked-legacy.txt": [
        (python, machine) for python in ("3.10", "3.11") for machine in ("x86_64", "armv7l")
    ],
}
SETS = pytest.mark.parametrize("wanted", lock.SETS, ids=lambda wanted: wanted.file)


def requirements(extras: tuple[str, ...]) -> Iterator[Requirement]:
    yield from map(Requirement, PROJECT["dependencies"])
    for extra in extras:
        yield from map(Requirement, PROJECT["optional-dependencies"][extra])


def is_for(requirement: Requirement, python: str, machine: str) -> bool:
    here = {
        "python_version": python,
        "python_full_version": f"{python}.7",
        "platform_machine": machine,
        "sys_platform": "linux",
    }
    return requirement.marker is None or requirement.marker.evaluate(here)


def pinned(wanted: lock.RuntimeSet) -> list[Requirement]:
    text = (ROOT / wanted.file).read_text()
    return [Requirement(pin.requirement) for pin in lock.pins(text)]


@pytest.mark.parametrize("extra", [None, *PROJECT["optional-dependencies"]])
def test_every_dependency_has_an_upper_bound(extra: str | None) -> None:
    listed = PROJECT["dependencies" if extra is None else "optional-dependencies"]
    for text in listed if extra is None else listed[extra]:
        requirement = Requirement(text)
        if requirement.name != PROJECT["name"]:
            assert re.search(r"<|==", str(requirement.specifier)), text


@SETS
def test_each_machine_gets_one_version_that_the_project_allows(wanted: lock.RuntimeSet) -> None:
    found = pinned(wanted)
    for python, machine in MACHINES[wanted.file]:
        here = {}
        for pin in found:
            if is_for(pin, python, machine):
                assert pin.name not in here, f"{pin.name} twice on {python} {machine}"
                here[pin.name] = next(iter(pin.specifier)).version
        for requirement in requirements(wanted.extras):
            if is_for(requirement, python, machine):
                name = canonicalize_name(requirement.name)
                assert requirement.specifier.contains(here[name]), (name, python, machine)


@SETS
def test_every_package_has_hashes_and_no_place(wanted: lock.RuntimeSet) -> None:
    text = (ROOT / wanted.file).read_text()
    for pin in lock.pins(text):
        assert pin.hashes
        assert all(re.fullmatch("[0-9a-f]{64}", found) for found in pin.hashes)
    assert not re.search(r"https?:|file:|@ |--(index|find|extra|trusted)", text)


@pytest.mark.parametrize("entry", ["numpy==2.0", "--index-url x --hash=sha256:0", "numpy>=2 \\\n"])
def test_a_package_without_version_or_hash_is_no_lock(entry: str) -> None:
    with pytest.raises(ValueError, match="no package with hashes"):
        list(lock.pins(entry))
