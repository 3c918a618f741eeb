"""Daemon: many cameras, one loop, an outbox, and a state file; made to run all year.

Daemon(config, reload=lambda: load_config("config.yaml")).run()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_sim.daemon.daemon import Daemon

__all__ = ["Daemon"]


def __getattr__(name: str) -> Any:
    # On first use: `run` takes small parts of this package, and waits for none of the rest.
    if name == "Daemon":
        from edge_sim.daemon.daemon import Daemon

        return Daemon
    raise AttributeError(f"module 'edge_sim.daemon' has no attribute {name!r}")
