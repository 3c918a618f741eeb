"""Make the words that a collection can be searched by: nouns in the space of the default model.

    python tools/train_words.py --data ../shared/data/train --wordnet /usr/share/wordnet

Each class of the labelled photos has a centre: the mean of its embeddings, less the mean of all.
WordNet (Debian package wordnet-base) tells what a class is called besides, and which broader terms
it belongs to; the vector of a term is the mean of the centres of all classes below it. Nothing of
the photos or of WordNet's texts is kept but words and these means.
"""

from __future__ import annotations

import argparse
import re
import sys
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import decode
from edge_sim.core.protocols import Embedder
from edge_sim.core.vectors import normalised
from edge_sim.vision.embedders import open_embedder

OUT = Path(__file__).resolve().parent.parent / "models" / "edge_sim_small.words.npz"
MOST_PER_CLASS = 40
_SUFFIXES = re.compile(r"(_side|_head|_face|_body|s)$")
Synsets = Mapping[int, tuple[tuple[str, ...], tuple[int, ...]]]


def main() -> None:
    """Embed the photos, follow WordNet upwards, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of tar files")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    synsets, senses = read_wordnet(args.wordnet)
    embedder = open_embedder("default")
    vectors, names = _embedded(args.data, embedder)
    centred = normalised(vectors - vectors.mean(axis=0))
    centres = {
        name: normalised(centred[[at for at, own in enumerate(names) if own == name]].mean(axis=0))
        for name in sorted(set(names))
    }
    words, rows, terms = word_vectors(centres, synsets, senses)
    numbers = np.round(127 * terms).astype(np.int8)
    np.savez_compressed(
        args.out,
        words=np.array(words),
        rows=np.array(rows, np.int32),
        vectors=numbers,
        model_id=np.array(embedder.model_id),
    )
    print(f"{args.out}: {len(words)} words, {len(terms)} meanings, {args.out.stat().st_size} bytes")


def read_wordnet(folder: Path) -> tuple[Synsets, Mapping[str, tuple[int, ...]]]:
    """Return number -> (lemmas, numbers of the broader synsets), and lemma -> numbers by use.

    Layout: wndb(5WN) of WordNet 3.0.
    """
    synsets = {}
    for line in _lines(folder / "data.noun"):
        parts = line.split("|")[0].split()
        count = int(parts[3], 16)
        lemmas = tuple(parts[4 + 2 * at].lower() for at in range(count))
        pointers = parts[5 + 2 * count :]
        broader = tuple(
            int(pointers[at + 1]) for at in range(0, len(pointers) - 3, 4) if pointers[at] == "@"
        )
        synsets[int(parts[0])] = (lemmas, broader)
    senses = {}
    for line in _lines(folder / "index.noun"):
        parts = line.split()
        senses[parts[0]] = tuple(int(number) for number in parts[-int(parts[2]) :])
    return synsets, senses


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="latin-1") as file:
        yield from (line for line in file if not line.startswith("  "))


def word_vectors(
    centres: Mapping[str, NDArray[np.float32]],
    synsets: Synsets,
    senses: Mapping[str, tuple[int, ...]],
) -> tuple[list[str], list[int], NDArray[np.float32]]:
    """Return words, the row of each, and (R, D) float32 unit rows.

    A word of several meanings is their mean, the more frequent counting more.
    """
    below: defaultdict[int, list[str]] = defaultdict(list)
    for name in centres:
        number = _meaning_of(name, senses)
        for above in _with_broader(number, synsets) if number is not None else ():
            below[above].append(name)
    meanings = {
        number: normalised(np.sum([centres[name] for name in names], axis=0))
        for number, names in below.items()
    }
    lemmas = sorted({lemma for number in meanings for lemma in synsets[number][0]})
    words: list[str] = []
    rows: list[int] = []
    found: list[NDArray[np.float32]] = []
    known: dict[tuple[int, ...], int] = {}
    for lemma in lemmas:
        order = tuple(number for number in senses.get(lemma, ()) if number in meanings)
        if not order:
            continue
        if order not in known:
            known[order] = len(found)
            parts = [meanings[number] / rank for rank, number in enumerate(order, 1)]
            found.append(normalised(np.sum(parts, axis=0)))
        words.append(lemma.replace("_", " "))
        rows.append(known[order])
    return words, rows, np.stack(found)


def _meaning_of(name: str, senses: Mapping[str, tuple[int, ...]]) -> int | None:
    """Return the most frequent meaning of the name of a class; None if WordNet has none."""
    plain = name.rpartition("/")[2].lower().replace(" ", "_")
    for form in (plain, plain.replace("-", "_"), _SUFFIXES.sub("", plain)):
        for written in (form, form.replace("_", "-"), form.replace("_", "")):
            if written in senses:
                return senses[written][0]
    return None


def _with_broader(number: int, synsets: Synsets) -> set[int]:
    found: set[int] = set()
    waiting = [number]
    while waiting:
        at = waiting.pop()
        if at not in found:
            found.add(at)
            waiting.extend(synsets[at][1])
    return found


def _embedded(folder: Path, embedder: Embedder) -> tuple[NDArray[np.float32], list[str]]:
    vectors, names = [], []
    counts: Counter[str] = Counter()
    for path in sorted(folder.glob("*.tar")):
        print(path.name, file=sys.stderr)
        with tarfile.open(path) as tar:
            for member in tar:
                name = member.name.rpartition("/")[0]
                if not member.isfile() or name.endswith("/0") or counts[name] >= MOST_PER_CLASS:
                    continue
                stream = tar.extractfile(member)
                if stream is None or not name:
                    continue
                counts[name] += 1
                vectors.append(embedder.embed(decode(stream.read())).vector)
                names.append(name)
    return np.stack(vectors), names


if __name__ == "__main__":
    main()
