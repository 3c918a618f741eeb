"""What runs all year: many cameras, one worker, an outbox, and a memory of what was said.

Daemon(config, reload=lambda: load_config("config.yaml")).run()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_sim.daemon.rig import World
    from edge_sim.daemon.service import Daemon

__all__ = ["Daemon", "World"]


def __getattr__(name: str) -> Any:
    # On first use: `run` takes small parts of this package, and waits for none of the rest.
    if name == "Daemon":
        from edge_sim.daemon.service import Daemon

        return Daemon
    if name == "World":
        from edge_sim.daemon.rig import World

        return World
    raise AttributeError(f"module 'edge_sim.daemon' has no attribute {name!r}")
