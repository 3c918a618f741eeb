"""Checks of the rules of a watch, which need the names of its states."""

from __future__ import annotations

from collections.abc import Mapping

from edge_sim.decision.rules import Rules
from edge_sim.runtime.config.yaml_reader import YamlReader, nearest


def check_rules(rules: Rules, states: tuple[str, ...], path: str, reader: YamlReader) -> None:
    """Raise `ConfigError` for rules that name other states than the watch."""
    if rules.repeat_s is not None and not rules.overdue_s:
        where = f"{path}.repeat_s"
        raise reader.error(where, f"{where}: there is nothing to repeat without overdue_s")
    for state in sorted(rules.states.difference(states)) if states else ():
        where = next((key for key in _keys_that_name(rules, state)), "allowed")
        raise reader.error(
            f"{path}.{where}", f"{path}.{where}: no state {state!r}{nearest(state, states)}"
        )


def _keys_that_name(rules: Rules, state: str) -> list[str]:
    tables: Mapping[str, Mapping[str, object]] = {
        "allowed": rules.allowed,
        "min_duration_s": rules.min_duration_s,
        "max_duration_s": rules.max_duration_s,
        "overdue_s": rules.overdue_s,
    }
    return [key for key, table in tables.items() if state in table]
