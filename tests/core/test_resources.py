"""The files that come with edge_sim are found, or named where they are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_sim.core.resources import config_path, default_model_path
from edge_sim.errors import ConfigError


def test_the_default_configuration_is_found() -> None:
    assert config_path("default.yaml").is_file()


def test_a_configuration_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"configs/nothing\.yaml .*default\.yaml"):
        config_path("nothing.yaml")


def test_the_default_model_is_found_with_its_card() -> None:
    path: Path = default_model_path()
    assert path.is_file()
    assert path.with_suffix(".json").is_file()
