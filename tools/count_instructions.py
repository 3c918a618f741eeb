"""The regression guard: instructions per call of the hot path, counted, kept per commit.

    python tools/count_instructions.py                       # count, append, draw
    python tools/count_instructions.py --checkout ../other   # the same for another checkout
    python tools/count_instructions.py --draw-only

Time on a shared machine says little about a change of a few per cent; the number of executed
instructions hardly depends on what else runs. It is counted by valgrind's callgrind over a fixed
small run, and goes with commit and versions into `benchmarks/history.json`, drawn as
`benchmarks/history.png`. Counts compare only within one set of versions and one kind of processor:
libraries choose their code by both, and valgrind hides AVX-512 from them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HISTORY = ROOT / "benchmarks" / "history.json"
REPEATS = {"invoke": 3, "embed": 3, "process": 3, "process, gate shut": 20, "SSIM 1:1": 5}
SEARCH, SEARCH_ROWS, SEARCH_REPEATS = "exact search, 10,000 rows", 10_000, 3
MARK = "getpgid"
"""A function of the C library that nothing else calls: callgrind writes its counts before it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Count, append and draw; return the exit code."""
    args = _parser().parse_args(argv)
    if args.worker:
        _worker(args.worker)
        return 0
    if not args.draw_only:
        if shutil.which("valgrind") is None:
            print("count_instructions: needs valgrind; apt install valgrind", file=sys.stderr)
            return 1
        entry = counted(args.checkout.resolve())
        _append(entry, args.history)
        for name, count in entry["instructions"].items():
            print(f"{name:28} {count / 1e6:10.3f} million")
    try:
        draw(json.loads(args.history.read_text()), args.history.with_suffix(".png"))
    except ImportError:
        print("count_instructions: not drawn; pip install matplotlib, then --draw-only")
    return 0


def counted(checkout: Path) -> dict[str, Any]:
    """Return the history's entry for a checkout.

    Raises:
        subprocess.CalledProcessError: The run fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        command = [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={out / 'counts'}",
            f"--dump-before={MARK}",
            sys.executable,
            str(Path(__file__).resolve()),
            "--worker",
            str(out / "names.json"),
        ]
        environment = {
            **os.environ,
            "PYTHONPATH": str(checkout),
            "PYTHONHASHSEED": "0",
            "OPENBLAS_NUM_THREADS": "1",
        }
        subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
        report = json.loads((out / "names.json").read_text())
        parts = [
            _summary(out / f"counts.{number + 1}") for number in range(2 * len(report["cases"]))
        ]
    # The first of each pair of parts is what lies between the cases.
    pairs = zip(report["cases"], parts[1::2], strict=True)
    return {
        "commit": _commit(checkout),
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": report["versions"],
        "instructions": {name: round(total / repeats) for (name, repeats), total in pairs},
    }


def draw(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write one line per case over the commits, on a logarithmic axis, PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4.5))
    names = list(dict.fromkeys(name for entry in history for name in entry["instructions"]))
    for name in names:
        points = [
            (at, entry["instructions"][name] / 1e6)
            for at, entry in enumerate(history)
            if name in entry["instructions"]
        ]
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set_yscale("log")
    axes.set_ylabel("million instructions per call")
    axes.set_xticks(range(len(history)), [entry["commit"] for entry in history], rotation=45)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _worker(names: str) -> None:
    """Run every case between two marks; this is what valgrind watches."""
    import cv2
    import numpy as np

    from edge_sim.analysis import benchmark

    # Valgrind is fifty times slower: a fifth of the references is enough to see a change.
    benchmark.REFERENCES_PER_STATE = 10
    bench = benchmark.make_bench("default")
    cases: list[tuple[str, int, Callable[[], object]]] = [
        (name, repeats, bench.cases[name]) for name, repeats in REPEATS.items()
    ]
    cases.append((SEARCH, SEARCH_REPEATS, _search()))
    mark = os.getpgid
    for _, _, case in cases:
        case()
    for _, repeats, case in cases:
        mark(0)
        for _ in range(repeats):
            case()
        mark(0)
    facts = benchmark.machine(bench.embedder, 1)
    versions = {key: facts[key] for key in ("cpu", "python", "runtime", "model")}
    versions |= {"numpy": np.__version__, "opencv": cv2.__version__}
    report = {"cases": [(name, repeats) for name, repeats, _ in cases], "versions": versions}
    Path(names).write_text(json.dumps(report))


def _search() -> Callable[[], object]:
    import numpy as np

    from edge_sim.core.vectors import normalised
    from edge_sim.search.indexes import open_index

    rng = np.random.default_rng(0)
    rows = normalised(rng.standard_normal((SEARCH_ROWS, 256), dtype=np.float32))
    index, query = open_index("exact", rows), rows[7]
    return lambda: index.search(query, 10)


def _summary(path: Path) -> int:
    """Return the instructions of one part of callgrind's output."""
    found = re.search(r"^(?:summary|totals): (\d+)", path.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{path.name}: no summary in callgrind's output")
    return int(found[1])


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=8"]
    report = subprocess.run(command, check=False, capture_output=True, text=True)
    return report.stdout.strip() or checkout.name


def _append(entry: Mapping[str, Any], path: Path) -> None:
    history = json.loads(path.read_text()) if path.exists() else []
    # Counting a commit again replaces what was counted before.
    kept = [item for item in history if item["commit"] != entry["commit"]]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([*kept, entry], indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkout", type=Path, default=ROOT, metavar="DIR")
    parser.add_argument("--history", type=Path, default=HISTORY, metavar="FILE")
    parser.add_argument("--draw-only", action="store_true", help="draw what was counted before")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
