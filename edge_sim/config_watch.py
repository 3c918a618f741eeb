"""The sections of the configuration for what a watch tells besides its state."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edge_sim.config_yaml import YamlReader, nearest
from edge_sim.events import SceneProblem
from edge_sim.options import Name, Options, PositiveSeconds, Seconds
from edge_sim.problems import USUAL, ReportingPolicy
from edge_sim.rules import Rules

_MANNERS = ReportingPolicy()


class RulesConfig(Options, frozen=True):
    """What is known of the states."""

    allowed: dict[Name, tuple[Name, ...]] = msgspec.field(default_factory=dict)
    min_duration_s: dict[Name, PositiveSeconds] = msgspec.field(default_factory=dict)
    max_duration_s: dict[Name, PositiveSeconds] = msgspec.field(default_factory=dict)
    overdue_s: dict[Name, PositiveSeconds] = msgspec.field(default_factory=dict)
    repeat_s: PositiveSeconds | None = None

    @property
    def rules(self) -> Rules:
        """As the value that a watch goes by.

        Raises:
            ValueError: They contradict each other.
        """
        return Rules(**msgspec.structs.asdict(self))


class ProblemsConfig(Options, frozen=True):
    """Which troubles with the picture are told, and when."""

    tell: tuple[SceneProblem, ...] = USUAL
    after_s: Seconds = _MANNERS.after_s
    clear_s: Seconds = _MANNERS.clear_s
    again_s: Seconds = _MANNERS.again_s

    @property
    def manners(self) -> ReportingPolicy:
        """As the value that a watch goes by."""
        return ReportingPolicy(self.tell, self.after_s, self.clear_s, self.again_s)


def check_rules(rules: RulesConfig, states: tuple[str, ...], path: str, reader: YamlReader) -> None:
    """Raise `ConfigError` for rules that cannot be, or that name other states than the watch."""
    try:
        named = rules.rules.states
    except ValueError as error:
        raise reader.error(path, f"{path}: {error}") from error
    if rules.repeat_s is not None and not rules.overdue_s:
        where = f"{path}.repeat_s"
        raise reader.error(where, f"{where}: there is nothing to repeat without overdue_s")
    for state in sorted(named.difference(states)) if states else ():
        where = next((key for key in _keys_that_name(rules, state)), "allowed")
        raise reader.error(
            f"{path}.{where}", f"{path}.{where}: no state {state!r}{nearest(state, states)}"
        )


def _keys_that_name(rules: RulesConfig, state: str) -> list[str]:
    tables: Mapping[str, Mapping[str, object]] = {
        "allowed": rules.allowed,
        "min_duration_s": rules.min_duration_s,
        "max_duration_s": rules.max_duration_s,
        "overdue_s": rules.overdue_s,
    }
    return [key for key, table in tables.items() if state in table]
