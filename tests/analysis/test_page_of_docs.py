"""What the page about explanations shows can be used as it stands."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from edge_sim.analysis.replay import MOVED_OBSERVATIONS, OBSERVATIONS_AFTER
from edge_sim.cli.main import build_parser
from edge_sim.runtime.config import Config, parse_config
from edge_sim.runtime.explanations import PICTURE_PX

FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "explain.md").read_text()


def test_its_sections_are_valid_and_show_defaults(page: str) -> None:
    shown = [
        parse_config(body, where="page") for kind, body in FENCE.findall(page) if kind == "yaml"
    ]
    assert [config.explanations for config in shown] == [Config().explanations] * 2
    assert [config.score_log.every_s for config in shown] == [60.0, 0.0]
    assert shown[1].score_log.max_mb == Config().score_log.max_mb


def options_of(verb: str) -> set[str]:
    parser = build_parser([verb])
    (verbs,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {name for action in verbs.choices[verb]._actions for name in action.option_strings}


def test_every_option_that_it_names_is_one(page: str) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page))
    known = set.union(*map(options_of, ("explain", "replay", "run", "demo", "daemon", "compare")))
    assert named - known == set()
    assert {"--from-scores", "--sweep", "--score-log", "--report"} <= named


def test_its_numbers_are_those_of_the_code(page: str) -> None:
    text = " ".join(page.split())
    assert f"up to {MOVED_OBSERVATIONS} observations earlier or later" in text
    assert f"{OBSERVATIONS_AFTER} observations after it" in text
    assert f"{Config().explanations.observations} observations before it" in text
    assert f"at most {PICTURE_PX} pixels" in text
