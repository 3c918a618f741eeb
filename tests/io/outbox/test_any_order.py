"""Whatever happens in whatever order, each sink gets what it lacks, in order, across restarts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge_sim.io.outbox.outbox import Outbox
from edge_sim.io.outbox.queue import Bounds
from tests.io.outbox.events import changed

SINKS = ("a", "b")


class OutboxModel(RuleBasedStateMachine):
    """The outbox beside plain lists."""

    @initialize(on_disk=st.booleans())
    def open(self, on_disk: bool) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.on_disk = on_disk
        self.number = 0
        self.waiting: dict[str, list[str]] = {sink: [] for sink in SINKS}
        self.last: dict[str, str] = {}
        self.outbox = self.opened()

    def opened(self) -> Outbox:
        path = self.folder / "outbox.db" if self.on_disk else None
        return Outbox.open(path, SINKS, bounds=Bounds(max_bytes=10**9))

    @rule(count=st.integers(1, 3), watch=st.sampled_from(["gate", "bowl"]))
    def put(self, count: int, watch: str) -> None:
        events = [changed(self.number + at, watch) for at in range(count)]
        self.number += count
        assert self.outbox.put(events)
        for sink in SINKS:
            self.waiting[sink] += [event.id for event in events]
        self.last[watch] = events[-1].id

    @rule(sink=st.sampled_from(SINKS), count=st.integers(1, 4), rejected=st.booleans())
    def deliver(self, sink: str, count: int, rejected: bool) -> None:
        for item in self.outbox.pending(sink, count):
            assert item.event.id == self.waiting[sink].pop(0)
            self.outbox.confirm(sink, item.seq, rejected=rejected)

    @rule()
    def restart(self) -> None:
        self.outbox.close()
        if not self.on_disk:
            self.waiting = {sink: [] for sink in SINKS}
            self.last = {}
        self.outbox = self.opened()

    @invariant()
    def it_agrees_with_the_lists(self) -> None:
        if not hasattr(self, "outbox"):
            return
        counts = self.outbox.counts()
        assert counts.pending == {sink: len(ids) for sink, ids in self.waiting.items()}
        assert counts.waiting == max(len(ids) for ids in self.waiting.values())
        assert counts.unsaved == 0
        for sink, ids in self.waiting.items():
            assert [item.event.id for item in self.outbox.pending(sink, 100)] == ids
        assert {watch: event.id for watch, event in self.outbox.latest().items()} == self.last

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.outbox.close()
            shutil.rmtree(self.folder)


OutboxModel.TestCase.settings = settings(max_examples=10, stateful_step_count=20)
TestOutboxModel = OutboxModel.TestCase
