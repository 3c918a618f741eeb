"""edge_sim: the state of what a fixed camera watches, from a few reference pictures."""

from __future__ import annotations

__version__ = "0.1.0"
