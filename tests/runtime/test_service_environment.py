"""What the sandbox of the service hides is recognised, and copied to where it is seen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_sim.errors import ConfigError
from edge_sim.runtime import service_environment
from edge_sim.runtime.service_environment import (
    Installation,
    check_place,
    copy_environment,
    hidden_part,
    remove_environment,
)


def test_home_and_temporary_folders_are_hidden() -> None:
    assert hidden_part(Path("/home/anna/clone/.venv/bin/edge-sim")) == Path("/home")
    assert hidden_part(Path("/root")) == Path("/root")
    assert hidden_part(Path("/usr/bin/env")) is None
    assert hidden_part(Path("/homes/edge")) is None


def test_a_folder_that_others_may_not_enter_hides(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    found = hidden_part(tmp_path / "closed" / "program", hidden=())
    assert found is not None
    assert found in (tmp_path / "closed", *tmp_path.parents, tmp_path)


def test_a_folder_of_someone_else_is_never_replaced_or_deleted(tmp_path: Path) -> None:
    place = tmp_path / "edge_sim"
    place.mkdir()
    (place / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="was not made by install-service"):
        check_place(place)
    with pytest.raises(ConfigError, match="was not made by install-service"):
        remove_environment(place)
    assert (place / "mine.txt").read_text() == "mine"


def test_a_checkout_is_copied_with_model_and_configurations_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The Python of the tests may lie anywhere.
    monkeypatch.setattr(service_environment, "_is_closed", lambda folder: False)
    # Packages stay where they are, through a path file: copying them takes seconds.
    site = tmp_path / "home" / "lib" / "site-packages"
    site.mkdir(parents=True)
    (site / "here.pth").write_text(os.pathsep.join(sys.path).replace(os.pathsep, "\n"))
    of_tests = Installation.of_this_process()
    package = of_tests.package
    made = Installation(
        tmp_path / "home", Path(sys.base_prefix), of_tests.version, (site,), package, False
    )
    hidden = (str(tmp_path / "home"),)
    assert made.is_checkout
    assert made.hidden_from_service(hidden) is not None
    place = tmp_path / "place"
    program = copy_environment(made, place, hidden)
    assert (place / "lib" / f"python{made.version}" / "site-packages/edge_sim/configs").is_dir()
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("edge-sim ")
    copy_environment(made, place, hidden)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "place"]
    assert remove_environment(place)
    assert not remove_environment(place)


def test_a_copy_that_does_not_run_leaves_the_old_one(tmp_path: Path) -> None:
    made = Installation.of_this_process()
    broken = Installation(
        tmp_path / "home", Path(sys.base_prefix), made.version, (), tmp_path / "no", False
    )
    with pytest.raises(ConfigError, match="cannot copy the environment"):
        copy_environment(broken, tmp_path / "place")
    assert not (tmp_path / "place").exists()
