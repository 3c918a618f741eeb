#!/usr/bin/env python3
"""Measure what regions of pictures bring to a search, and cost, on a folder of photos.

    python tools/measure_regions.py ../corel --crops 300

A crop of 0.4 of the sides, anywhere, of some of the photos is the query: the part of them whose
source is found first, with and without `index build --regions`, beside processor time per photo,
size on disk, and processor time of a search. With `--wholes`, whole photos are queries too: the
mean average precision of those in the same folder, when all are ranked.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edge_sim.core.types import BgrImage
from edge_sim.search.build import update
from edge_sim.search.frames import read_entry
from edge_sim.search.queries import enough_px, query_of_pixels
from edge_sim.search.regions import reading_px
from edge_sim.search.rows import IndexPlan
from edge_sim.search.searcher import Collection, Searcher, SearchFilter, collection_of_index
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder

SIDE = 0.4
HITS = 10


def crop(pixels: BgrImage, x: float, y: float) -> BgrImage:
    """Return the part of `SIDE` of the sides whose first corner is at (x, y), fractions."""
    height, width = pixels.shape[:2]
    rows = slice(round(y * height), round((y + SIDE) * height))
    columns = slice(round(x * width), round((x + SIDE) * width))
    return np.ascontiguousarray(pixels[rows, columns])


def average_precision(relevant: NDArray[np.bool_]) -> float:
    """Return the average precision of a ranking of everything."""
    places = np.flatnonzero(relevant)
    return float(np.mean(np.arange(1, len(places) + 1) / (places + 1))) if len(places) else 0.0


class Measurement:
    """Measurement of one index.

    Args:
        root: Folder of the photos.
        kept: The collection of the index.
        regions: Whether it keeps regions.
    """

    def __init__(self, root: Path, kept: Collection, *, regions: bool) -> None:
        self._root = root
        self._kept = kept
        self._searcher = Searcher(kept)
        self._embedder = open_embedder()
        self._side_px = reading_px(enough_px(self._embedder), regions=regions)

    def crops(self, rows: Sequence[int]) -> tuple[float, float]:
        """Return the part of the crops whose source comes first, and milliseconds per search."""
        rng = np.random.default_rng(1)
        first, times = 0, []
        for row in rows:
            pixels = crop(read_entry(self._path(row)), *rng.uniform(0.0, 1.0 - SIDE, 2))
            query = query_of_pixels(pixels, self._embedder, cut_bars=True)
            at_s = time.process_time()
            hits = self._searcher.search(query, SearchFilter(top_k=HITS)).hits
            times.append(1000.0 * (time.process_time() - at_s))
            first += hits[0].row == row
        return first / len(rows), float(np.median(times))

    def wholes(self, rows: Sequence[int]) -> float:
        """Return the mean average precision of whole photos."""
        names = np.array([Path(name).parent.name for name in self._kept.names])
        found = []
        for row in rows:
            pixels = read_entry(self._path(row), self._side_px)
            query = query_of_pixels(pixels, self._embedder, cut_bars=True)
            hits = self._searcher.search(query, SearchFilter(top_k=len(names))).hits
            ranked = [hit.row for hit in hits if hit.row != row]
            found.append(average_precision(names[ranked] == names[row]))
        return float(np.mean(found))

    def _path(self, row: int) -> Path:
        return self._root / self._kept.names[row]


def main() -> None:
    """Print the figures, a line per index."""
    parser = argparse.ArgumentParser(description="Measure what regions bring and cost.")
    parser.add_argument("folder", type=Path, help="photos, a folder per class")
    parser.add_argument("--crops", type=int, default=300, help="number of queries (300)")
    parser.add_argument("--wholes", action="store_true", help="rank by whole photos as well")
    args = parser.parse_args()
    root, embedder = args.folder.resolve(), open_embedder()
    for regions in (False, True):
        plan = IndexPlan(root, embedder.model_id, regions=regions)
        with (
            tempfile.TemporaryDirectory() as folder,
            IndexStore.open(Path(folder) / "index", create=plan) as store,
        ):
            at_s = time.process_time()
            update(store, embedder)
            each_ms = 1000.0 * (time.process_time() - at_s)
            kept, size = collection_of_index(store), store.info().bytes_on_disk
            rows = np.random.default_rng(2).permutation(len(kept.names))[: args.crops].tolist()
            measured = Measurement(root, kept, regions=regions)
            first, search_ms = measured.crops(rows)
            whole = f", mAP {measured.wholes(rows):.3f}" if args.wholes else ""
            print(
                f"regions {'yes' if regions else 'no '}: {len(kept.names)} photos, source of a "
                f"crop first {first:.3f}{whole}, {each_ms / len(kept.names):.1f} ms per photo, "
                f"{size / 1e6:.1f} MB, {search_ms:.1f} ms per search",
                flush=True,
            )


if __name__ == "__main__":
    main()
