"""Pictures of what a run did, to look at without the video.

timeline = Timeline()
timeline.describe("bowl", gallery, source="synthetic:bowl")
for step in steps(lanes):
    for outcome in step.outcomes:
        timeline.add(outcome)
write(timeline, Path("out.html"), title="synthetic:bowl")
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2

from edge_sim.analysis.report.pages import page, picture
from edge_sim.analysis.report.timeline import Timeline
from edge_sim.core.files import is_dir
from edge_sim.errors import DataError

SUFFIXES = (".html", ".png")


def check_path(path: Path) -> None:
    """Refuse a file that no report can be written to; call it before a long run, not after.

    Raises:
        DataError: Neither .html nor .png, or in a folder that does not exist.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: a report is written as .html or .png, so end its name in one")
    if not is_dir(path.parent):
        raise DataError(f"{path}: there is no folder {path.parent} to write the report to; make it")


def write(
    timeline: Timeline,
    path: Path,
    *,
    title: str,
    truth: Mapping[str, Sequence[tuple[float, str]]] | None = None,
) -> None:
    """Draw the timeline into a file, .html or .png by its suffix; an old one is replaced whole.

    Args:
        timeline: May be empty; the report then says so.
        path: In a folder that exists.
        title: Of the report: what was run.
        truth: Watch -> (captured_at_s, state) from which on the state was true, in time order.
            `transition` stands for a time that is not judged.

    Raises:
        DataError: Another suffix, or the file cannot be written.
    """
    check_path(path)
    known = truth or {}
    if path.suffix.lower() == ".html":
        content = page(timeline, title, known).encode()
    else:
        content = _png(timeline, title, known)
    try:
        _replace(path, content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path}: the report cannot be written there ({reason})") from error


def write_page(path: Path, document: str) -> None:
    """Write an HTML document; an old file is replaced whole.

    Raises:
        DataError: Another suffix than .html, or the file cannot be written.
    """
    if path.suffix.lower() != ".html":
        raise DataError(f"{path}: this report is written as .html, so end its name in that")
    try:
        # A name on the page need not be text; what is none is shown escaped.
        _replace(path, document.encode("utf-8", "backslashreplace"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path}: the report cannot be written there ({reason})") from error


def _png(timeline: Timeline, title: str, truth: Mapping[str, Sequence[tuple[float, str]]]) -> bytes:
    done, buffer = cv2.imencode(".png", picture(timeline, title, truth))
    if not done:
        raise DataError("OpenCV cannot encode the report as PNG")
    return buffer.tobytes()


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        # mkstemp makes a file for its owner alone; a report is as readable as any new file.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
