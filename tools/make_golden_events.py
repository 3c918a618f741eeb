"""Write the golden decisions below `tests/golden/decisions`, or compare the code with them.

    PYTHONPATH=. python tools/make_golden_events.py --data ../shared    # write all of them
    PYTHONPATH=. python tools/make_golden_events.py --only rows-plain   # write one
    PYTHONPATH=. python tools/make_golden_events.py --check             # compare, write nothing
    PYTHONPATH=. python tools/make_golden_events.py --check --tolerance 0.0001

Only a change that is meant to decide otherwise may write them, and its commit says why.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.golden.cases import (
    CASES,
    Case,
    ClipCase,
    keep_decisions,
    kept_decisions,
    uses_a_model,
)
from tests.golden.comparing import WITH_MODEL, WITHOUT_MODEL, differences


def make(argv: Sequence[str] | None = None) -> int:
    """Play the cases and return the exit code: 1 if one differs from the file."""
    args = _parser().parse_args(argv)
    differing = 0
    for case in CASES:
        if args.only and case.name not in args.only:
            continue
        if isinstance(case, ClipCase) and args.data is None:
            print(f"{case.name}: skipped, needs --data")
            continue
        differing += _made(case, args)
    return 1 if differing else 0


def _made(case: Case, args: argparse.Namespace) -> bool:
    """Play one case, write or compare it, and return whether it differs."""
    started_s = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        found = case.play(Path(folder), args.data and args.data / "data")
    counts = Counter(item["kind"] for item in found)
    text = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    print(f"{case.name}: {text} in {time.process_time() - started_s:.1f} s")
    if not args.check:
        keep_decisions(case.name, found)
        return False
    tolerance = args.tolerance
    if tolerance is None:
        tolerance = WITH_MODEL if uses_a_model(case) else WITHOUT_MODEL
    faults = differences(kept_decisions(case.name), found, tolerance)
    for fault in faults:
        print(f"  {fault}")
    return bool(faults)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder above data/")
    parser.add_argument("--only", nargs="*", metavar="CASE", help="these cases")
    parser.add_argument("--check", action="store_true", help="compare with what is kept")
    parser.add_argument("--tolerance", type=float, metavar="X", help="of confidence and margin")
    return parser


if __name__ == "__main__":
    sys.exit(make())
