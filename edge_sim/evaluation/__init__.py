"""Evaluation: labelled pictures in, figures out."""

from __future__ import annotations

from edge_sim.evaluation.datasets import LabelledFrame, LabelledSet, read_set, read_tar
from edge_sim.evaluation.events import EventsResult, judge, play
from edge_sim.evaluation.retrieval import RetrievalResult, evaluate_retrieval, retrieve
from edge_sim.evaluation.seen import SeenSet, see
from edge_sim.evaluation.states import Answers, Protocol, StatesResult, evaluate_states

__all__ = [
    "Answers",
    "EventsResult",
    "LabelledFrame",
    "LabelledSet",
    "Protocol",
    "RetrievalResult",
    "SeenSet",
    "StatesResult",
    "evaluate_retrieval",
    "evaluate_states",
    "judge",
    "play",
    "read_set",
    "read_tar",
    "retrieve",
    "see",
]
