"""A real night on a building site, decided again from its scores alone."""

from __future__ import annotations

from pathlib import Path

from edge_sim.analysis.replay import Reading, ReplayRun, compared
from edge_sim.core.events import StateChanged
from edge_sim.decision.pipeline import Pipeline, Watch
from edge_sim.gallery.enrolment import reference_of
from edge_sim.gallery.gallery import Gallery
from edge_sim.io.sources import open_source
from edge_sim.io.sources.pictures import read_picture
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.loop import SourceRunner, steps
from edge_sim.runtime.score_log import DecisionOrigin, ScoreLog, read_lines
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.embedders import open_embedder

FRAMES = 120


def test_a_real_clip_is_decided_again_as_it_was(real_data: Path, tmp_path: Path) -> None:
    clip = real_data / "sequences" / "sitecam_container_removed"
    pictures = sorted(clip.rglob("*.jpg"))
    assert len(pictures) > FRAMES
    embedder = open_embedder("thumbnail")
    ends = {"before": pictures[:4], "after": pictures[-4:]}
    gallery = Gallery(
        reference_of(embedder, read_picture(path), f"{state}-{number}", state, 0.0)
        for state, paths in ends.items()
        for number, path in enumerate(paths)
    )
    watch = Watch("site", gallery, stages_of(Config(), WatchConfig()))
    source = open_source(f"folder:{clip}?times=labels.csv")
    lane = SourceRunner(source, Pipeline(embedder, [watch], "crane"), live=False, now=lambda: 0.0)
    log = ScoreLog(tmp_path / "s.jsonl", every_s=0.0)
    decided = []
    for step in steps([lane]):
        if step.frame is None or step.frame.index >= FRAMES:
            break
        decided += [event.id for event in step.events if isinstance(event, StateChanged)]
        for outcome in step.outcomes:
            log.note(outcome, 0, DecisionOrigin("crane", step.frame.source, watch.decider))
    log.close()
    source.close()
    run = ReplayRun()
    reading = Reading([run])
    assert sum(1 for _ in reading.observations(read_lines([tmp_path / "s.jsonl"]))) == FRAMES
    assert decided
    assert [event.id for _, event in run.events] == decided
    assert compared(reading.logged, run.events).is_equal
    assert reading.is_exact
