"""Run hours of operation in minutes: four cameras with every fault, one daemon, real sinks.

    python tools/soak.py --frames 1000000 --out soak
    python tools/soak.py --stream 100 --out stream

Time is data: frames carry times a second apart and come as fast as they are processed. Cameras are
lost, do not open, freeze, tear, go dark, give noise; the clock jumps by a day; the receiver of the
webhook refuses, hangs up and goes away; people teach, edit the gallery and break the configuration;
gallery and outbox are locked by others. Checked at the end: no event lost or delivered twice, the
last state right, no growth of memory, descriptors or threads. The results are in
`soak/report.json` and `soak/soak.html`; the exit code is 1 if something is wrong. With --stream, in
real time: a camera on loopback is cut, frozen, garbled, silenced and brought back so many times;
does the daemon find it again within its pauses, and is no thread or descriptor left over?
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from soaking.device import WATCH_OF
from soaking.judgement import problems_of, wrong_end
from soaking.operation import Operation
from soaking.samples import LIMITS, draw, grown, growth
from soaking.stream import StreamTrial

_ENOUGH = 50_000
"""Frames of warming up, after which growth is measured."""


def report_of(operation: Operation, frames: int, took_s: float) -> dict[str, object]:
    """Return the report of a run."""
    filed, hooked = operation.filed(), operation.hooked()
    shown = {WATCH_OF[name]: camera.state for name, camera in operation.cameras.items()}
    problems = problems_of(filed) + problems_of(hooked) + wrong_end(filed, shown)
    if set(filed) != set(hooked):
        problems.append(f"the file has {len(set(filed))} events, the webhook {len(set(hooked))}")
    if frames >= _ENOUGH:
        problems += grown(operation.samples)
    samples = operation.samples
    return {
        "frames": frames,
        "steps": operation.steps,
        "looks": operation.looks,
        "embedded": operation.embedded,
        "took_s": round(took_s, 1),
        "state_changes_shown": sum(camera.changes for camera in operation.cameras.values()),
        "events": len(set(filed)),
        "delivered_again": len(filed) + len(hooked) - len(set(filed)) - len(set(hooked)),
        "reloads": operation.reloads,
        "troubles": operation.troubles,
        "problems": problems[:20],
        "growth_after_a_third": {key: round(growth(samples, key), 3) for key in LIMITS},
        "first": dataclasses.asdict(samples[0]) if samples else None,
        "last": dataclasses.asdict(samples[-1]) if samples else None,
    }


def main(argv: list[str] | None = None) -> int:
    """Run the soak and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000, help="of all cameras together")
    parser.add_argument("--stream", type=int, metavar="CYCLES", help="break a real stream instead")
    parser.add_argument("--model", choices=("default", "thumbnail"), default="default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("soak"), help="a new folder")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True)
    logging.basicConfig(filename=args.out / "soak.log", level=logging.WARNING)
    report = _streamed(args) if args.stream else _soaked(args)
    text = json.dumps(report, indent=2)
    (args.out / "report.json").write_text(text + "\n")
    print(text)
    return 1 if report["problems"] else 0


def _soaked(args: argparse.Namespace) -> dict[str, object]:
    operation = Operation(args.out, args.frames, args.seed, args.model)
    report = report_of(operation, args.frames, operation.run())
    draw(operation.samples, args.out / "soak.html", title=f"{args.frames} frames, four cameras")
    return report


def _streamed(args: argparse.Namespace) -> dict[str, object]:
    trial = StreamTrial(args.out, args.seed)
    trial.run(args.stream)
    return trial.report()


if __name__ == "__main__":
    sys.exit(main())
