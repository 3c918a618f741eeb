"""What runs all year: many cameras, one worker, an outbox, and a memory of what was said.

Daemon(config, reload=lambda: load_config("config.yaml")).run()
"""

from edge_sim.daemon.rig import World
from edge_sim.daemon.service import Daemon

__all__ = ["Daemon", "World"]
