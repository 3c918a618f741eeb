"""Any row of changes leaves the file equal to a plain model of it, at every revision."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_sim.gallery.records import Reworked
from edge_sim.gallery.store import GalleryStore
from tests.gallery.builders import embedding, enrolled

Content = dict[str, tuple[str, str, tuple[str, ...], bytes]]
"""Of each id: watch, state, tags, vector."""

watches = st.sampled_from(["bowl", "gate"])
states = st.sampled_from(["open", "shut", "ajar"])


class GalleryMachine(RuleBasedStateMachine):
    """The store beside a list of snapshots and a stack of what `undo` goes back to."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="edge_sim-test-"))
        self.store = GalleryStore.open(self.folder / "gallery.db", create=True)
        self.snapshots: list[Content] = [{}]
        self.undoable: list[Content] = []
        self.made = 0

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)

    @property
    def now(self) -> Content:
        return self.snapshots[-1]

    def changed(self, content: Content) -> None:
        self.undoable.append(self.now)
        self.snapshots.append(content)

    @rule(watch=watches, chosen=st.lists(states, min_size=1, max_size=3))
    def add(self, watch: str, chosen: list[str]) -> None:
        items = [enrolled(self.made + at, state) for at, state in enumerate(chosen)]
        content = dict(self.now)
        for item in items:
            self.made += 1
            vector = item.embedding.vector.tobytes()
            content[f"r{self.made}"] = (watch, item.state, (), vector)
        self.store.add(watch, items)
        self.changed(content)

    @precondition(lambda self: self.now)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        gone = self.some(data)
        self.store.remove(gone)
        self.changed({name: row for name, row in self.now.items() if name not in gone})

    @precondition(lambda self: self.now)
    @rule(data=st.data(), state=states)
    def relabel(self, data: st.DataObject, state: str) -> None:
        chosen = self.some(data)
        self.store.relabel(chosen, state)
        self.changed(self.with_rows(chosen, state=state))

    @precondition(lambda self: self.now)
    @rule(data=st.data(), watch=watches)
    def move(self, data: st.DataObject, watch: str) -> None:
        chosen = self.some(data)
        self.store.move(chosen, watch)
        self.changed(self.with_rows(chosen, watch=watch))

    @precondition(lambda self: self.now)
    @rule(data=st.data(), tag=st.sampled_from(["night", "snow"]), on=st.booleans())
    def tag(self, data: st.DataObject, tag: str, on: bool) -> None:
        chosen = self.some(data)
        self.store.tag(chosen, **{"add" if on else "drop": [tag]})
        content = dict(self.now)
        for name in chosen:
            watch, state, tags, vector = content[name]
            new = (set(tags) | {tag}) if on else (set(tags) - {tag})
            content[name] = (watch, state, tuple(sorted(new)), vector)
        self.changed(content)

    @precondition(lambda self: self.now)
    @rule(data=st.data(), seed=st.integers(100, 200))
    def rework(self, data: st.DataObject, seed: int) -> None:
        chosen = self.some(data)
        fresh = embedding(seed)
        self.store.rework([Reworked(name, fresh, enrolled(seed).thumbnail) for name in chosen])
        self.changed(self.with_rows(chosen, vector=fresh.vector.tobytes()))

    @precondition(lambda self: self.undoable)
    @rule()
    def undo(self) -> None:
        self.store.undo()
        self.snapshots.append(self.undoable.pop())

    @precondition(lambda self: len(self.snapshots) > 1)
    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        target = data.draw(st.integers(0, len(self.snapshots) - 2))
        self.store.rollback(target)
        self.changed(self.snapshots[target])

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = GalleryStore.open(self.folder / "gallery.db")

    @invariant()
    def every_revision_is_as_it_was(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.store.revision == len(self.snapshots) - 1
        last = len(self.snapshots) - 1
        for number in {0, last // 2, last - 1, last} - {-1}:
            assert self.content(number) == self.snapshots[number]

    @invariant()
    def nothing_is_damaged(self) -> None:
        if hasattr(self, "store"):
            assert self.store.check() == ()

    def some(self, data: st.DataObject) -> list[str]:
        known = st.sampled_from(sorted(self.now))
        return data.draw(st.lists(known, min_size=1, max_size=4, unique=True))

    def with_rows(
        self,
        chosen: list[str],
        *,
        watch: str | None = None,
        state: str | None = None,
        vector: bytes | None = None,
    ) -> Content:
        content = dict(self.now)
        for name in chosen:
            old = content[name]
            content[name] = (watch or old[0], state or old[1], old[2], vector or old[3])
        return content

    def content(self, revision: int) -> Content:
        records = {item.reference_id: item for item in self.store.records(revision=revision)}
        found: Content = {}
        for watch in ("bowl", "gate"):
            for reference in self.store.gallery(watch, revision=revision):
                record = records[reference.reference_id]
                vector = reference.embedding.vector.tobytes()
                assert (record.watch, record.state) == (watch, reference.state)
                found[reference.reference_id] = (watch, record.state, record.tags, vector)
        assert found.keys() == records.keys()
        return found


TestGallery = GalleryMachine.TestCase
TestGallery.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
