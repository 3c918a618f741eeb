"""The public surface is a sorted list; everything else may change."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edge_sim


def test_the_public_names_are_sorted_and_complete() -> None:
    assert edge_sim.__all__ == sorted(edge_sim.__all__)
    assert set(edge_sim.__all__) == {*edge_sim._MODULE_OF, *edge_sim._MODULES}


@pytest.mark.parametrize("name", edge_sim.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(edge_sim, name).__name__.removeprefix("edge_sim.") == name


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'bild'"):
        edge_sim.bild  # noqa: B018


def test_importing_the_package_imports_nothing_but_itself_and_importlib() -> None:
    program = (
        "import sys, importlib, typing; before = set(sys.modules); import edge_sim; "
        "print(sorted(set(sys.modules) - before - {'__future__'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['edge_sim', 'edge_sim.version']"
