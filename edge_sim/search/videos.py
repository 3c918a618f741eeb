"""Videos in an index: frames become rows that are named by file and second.

The entry of the video itself has no content. It keeps size and time of the file, and as its fault
which frames were taken: an unchanged video costs nothing, another choice of frames reads it again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from edge_sim.core.files import printable
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import BgrImage
from edge_sim.errors import AccessError, ModelError, SourceError
from edge_sim.search.embedding import embedded_picture
from edge_sim.search.frames import file_of, frame_path, sampled_frames
from edge_sim.search.rows import (
    LEFT_OUT,
    VIDEO,
    EmbeddedFile,
    IndexPlan,
    Known,
)
from edge_sim.search.store import IndexStore

FRAMES_PER_BATCH = 64
"""Frames per transaction."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoTask:
    """Video to be read.

    Args:
        known: Its entry as it will be, without a fault.
        frames: Entries of its frames in the index.
        is_named: Whether frames that were left out by hand come back.
    """

    known: Known
    frames: Mapping[Path, Known]
    is_named: bool


@dataclass(slots=True)
class FrameReport:
    """Outcome of the videos of an update; counts of frames, as those of pictures.

    Args:
        new: Frames that were not in the index.
        changed: Frames with other content than before.
        unchanged: Frames that are as before.
        embedded: Frames that went through the model.
        left_out: Frames that stay left out by hand.
        unread: Videos that cannot be read to their end, with the reason.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    embedded: int = 0
    left_out: int = 0
    unread: tuple[tuple[Path, str], ...] = ()


def video_tasks(
    videos: Mapping[Path, Known],
    known: Mapping[Path, Known],
    plan: IndexPlan,
    named: Sequence[Path],
    report: FrameReport,
) -> list[VideoTask]:
    """Return the videos that are new, changed, or were read for other frames.

    Args:
        videos: Entries of the videos of the folder, without a fault.
        known: All entries of the index.
        plan: Settings of the index.
        named: Files and folders that were asked for.
        report: Counts to raise.
    """
    frames: dict[Path, dict[Path, Known]] = {path: {} for path in videos}
    for path, item in known.items():
        video = file_of(path)
        if video != path and video in frames:
            frames[video][path] = item
    tasks = []
    for path, now in videos.items():
        before, own = known.get(path), frames[path]
        left_out = [item for item in own.values() if item.fault == LEFT_OUT]
        is_named = any(path.is_relative_to(item) for item in named)
        same = before is not None and (before.size, before.mtime_ns) == (now.size, now.mtime_ns)
        fault = "" if before is None else before.fault or ""
        is_done = fault == done_mark(plan) or (bool(fault) and not fault.startswith(VIDEO))
        if not same or not is_done or (is_named and left_out):
            tasks.append(VideoTask(now, own, is_named))
            continue
        report.unchanged += len(own) - len(left_out)
        report.left_out += len(left_out)
        if not fault.startswith(VIDEO):
            report.unread += ((path, fault),)
    return tasks


def embed_videos(
    store: IndexStore,
    embedder: Embedder,
    tasks: Sequence[VideoTask],
    report: FrameReport,
    *,
    bare: set[int],
    progress: tuple[int, int] | None,
) -> Generator[Path, None, None]:
    """Yield the videos as they are done; frames that were read are kept, however this ends.

    Args:
        store: Open index.
        embedder: Embedder of its model.
        tasks: Videos to read.
        report: Counts to raise.
        bare: Contents that lack their regions, to be embedded again.
        progress: Number of files that were done before, and of all; None keeps no progress.
    """
    for number, task in enumerate(tasks, 1):
        kept: set[Path] = set()
        fault = done_mark(store.plan)
        known = task.known
        frames = _embedded_frames(store, embedder, task, report, bare)
        try:
            for batch in _batches(frames):
                kept.update(_path_of(item) for item in batch)
                store.put(batch)
        except AccessError as error:
            fault, known = _reason(error, store, task), replace(known, mtime_ns=-1)
        except (SourceError, ModelError) as error:
            fault = _reason(error, store, task)
        if not fault.startswith(VIDEO):
            report.unread += ((known.path, fault),)
        store.forget([path for path in task.frames if path not in kept])
        counted = None if progress is None else (progress[0] + number, progress[1])
        store.put([replace(known, fault=fault)], progress=counted)
        yield known.path


def _embedded_frames(
    store: IndexStore, embedder: Embedder, task: VideoTask, report: FrameReport, bare: set[int]
) -> Iterator[EmbeddedFile | Known]:
    plan = store.plan
    found = sampled_frames(plan.root / task.known.path, plan.frames)
    for at_s, pixels in found:
        path = frame_path(task.known.path, at_s)
        before = task.frames.get(path)
        known = replace(task.known, path=path)
        if before is not None and before.fault == LEFT_OUT and not task.is_named:
            report.left_out += 1
            yield replace(known, fault=LEFT_OUT)
            continue
        digest = _digest(pixels)
        content = store.hashes([digest]).get(digest)
        if before is None or before.content is None:
            report.new += 1
        elif before.content == content:
            report.unchanged += 1
        else:
            report.changed += 1
        if content is not None and content not in bare:
            yield replace(known, content=content)
            continue
        report.embedded += 1
        shape = pixels.shape[1], pixels.shape[0]
        yield embedded_picture(known, digest, pixels, embedder, plan, shape=shape)


def done_mark(plan: IndexPlan) -> str:
    """Return what the entry of a video holds as its fault when its frames are in the index."""
    return f"{VIDEO}{plan.frames}{' with regions' if plan.regions else ''}"


def _batches(
    items: Iterator[EmbeddedFile | Known],
) -> Iterator[list[EmbeddedFile | Known]]:
    """Yield items in batches; what was there before an error comes before the error."""
    batch: list[EmbeddedFile | Known] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == FRAMES_PER_BATCH:
                yield batch
                batch = []
    except (SourceError, ModelError):
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _path_of(item: EmbeddedFile | Known) -> Path:
    return item.known.path if isinstance(item, EmbeddedFile) else item.path


def _digest(pixels: BgrImage) -> bytes:
    """Return what stands for the SHA-256 of a file."""
    shape = f"{pixels.shape[1]}x{pixels.shape[0]}\0".encode()
    return sha256(shape + np.ascontiguousarray(pixels).tobytes()).digest()


def _reason(error: SourceError | ModelError, store: IndexStore, task: VideoTask) -> str:
    """Return the message without the path, which is named before it."""
    text = str(error)
    name = f"{printable(store.plan.root / task.known.path)}: "
    return text[len(name) :] if text.startswith(name) else text
