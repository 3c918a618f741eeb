"""A device that is killed at random instants, over and over, and what it leaves behind.

    python -m tests.io.outbox.killed_writer FOLDER KILLS SEED

Each life opens the outbox in FOLDER, puts numbered events of two watches, says on a pipe which
numbers are safe, and delivers to a file sink. After KILLS lives one more delivers the rest. Then
the file must hold every number that was said to be safe, in order per watch, and an id must never
stand for two numbers. Prints a JSON report.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
from itertools import count
from pathlib import Path

from edge_sim.core.events import StateChanged, from_json_line
from edge_sim.io.outbox.delivery import Delivery
from edge_sim.io.outbox.outbox import Outbox
from edge_sim.io.sinks.file import FileSink
from edge_sim.io.sinks.options import FileOptions
from tests.io.outbox.events import changed

WATCHES = ("gate", "bowl")


def live(folder: Path, said: int) -> None:
    """Work until killed; the numbers go on after the last one that is on disk."""
    sink = FileSink.open(FileOptions(path=str(folder / "events.jsonl")))
    outbox = Outbox.open(folder / "outbox.db", [sink.name])
    Delivery(outbox, [sink]).start()
    last = outbox.latest()
    start = max([0, *(event.frame for event in last.values())]) + 1
    for number in count(start):
        outbox.put([changed(number, watch) for watch in WATCHES])
        os.write(said, f"{number}\n".encode())


def one_life(folder: Path, commits: int, then_s: float) -> list[int]:
    """Kill a life some time after it said that many numbers; return all that it said.

    Counted in commits and not by the clock, so that a slow machine does as much.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            live(folder, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as lines:
        said = [int(lines.readline()) for _ in range(commits)]
        select.select([], [], [], then_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return said + [int(line) for line in lines]


def deliver_the_rest(folder: Path) -> None:
    sink = FileSink.open(FileOptions(path=str(folder / "events.jsonl")))
    outbox = Outbox.open(folder / "outbox.db", [sink.name])
    delivery = Delivery(outbox, [sink])
    delivery.start()
    if not delivery.close(drain_s=250.0):
        raise SystemExit("the rest was not delivered")
    outbox.close()


def report(folder: Path, safe: set[int]) -> dict[str, int]:
    numbers: dict[str, list[int]] = {watch: [] for watch in WATCHES}
    number_of: dict[str, int] = {}
    broken = 0
    for line in (folder / "events.jsonl").read_bytes().splitlines():
        try:
            event = from_json_line(line)
        except ValueError:
            broken += 1  # cut short by a kill; the event comes again
            continue
        if not isinstance(event, StateChanged):
            raise TypeError(f"{event} was never put")
        if number_of.setdefault(event.id, event.frame) != event.frame:
            raise SystemExit(f"id {event.id} stands for two events")
        numbers[event.watch].append(event.frame)
    again = 0
    for watch, found in numbers.items():
        firsts = list(dict.fromkeys(found))
        again += len(found) - len(firsts)
        if firsts != sorted(firsts):
            raise SystemExit(f"{watch}: out of order")
        if lost := safe - set(firsts):
            raise SystemExit(f"{watch}: lost {sorted(lost)[:5]} of {len(safe)}")
    return {"safe": len(safe), "delivered_again": again, "broken_lines": broken}


def main(folder: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    safe: set[int] = set()
    for _ in range(kills):
        safe.update(one_life(folder, rng.choice((0, 1, 1, 2, 5)), rng.uniform(0.0, 0.03)))
    deliver_the_rest(folder)
    sys.stdout.write(json.dumps({"kills": kills, **report(folder, safe)}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
