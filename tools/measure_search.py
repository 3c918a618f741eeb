#!/usr/bin/env python3
"""Measure searches in words, and groups of a map, on labelled photos.

    python tools/measure_search.py words ../shared/data/retrieval/*.tar
    python tools/measure_search.py groups ../shared/data/retrieval/*.tar

A tar holds `<class>/<picture>`. `words` searches for the name of every class, or for that of the
coarse class where the fine ones are brands and breeds, and prints the precision of the first ten
and the average precision of the whole ranking; a name without a known word counts as zero.
`groups` prints the adjusted mutual information of groups and classes: 1 is equal, 0 is chance.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edge_sim.analysis.evaluation.datasets import read_labelled
from edge_sim.analysis.evaluation.metrics import average_precision
from edge_sim.cli.model import user_models
from edge_sim.core.types import FloatMatrix, FloatVector
from edge_sim.errors import ModelError, SearchError
from edge_sim.search.bars import embedding_of
from edge_sim.search.picture_map import (
    GROUPINGS,
    HDBSCAN,
    LAYOUTS,
    MAX_GROUPS,
    MapPlan,
    picture_map,
)
from edge_sim.search.words import open_words
from edge_sim.vision.dual_encoders.install import encoder_folder
from edge_sim.vision.dual_encoders.onnx_encoder import open_dual_encoder
from edge_sim.vision.embedders import open_embedder

Names = npt.NDArray[np.str_]
Query = Callable[[str], FloatVector]

COARSE = {
    "apple": "Golden-Delicious Granny-Smith Pink-Lady Red-Delicious Royal-Gala",
    "melon": "Cantaloupe Galia-Melon Honeydew-Melon Watermelon",
    "pear": "Anjou Conference Kaiser",
    "red grapefruit": "Red-Grapefruit",
    "oatghurt": "Oatly-Natural-Oatghurt",
    "oat milk": "Oatly-Oat-Milk",
    "sour cream": "Arla-Ecological-Sour-Cream Arla-Sour-Cream",
    "sour milk": "Arla-Sour-Milk",
    "soyghurt": "Alpro-Blueberry-Soyghurt Alpro-Vanilla-Soyghurt",
    "soy milk": "Alpro-Fresh-Soy-Milk Alpro-Shelf-Soy-Milk",
    "mushroom": "Brown-Cap-Mushroom",
    "pepper": "Green-Bell-Pepper Orange-Bell-Pepper Red-Bell-Pepper Yellow-Bell-Pepper",
    "potato": "Floury-Potato Solid-Potato Sweet-Potato",
    "tomato": "Beef-Tomato Regular-Tomato Vine-Tomato",
    "onion": "Yellow-Onion",
}
"""Coarse classes of the Grocery Store data set whose names are not those of the fine ones; juice,
milk and yoghurt are found by the ends of the names."""


def coarse(name: str) -> str:
    """Return the coarse class of a class."""
    for kind, members in COARSE.items():
        if name in members.split():
            return kind
    for kind in ("juice", "milk", "yoghurt"):
        if name.lower().endswith(f"-{kind}"):
            return kind
    if name.startswith("Tropicana-"):
        return "juice"
    return name.lower().replace("-", " ")


def embedded(path: Path) -> tuple[FloatMatrix, Names]:
    """Return (N, D) vectors of the default model, and the classes of the pictures of a tar."""
    embedder = open_embedder("default")
    vectors, names = [], []
    for item in read_labelled(path):
        vectors.append(embedding_of(item.pixels, embedder, cut_bars=True).vector)
        names.append(item.label)
    return np.stack(vectors), np.array(names)


def by_text_model(folder: Path, path: Path) -> tuple[FloatMatrix, Names, Query]:
    """Return the vectors of a dual encoder, the classes, and a function from words to a vector."""
    encoder = open_dual_encoder(folder)
    vectors, names = [], []
    for item in read_labelled(path):
        vectors.append(encoder.embed_picture(item.pixels))
        names.append(item.label)
    return np.stack(vectors), np.array(names), encoder.embed_text


def by_nouns(path: Path) -> tuple[FloatMatrix, Names, Query]:
    """Return the same of the default model and the nouns that come with edge_sim."""
    words = open_words(open_embedder("default").model_id)
    return *embedded(path), lambda name: words.query(name)[0].embedding.vector


def measure_words(path: Path, text_model: Path | None) -> None:
    """Print the figures of each class name as a query."""
    rows, fine, query = by_nouns(path) if text_model is None else by_text_model(text_model, path)
    names = np.array([coarse(name) for name in fine.tolist()])
    firsts, averages, unknown = [], [], []
    print(f"{path.stem}: {len(rows)} pictures, {len(np.unique(names))} names")
    for name in np.unique(names).tolist():
        try:
            vector = query(name)
        except (SearchError, ModelError):
            unknown.append(name)
            firsts.append(0.0)
            averages.append(0.0)
            continue
        relevant = names[np.argsort(-(rows @ vector), kind="stable")] == name
        firsts.append(float(relevant[:10].mean()))
        averages.append(average_precision(relevant))
        print(f"  {name:<20} precision@10 {firsts[-1]:.2f}  AP {averages[-1]:.3f}")
    print(f"  unknown: {', '.join(unknown) or 'none'}")
    known = max(1, len(firsts) - len(unknown))
    for label, count in (("all", len(firsts)), ("known", known)):
        p_at_10, mean = sum(firsts) / count, sum(averages) / count
        print(f"  mean of {label} {count}: precision@10 {p_at_10:.3f}, mAP {mean:.3f}")


def measure_groups(path: Path) -> None:
    """Print how well the groups of each layout and grouping agree with the classes."""
    from sklearn.metrics import adjusted_mutual_info_score

    rows, names = embedded(path)
    wanted = min(len(np.unique(names)), MAX_GROUPS)
    for layout in LAYOUTS:
        for grouping in GROUPINGS:
            plan = MapPlan(layout, grouping, None if grouping == HDBSCAN else wanted)
            found = picture_map(rows, plan)
            agree = adjusted_mutual_info_score(names, found.groups)
            print(
                f"{path.stem}: {layout}, {grouping}: {agree:.3f} "
                f"({len(found.typical)} groups, {len(found.ungrouped)} pictures in none)"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every tar that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("words", "groups"))
    parser.add_argument("tars", nargs="+", type=Path, metavar="TAR")
    parser.add_argument("--text-model", metavar="NAME", help="words by a dual encoder")
    args = parser.parse_args(arguments)
    folder = None if args.text_model is None else encoder_folder(args.text_model, user_models())
    for path in args.tars:
        measure_words(path, folder) if args.what == "words" else measure_groups(path)


if __name__ == "__main__":
    main()
