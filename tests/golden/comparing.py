"""Comparison of decisions by content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

WITH_MODEL, WITHOUT_MODEL = 0.05, 0.002
"""Tolerances of confidence, margin and level. Runtimes and processors round embeddings differently:
between ai-edge-litert and tflite-runtime margins differ by up to 0.041."""
_ROUNDED = {"confidence": None, "margin": None, "enter": None, "seconds": 0.002}


def differences(
    kept: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], tolerance: float
) -> list[str]:
    """Return one line for each decision that is not the one kept; none if all are.

    Args:
        kept: Decisions made once.
        found: Decisions made now.
        tolerance: Difference of confidence, margin and level that is none.
    """
    pairs = zip_longest(kept, found)
    return [
        f"decision {number}: kept {_text(before)}, now {_text(now)}: {', '.join(names)}"
        for number, (before, now) in enumerate(pairs, start=1)
        if (names := list(_differing(before or {}, now or {}, tolerance)))
    ]


def _differing(
    kept: Mapping[str, Any], found: Mapping[str, Any], tolerance: float
) -> Iterator[str]:
    for name in sorted(kept.keys() | found.keys()):
        a, b = kept.get(name), found.get(name)
        if name in _ROUNDED and a is not None and b is not None:
            if not abs(a - b) <= (_ROUNDED[name] or tolerance):
                yield name
        elif a != b:
            yield name


def _text(decision: Mapping[str, Any] | None) -> str:
    return "nothing" if decision is None else json.dumps(decision)
