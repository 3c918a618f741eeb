"""Argument parser whose errors name the nearest verb or option, and print the usage of the verb."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from edge_sim.core.files import printable
from edge_sim.errors import EdgeSimError

_LEAF = "parser_of_verb"


class UsageError(EdgeSimError):
    """An option that does not fit what it is used with; exit code 2, as for any wrong usage."""


class VerbParser(argparse.ArgumentParser):
    """Parser of the program, of a verb, or of a verb within a verb; verbs inherit the class."""

    def parse_command(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Return the parsed arguments; an unknown option is reported by the verb it was given to.

        Raises:
            SystemExit: Wrong usage (2), or `--help` (0).
        """
        for leaf in _leaves(self):
            leaf.set_defaults(**{_LEAF: leaf})
        args, unknown = self.parse_known_args(arguments)
        leaf = getattr(args, _LEAF)
        if unknown:
            leaf.error(_unknown_text(leaf, unknown))
        delattr(args, _LEAF)
        return args

    def error(self, message: str) -> NoReturn:
        """Print the usage and one line, and exit with 2."""
        super().error(printable(" ".join(message.split())))

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        value = super()._get_value(action, arg_string)
        if isinstance(value, Path) and not arg_string:
            # pathlib takes it for the working folder; it comes from a variable that is not set.
            raise argparse.ArgumentError(action, "the path is empty")
        return value

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        name = action.metavar if isinstance(action.metavar, str) else None
        what = f"unknown {(name or 'value').lower()} {str(value)!r}"
        raise argparse.ArgumentError(None if name else action, f"{what}{_hint(str(value), known)}")


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    groups = [
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    ]
    if not groups:
        yield parser
    for group in groups:
        for child in group.choices.values():
            yield from _leaves(child)


def _unknown_text(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> str:
    options = [word for word in unknown if word.startswith("-")]
    if not options:
        return f"too many arguments: {' '.join(unknown)}"
    name = options[0].partition("=")[0]
    known = [option for option in parser._option_string_actions if option.startswith("--")]
    return f"unknown option {name}{_hint(name, known)}"


def _hint(word: str, known: Sequence[str]) -> str:
    from edge_sim.runtime.config.yaml_reader import nearest

    return nearest(word, known)
