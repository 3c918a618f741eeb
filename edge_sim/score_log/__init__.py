"""The score log: JSON lines with what each watch saw, for `edge-sim stats` and `edge-sim replay`.

Now and then a line per watch tells how its scores fare. With every look written, a log also holds
all that the decisions were made from, so that they can be made again: no picture is needed.
An event file has the same form, and both are read alike.
"""

from __future__ import annotations

from edge_sim.score_log.lines import (
    BadLine,
    DeciderLine,
    Line,
    ScoreLine,
    SourceLines,
    fault_of,
    memory_of,
    score_line,
)
from edge_sim.score_log.reading import read_lines
from edge_sim.score_log.writing import EVERY_S, Deciding, ScoreLog

__all__ = [
    "EVERY_S",
    "BadLine",
    "DeciderLine",
    "Deciding",
    "Line",
    "ScoreLine",
    "ScoreLog",
    "SourceLines",
    "fault_of",
    "memory_of",
    "read_lines",
    "score_line",
]
