"""Words find pictures of what they name, and what is not known is said."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.images import decode
from edge_sim.core.resources import default_model_path
from edge_sim.errors import ModelError, SearchError
from edge_sim.search.words import WordEncoder, open_words
from edge_sim.vision.embedders import open_embedder

DATA = Path(os.environ.get("EDGE_SIM_DATA", "../shared")) / "data" / "retrieval" / "corel.tar"
LIMIT_BYTES = 2_000_000


@pytest.fixture(scope="module")
def words() -> WordEncoder:
    return open_words(open_embedder("default").model_id)


def test_plurals_and_phrases_are_the_words_themselves(words: WordEncoder) -> None:
    one, none = words.query("a picture of a dog")
    assert none == ()
    for text in ("dog", "Dogs", "the DOGS"):
        assert np.array_equal(words.query(text)[0].embedding.vector, one.embedding.vector)
    shepherd = words.query("german shepherd")[0].embedding.vector
    assert shepherd @ one.embedding.vector > 0.3
    assert not np.array_equal(shepherd, one.embedding.vector)


def test_broader_terms_lie_near_what_they_hold(words: WordEncoder) -> None:
    vectors = {
        name: words.query(name)[0].embedding.vector
        for name in ("dog", "poodle", "truck", "vehicle")
    }
    assert vectors["dog"] @ vectors["poodle"] > vectors["dog"] @ vectors["truck"]
    assert vectors["vehicle"] @ vectors["truck"] > vectors["vehicle"] @ vectors["poodle"]


def test_two_words_are_between_both(words: WordEncoder) -> None:
    horse, mountain, both = (
        words.query(text)[0].embedding.vector for text in ("horse", "mountain", "horses, mountain")
    )
    assert min(both @ horse, both @ mountain) > horse @ mountain + 0.1
    assert np.linalg.norm(both) == pytest.approx(1.0, abs=1e-6)


def test_a_colour_is_unknown_and_no_other_word_is_meant(words: WordEncoder) -> None:
    query, unknown = words.query("brown dog")
    assert [str(word) for word in unknown] == ["unknown word 'brown'"]
    assert np.array_equal(query.embedding.vector, words.query("dog")[0].embedding.vector)


def test_unknown_words_are_named_with_the_nearest(words: WordEncoder) -> None:
    _, unknown = words.query("elefant dog")
    assert [str(word) for word in unknown] == [
        "unknown word 'elefant'; the nearest known is 'elephant'"
    ]
    with pytest.raises(SearchError, match="no word of 'qqq' is known: unknown word 'qqq'"):
        words.query("qqq")
    for text in ("", "the of", "!?", "x" * 2000):
        with pytest.raises(SearchError):
            words.query(text)


@given(st.text(max_size=80))
def test_any_text_gives_a_query_or_one_line(text: str) -> None:
    words = open_words(open_embedder("default").model_id)
    try:
        query, _ = words.query(text)
    except SearchError:
        return
    assert np.linalg.norm(query.embedding.vector) == pytest.approx(1.0, abs=1e-4)


def test_words_of_another_model_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="index them with the default model"):
        open_words("other@1")
    (tmp_path / "w.npz").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(SearchError, match="not a file of words"):
        open_words("m", tmp_path / "w.npz")
    with pytest.raises(SearchError, match="are missing"):
        open_words("m", tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("at", "value"),
    [(8, 9), (8, 14), (6, 1), (6, 32)],
    ids=["not supported", "lzma", "encrypted", "patched"],
)
def test_a_file_of_words_in_another_packing_is_one_line(
    tmp_path: Path, at: int, value: int
) -> None:
    data = bytearray(default_model_path().with_suffix(".words.npz").read_bytes())
    # The field of the first file, in the list at the end as well.
    data[at] = data[data.index(b"PK\x01\x02") + at + 2] = value
    assert "\n" not in refusal(tmp_path, data)


@pytest.mark.parametrize("at", [2_000, 20_000, 100_000, 300_000])
def test_a_damaged_file_of_words_is_one_line(tmp_path: Path, at: int) -> None:
    data = bytearray(default_model_path().with_suffix(".words.npz").read_bytes())
    data[at : at + 64] = b"\xff" * 64
    assert "\n" not in refusal(tmp_path, data)


def refusal(folder: Path, data: bytes | bytearray) -> str:
    """Return the words by which a file of words is refused."""
    (folder / "w.npz").write_bytes(data)
    with pytest.raises(SearchError, match="not a file of words") as caught:
        open_words("m", folder / "w.npz")
    return str(caught.value)


def test_the_file_is_small() -> None:
    assert default_model_path().with_suffix(".words.npz").stat().st_size < LIMIT_BYTES


@pytest.mark.skipif(not DATA.is_file(), reason=f"no pictures at {DATA}: set EDGE_SIM_DATA")
def test_class_names_of_photos_find_their_classes(words: WordEncoder) -> None:
    embedder = open_embedder("default")
    vectors, labels = [], []
    with tarfile.open(DATA) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.name.endswith(".webp") else None
            if stream is not None:
                vectors.append(embedder.embed(decode(stream.read())).vector)
                labels.append(member.name.split("/")[0])
    rows, names = np.stack(vectors), np.array(labels)
    found = []
    for name in sorted(set(labels)):
        try:
            query, _ = words.query(name)
        except SearchError:  # two of the ten are no things: what is not known finds nothing
            found.append(0.0)
            continue
        best = np.argsort(-(rows @ query.embedding.vector), kind="stable")[:10]
        found.append(float((names[best] == name).mean()))
    assert np.mean(found) >= 0.7
