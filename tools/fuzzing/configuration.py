"""Configurations: the examples with lines cut, doubled, swapped and spoilt; and any text."""

from __future__ import annotations

from pathlib import Path

import yaml
from hypothesis import strategies as st

from edge_sim.errors import EdgeSimError
from edge_sim.io.sources import is_live
from edge_sim.runtime import assembly
from edge_sim.runtime.config import parse_config
from edge_sim.runtime.config.sinks import sink_options
from fuzzing.texts import NASTY, words
from fuzzing.trial import BrokenPromiseError

_SMALL = (
    "device: yard\n"
    "sources:\n  cam: {uri: 'rtsp://u:${PW}@host/1', fps: 5, rotate: 90}\n"
    "watches:\n  gate:\n    source: cam\n    states: [open, closed]\n    roi: [0, 0, 1, 0.5]\n"
    "    interval_s: 1\n    confirm: {matches: 3, of: 5}\n"
)
_SINKS = (
    "sinks:\n  - {kind: file, path: e.jsonl, max_mb: 1}\n"
    "  - {kind: mqtt, host: broker, username: u, password: '${PW}', tls: true}\n"
    "  - {kind: webhook, url: 'https://host/x', timeout_s: 3}\n"
    "  - {kind: command, argv: [logger, -t, x]}\n  - {kind: unix_socket, path: s, mode: '660'}\n"
)
_REST = (
    "outbox: {storage: disk, max_mb: 16, max_days: 7}\n"
    "daemon: {state: state.json, nice: 5, cpu_share: 0.5}\n"
    "web: {listen: '127.0.0.1:8080', token: '0123456789abcdef'}\n"
)


def _bases() -> tuple[str, ...]:
    folder = Path(__file__).resolve().parent.parent.parent / "configs"
    examples = [
        path.read_text(encoding="utf-8")
        for path in sorted(folder.glob("*.yaml"))
        if path.name != "default.yaml"  # every key at once takes long to read
    ]
    return (_SMALL, _SMALL + _SINKS, _SMALL + _REST, *examples)


def _keys(text: str) -> set[str]:
    found: set[str] = set()
    rows = [yaml.safe_load(text)]
    while rows:
        row = rows.pop()
        if isinstance(row, dict):
            found |= row.keys()
            rows += row.values()
        elif isinstance(row, list):
            rows += row
    return found


BASES = _bases()
KEYS = tuple(sorted(set().union(*map(_keys, BASES))))


@st.composite
def spoilt(draw: st.DrawFn) -> str:
    """Return an example with one to four changes."""
    lines = draw(st.sampled_from(BASES)).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(lines) - 1, 0)))
        deed = draw(st.sampled_from(("drop", "double", "swap", "value", "key", "cut", "indent")))
        lines[at : at + 1] = _changed(lines[at] if lines else "", deed, draw)
    return "\n".join(lines) + "\n"


def _changed(line: str, deed: str, draw: st.DrawFn) -> list[str]:
    head, colon, _ = line.partition(":")
    if deed == "drop":
        return []
    if deed == "double":
        return [line, line]
    if deed == "value":
        return [f"{head}{colon or ':'} {draw(words)}"]
    if deed == "key":
        indent = line[: len(line) - len(line.lstrip())]
        return [line, f"{indent}{draw(st.sampled_from(KEYS))}: {draw(words)}"]
    if deed == "cut":
        return [line[: draw(st.integers(0, len(line)))]]
    if deed == "indent":
        return [" " * draw(st.integers(0, 6)) + line.lstrip()]
    return [draw(words), line]


_anything = st.recursive(
    st.one_of(st.sampled_from(NASTY), st.floats(), st.integers(), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    ),
    max_leaves=8,
)
tables = st.dictionaries(st.sampled_from(KEYS), _anything, max_size=5).map(
    lambda table: str(yaml.safe_dump(table, allow_unicode=True))
)
texts = st.one_of(spoilt(), spoilt(), tables, st.text(max_size=60))
"""What somebody may have written into a configuration."""


def read(text: str, folder: Path) -> str:
    """Read a configuration as the daemon does, up to opening things; return what came of it."""
    try:
        config = parse_config(text, where="fuzz.yaml", folder=str(folder), environ={"PW": "s3"})
        assembly.watches_by_source(config)
        for name in config.sources:
            assembly.source_options(config, name)
            is_live(assembly.resolved_uri(config, name))
        for sink in config.sinks:
            sink_options(sink, device=config.device, folder=folder)
    except EdgeSimError as error:
        if "\n" in str(error) or not str(error).isprintable():
            raise BrokenPromiseError(f"an error that is no line: {str(error)!r}") from error
        return "refused"
    return "taken"
