"""HTML pages: the timeline of a run, diagrams, grids of pictures, and one event explained.

timeline = Timeline()
timeline.describe("bowl", gallery, source="synthetic:bowl")
for step in device.steps():
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

from edge_sim.analysis.report.pages import page
from edge_sim.analysis.report.timeline import Timeline
from edge_sim.core.files import is_dir
from edge_sim.errors import DataError


def check_path(path: Path) -> None:
    """Check that a report can be written to a file; call it before a long run, not after.

    Raises:
        DataError: The suffix is not .html, or the folder does not exist.
    """
    if path.suffix.lower() != ".html":
        raise DataError(
            f"{path}: reports are HTML; give a name that ends in .html, such as "
            f"{path.with_suffix('.html').name}"
        )
    if not is_dir(path.parent):
        raise DataError(f"{path}: there is no folder {path.parent} to write the report to; make it")


def write(
    timeline: Timeline,
    path: Path,
    *,
    title: str,
    truth: Mapping[str, Sequence[tuple[float, str]]] | None = None,
) -> None:
    """Write the timeline as an HTML page; an old file is replaced whole.

    Args:
        timeline: Record of the run; may be empty, which the page then states.
        path: File in a folder that exists.
        title: Title of the page: the command or source that ran.
        truth: Watch -> (captured_at_s, state) from which on the state was true, in time order.
            `transition` marks time that is not judged.

    Raises:
        DataError: The suffix is not .html, or the file cannot be written.
    """
    write_page(path, page(timeline, title, truth or {}))


def write_page(path: Path, document: str) -> None:
    """Write an HTML document; an old file is replaced whole.

    Raises:
        DataError: The suffix is not .html, or the file cannot be written.
    """
    check_path(path)
    try:
        # Names of files may hold bytes that are no text; the page shows them escaped.
        _replace(path, document.encode("utf-8", "backslashreplace"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path}: the report cannot be written there ({reason})") from error


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
