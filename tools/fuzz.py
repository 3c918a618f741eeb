"""Feed malformed inputs by the hundred thousand.

    python tools/fuzz.py --count 100000 --out fuzz

Four targets: configurations, MQTT commands, HTTP requests to the web server, zips for an import.
Hypothesis makes the inputs and, where one fails, looks for the smallest that does. Every input must
end in a result or in an error of one line: no traceback, no hang, no file beside the folder of the
device. `fuzz/report.json` has the results; the exit code is 1 if anything went wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fuzzing import archives, commands, configuration
from fuzzing.trial import Tally, feed, watched


def configurations(folder: Path, count: int, seed: int) -> Tally:
    """Feed configurations."""

    def once(text: str) -> str:
        return configuration.read(text, folder)

    return feed(configuration.texts, once, count=count, seed_of_all=seed)


def mqtt(folder: Path, count: int, seed: int) -> Tally:  # noqa: ARG001 - writes nothing
    """Feed MQTT messages."""
    return feed(commands.messages, commands.publish, count=count, seed_of_all=seed)


def http(folder: Path, count: int, seed: int) -> Tally:  # noqa: ARG001 - writes nothing
    """Feed HTTP requests to a server on loopback."""
    with commands.served() as port:

        def once(request: bytes) -> str:
            return commands.post(request, port)

        return feed(commands.requests, once, count=count, seed_of_all=seed)


def imports(folder: Path, count: int, seed: int) -> Tally:
    """Feed zips."""
    with archives.importer(folder) as importer:
        return feed(archives.parcels, importer.once, count=count, seed_of_all=seed)


TARGETS: dict[str, Callable[[Path, int, int], Tally]] = {
    "configurations": configurations,
    "mqtt": mqtt,
    "http": http,
    "imports": imports,
}


def report_of(name: str, out: Path, count: int, seed: int) -> dict[str, Any]:
    """Feed one target and return the results."""
    folder = out / name / "device"
    folder.mkdir(parents=True)
    started_s = time.monotonic()
    with watched(folder) as beside:
        tally = TARGETS[name](folder, count, seed)
    return {
        "target": name,
        "inputs": tally.inputs,
        "outcomes": dict(sorted(tally.outcomes.items())),
        "failures": [*tally.failures, *beside][:20],
        "took_s": round(time.monotonic() - started_s, 1),
    }


def main(argv: list[str] | None = None) -> int:
    """Feed the targets and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--count", type=int, default=100_000, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="a new folder")
    args = parser.parse_args(argv)
    if unknown := set(args.targets) - TARGETS.keys():
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    args.out.mkdir(parents=True)
    reports = [report_of(name, args.out, args.count, args.seed) for name in args.targets or TARGETS]
    text = json.dumps(reports, indent=2, ensure_ascii=False)
    (args.out / "report.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 1 if any(item["failures"] for item in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
