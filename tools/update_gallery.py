#!/usr/bin/env python3
"""The gallery update tool: the same as `edge-sim gallery`, for a checkout that is not installed.

tools/update_gallery.py add --gallery gallery.db --watch bowl --state food pictures/
tools/update_gallery.py --help
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Run `edge-sim gallery` with the arguments of this program."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from edge_sim.cli.main import main as edge_sim

    try:
        return edge_sim(["gallery", *sys.argv[1:]])
    except ModuleNotFoundError as error:
        print(
            f"{error}: run this with the Python that has what edge_sim needs, "
            f"as in .venv/bin/python {sys.argv[0]}",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
