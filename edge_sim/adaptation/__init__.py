"""Learning a head on the labelled references of a watch, and proving that it helps.

trial = tried(gallery)
if trial.is_gain:
    keep_heads(store, {"bowl": trial.head})
"""

from edge_sim.adaptation.fitting import fit_head
from edge_sim.adaptation.trial import LEAST_REFERENCES, HeadTrial, tried

__all__ = ["LEAST_REFERENCES", "HeadTrial", "fit_head", "tried"]
