"""Labelled folders and tars on disk, and sets in memory."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2

from edge_sim.analysis.evaluation.datasets import EmbeddedSet
from tests.pictured import picture, probe

START = datetime(2026, 3, 1, tzinfo=timezone.utc)


def write_set(folder: Path, labels: Sequence[str], *, step: timedelta | None = None) -> Path:
    """A folder with one drawn picture per label; `transition` shows the disc at the top."""
    folder.mkdir(parents=True)
    with (folder / "labels.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["frame", "state", "nuisance", *(["timestamp"] if step else [])])
        for at, label in enumerate(labels):
            drawn = "top" if label == "transition" else label
            cv2.imwrite(str(folder / f"{at:04}.png"), picture(drawn, at))
            moment = [(START + at * step).isoformat(sep=" ")] if step else []
            rows.writerow([f"{at:04}.png", label, "", *moment])
    return folder


def write_tar(path: Path, classes: Sequence[str], each: int) -> Path:
    """A tar of `<class>/<n>.png`."""
    with tarfile.open(path, "w") as archive:
        for name in classes:
            for at in range(each):
                data = cv2.imencode(".png", picture(name, at))[1].tobytes()
                member = tarfile.TarInfo(f"{name}/{at}.png")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def embedded_set(
    labels: Sequence[str | None], *, step_s: float = 900.0, start: int = 0
) -> EmbeddedSet:
    """A set in memory, dated; None shows the disc at the top."""
    probes = tuple(
        probe(label or "top", start + at, at_s=(start + at) * step_s)
        for at, label in enumerate(labels)
    )
    return EmbeddedSet("drawn", probes, tuple(labels), is_dated=True)
