"""Search in words: nouns as vectors in the space of the default model.

`models/edge_sim_small.words.npz` holds them; `tools/train_words.py` makes it. A word stands for the
mean of the photos of all classes that it names, so it finds things, not colours, actions or places
by name. What it does not know is said, with the nearest that it knows.
"""

from __future__ import annotations

import difflib
import re
import struct
import zlib
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.resources import default_model_path
from edge_sim.core.types import THUMBNAIL_PX, Embedding, FloatVector
from edge_sim.core.vectors import normalised
from edge_sim.errors import ModelError, SearchError
from edge_sim.search.searcher import Query

MAX_TEXT = 1000
_LONGEST = 4
"""Words of the longest phrase that is looked up as one."""
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_EMPTY = frozenset(
    {
        *("a", "an", "and", "any", "at", "by", "for", "from", "in", "is", "near", "of", "on", "or"),
        *("some", "that", "the", "this", "to", "with"),
        *("image", "images", "photo", "photos", "picture", "pictures"),
    }
)
_COLOURS = frozenset(
    {
        *("black", "blue", "brown", "dark", "gray", "green", "grey", "light", "pink", "purple"),
        *("red", "white", "yellow"),
    }
)
"""Words that are no names of things, for which no similar word is meant."""
_DAMAGE = (BadZipFile, LZMAError, struct.error, zlib.error)
"""Errors of a damaged archive; it raises `RuntimeError` where it asks for another way to unpack."""
_PLURALS = (("ies", "y"), ("ves", "f"), ("es", ""), ("s", ""), ("men", "man"))


@dataclass(frozen=True, slots=True)
class UnknownWord:
    """Word without a vector, and the nearest that has one; None if none is near."""

    word: str
    nearest: str | None

    def __str__(self) -> str:
        hint = "" if self.nearest is None else f"; the nearest known is {self.nearest!r}"
        return f"unknown word {self.word!r}{hint}"


class WordEncoder:
    """Vocabulary of one model.

    Args:
        words: (W) words and phrases in lower case.
        rows: (W) rows of their vectors.
        vectors: (R, D) int8, 127 times unit vectors.
        model_id: Model whose space they are in.
    """

    def __init__(
        self,
        words: NDArray[np.str_],
        rows: NDArray[np.int32],
        vectors: NDArray[np.int8],
        model_id: str,
    ) -> None:
        self.model_id = model_id
        self._rows = dict(zip(words.tolist(), rows.tolist(), strict=True))
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, word: str) -> bool:
        return self._form(word.lower()) is not None

    def query(self, text: str) -> tuple[Query, tuple[UnknownWord, ...]]:
        """Return the query of a text, the mean of its words, and the words that it lacks.

        Raises:
            SearchError: No word of the text is known, or it is too long.
        """
        if len(text) > MAX_TEXT:
            raise SearchError(f"the text has {len(text)} characters; {MAX_TEXT} are allowed")
        found, unknown = self._parts(_WORD.findall(text.lower()))
        missing = tuple(UnknownWord(word, self._nearest(word)) for word in unknown)
        if not found:
            reason = "; ".join(map(str, missing)) or "it names nothing"
            raise SearchError(f"no word of {text[:80]!r} is known: {reason}")
        vector = normalised(np.mean([self._vector(form) for form in found], axis=0))
        if not vector.any():
            raise SearchError("the words cancel out; search for each alone")
        embedding = Embedding(vector, None, self.model_id)
        return Query(embedding, np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)), missing

    def _parts(self, words: list[str]) -> tuple[list[str], list[str]]:
        """Return the known words and phrases, the longest first at each place, and the rest."""
        found, unknown = [], []
        at = 0
        while at < len(words):
            for length in range(min(_LONGEST, len(words) - at), 0, -1):
                form = self._form(" ".join(words[at : at + length]))
                if form is not None:
                    found.append(form)
                    break
            else:
                length = 1
                if words[at] not in _EMPTY:
                    unknown.append(words[at])
            at += length
        return found, unknown

    def _form(self, word: str) -> str | None:
        """Return a word, or its singular, as the vocabulary has it; None if it has neither."""
        if word in _EMPTY:
            return None
        forms = [word, word.replace("-", " "), word.replace(" ", "")]
        forms += [
            word.removesuffix(end) + instead
            for end, instead in _PLURALS
            if word.endswith(end) and len(word) > len(end) + 1
        ]
        return next((form for form in forms if form in self._rows), None)

    def _vector(self, form: str) -> FloatVector:
        return normalised(self._vectors[self._rows[form]].astype(np.float32))

    def _nearest(self, word: str) -> str | None:
        if word in _COLOURS:
            return None
        near = difflib.get_close_matches(word, self._rows, 1, 0.8)
        return near[0] if near else None


def open_words(model_id: str, path: Path | None = None) -> WordEncoder:
    """Return the words that fit a model.

    Args:
        model_id: Model of the pictures that are searched.
        path: File of words; None takes the one that comes with edge_sim.

    Raises:
        SearchError: The file is missing or damaged.
        ModelError: The words are of another model.
    """
    place = path or default_model_path().with_suffix(".words.npz")
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            found = WordEncoder(
                stored["words"], stored["rows"], stored["vectors"], str(stored["model_id"])
            )
    except FileNotFoundError as error:
        raise SearchError(f"{place}: the words to search by are missing") from error
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, *_DAMAGE) as error:
        raise SearchError(f"{place}: not a file of words ({error})") from error
    if found.model_id != model_id:
        raise ModelError(
            f"the words are of the model {found.model_id}, the pictures were embedded with "
            f"{model_id}; index them with the default model to search in words"
        )
    return found
