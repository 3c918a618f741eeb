"""`python -m edge_sim`: the command line."""

from __future__ import annotations

import sys

from edge_sim.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
