"""`python -m edge_sim`: the command line."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress

from edge_sim.cli import main as cli


def main() -> int:
    """Run the command line and return its exit code; with threads left over, end at once."""
    code = cli.main()
    if threading.active_count() > 1:
        # A thread that reads a camera inside OpenCV and comes back while Python takes itself apart
        # is unwound through C++ code, which aborts the process: SIGABRT instead of the exit code.
        # Such a thread may also never come back. Nothing is left to do but to let the system clean
        # up: files, outbox and connections were closed by the verb.
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
