"""Several workers give the same events as one."""

from __future__ import annotations

from pathlib import Path

from edge_sim.core.events import Event, PackReported, from_json_line
from edge_sim.io.sources.synthetic.source import scene_roi
from edge_sim.runtime.config import load_config
from edge_sim.runtime.daemon.daemon import Daemon
from tests.devices import make_gallery

SEEDS = (1, 2, 3)


def events_of(folder: Path, workers: int) -> list[Event]:
    """Return the events of a daemon over three drawn lamps, sorted by source."""
    folder.mkdir()
    roi = scene_roi("lamp")
    box = f"[{roi.x1}, {roi.y1}, {roi.x2}, {roi.y2}]"
    for seed in SEEDS:
        make_gallery(folder / "gallery.db", "lamp", watch=f"w{seed}")
    uri = "synthetic:lamp?seed={}&frames=90&dwell_s=5&nuisances=noise"
    source_lines = "".join(f"  s{seed}: {{uri: '{uri.format(seed)}'}}\n" for seed in SEEDS)
    watch_lines = "".join(f"  w{seed}: {{source: s{seed}, roi: {box}}}\n" for seed in SEEDS)
    path = folder / "config.yaml"
    path.write_text(
        f"model: {{path: thumbnail}}\nsources:\n{source_lines}watches:\n{watch_lines}"
        f"daemon: {{workers: {workers}}}\nsinks:\n  - {{kind: file, path: events.jsonl}}\n"
    )
    config = load_config(path)
    Daemon(config, reload=lambda: config).run()
    events = [from_json_line(line) for line in (folder / "events.jsonl").read_bytes().splitlines()]
    return sorted(events, key=_source_of)  # stable: their order within a source


def _source_of(event: Event) -> str:
    assert not isinstance(event, PackReported)
    return event.source


def test_two_workers_report_the_events_of_one(tmp_path: Path) -> None:
    one, two = events_of(tmp_path / "one", 1), events_of(tmp_path / "two", 2)
    assert set(map(_source_of, one)) == {"s1", "s2", "s3"}
    assert len(one) >= 6
    assert two == one
