"""Filter language of searches and lists, and its evaluation over the attributes of pictures.

    state = "gate open" and not tag in (blurred, dark)
    taken in 2026-03..2026-05-15 or width >= 1920
    path = garden/*

A comparison is `key = value`, `!=`, `<`, `<=`, `>`, `>=`, `key in (a, b)` or `key in first..last`,
both ends included. `and` binds closer than `or`; `not` and parentheses do as everywhere. A value
that ends in `*` matches every value that begins so. Values with spaces or signs are quoted.

Where both sides are numbers they are compared as numbers. A bound that is a date, or the beginning
of one, is compared with as much of a date as it names: `taken <= 2026-03` includes all of March.
A picture may have several values of a key, as with tags: one that holds is enough, and `!=` wants
none to be equal.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.ranking import RowMask
from edge_sim.errors import SearchError

MAX_LENGTH = 10_000
MAX_DEPTH = 50
MAX_MASKS = 64
"""Comparisons whose rows are remembered: one byte per row and comparison."""
_DATE = re.compile(r"\d{4}($|-\d\d($|-\d\d($|[T ]\d\d($|:\d\d))))")
_TOKEN = re.compile(
    r"""\s*(?:(?P<sign><=|>=|!=|=|<|>)|(?P<mark>[(),])|(?P<quoted>"[^"]*"|'[^']*')"""
    r"""|(?P<word>[^\s()<>=!,"']+))"""
)
_WORDS = frozenset({"and", "or", "not", "in"})
Matcher = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of the values of one key.

    Args:
        key: Key of the attribute.
        text: The comparison as it was written, for messages.
        values: Values that are named, each with the function that returns whether a value equals
            it, for hints about misspelt ones; empty for bounds.
        matches: Function that returns whether a value fulfils it.
        negated: Whether a picture passes if none of its values matches.
        bound: Whether the values must be numbers or dates.
    """

    key: str
    text: str
    values: tuple[tuple[str, Matcher], ...]
    matches: Matcher
    negated: bool = False
    bound: str | None = None


@dataclass(frozen=True, slots=True)
class Combination:
    """`and`, `or` or `not` of other filters."""

    word: str
    parts: tuple[Comparison | Combination, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """Parsed filter; make it with `parse_filter`.

    Args:
        text: The filter as it was written.
        root: Its outermost part.
    """

    text: str
    root: Comparison | Combination

    def __str__(self) -> str:
        return self.text

    def __and__(self, other: Filter) -> Filter:
        """Return the filter that passes where both do."""
        texts = (f"({part.text})" if _is_open(part.root) else part.text for part in (self, other))
        return Filter(" and ".join(texts), Combination("and", (self.root, other.root)))

    def comparisons(self) -> Iterator[Comparison]:
        """Yield the comparisons from left to right."""
        yield from _leaves(self.root)


def parse_filter(text: str) -> Filter:
    """Return the filter that a text describes.

    Raises:
        SearchError: It is no filter; the message names the place and the right form.
    """
    if len(text) > MAX_LENGTH:
        raise SearchError(f"the filter has {len(text)} characters; {MAX_LENGTH} are allowed")
    if any(unicodedata.category(sign) == "Cc" for sign in text):
        raise SearchError(f"the filter {text!a} holds control characters")
    return Filter(text.strip(), _Parser(text).parsed())


def equals(key: str, value: str) -> Filter:
    """Return the filter `key = value`, whatever signs the value holds."""
    text = f"{key} = {quoted(value)}"
    matches = _equal_to(value, False)
    return Filter(text, Comparison(key, text, ((value, matches),), matches))


def quoted(value: str) -> str:
    """Return a value as a filter writes it."""
    token = _TOKEN.fullmatch(value)
    plain = token is not None and token["word"] is not None and value not in _WORDS
    if plain and not value.endswith("*") and ".." not in value:
        return value
    sign = "'" if '"' in value else '"'
    return f"{sign}{value}{sign}"


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Values of one key.

    Args:
        values: The distinct values.
        rows: (M,) row of each pair of a row and a value, ascending.
        codes: (M,) number of the value of each pair.
    """

    values: Sequence[str]
    rows: NDArray[np.int32]
    codes: NDArray[np.int32]

    @classmethod
    def of_texts(cls, texts: Iterable[str], rows: Sequence[int] | None = None) -> Column:
        """Return the column of these values, in order of all rows, or of `rows`."""
        values: dict[str, int] = {}
        codes = np.array([values.setdefault(text, len(values)) for text in texts], np.int32)
        places = np.arange(len(codes)) if rows is None else np.asarray(rows)
        order = np.argsort(places, kind="stable")
        return cls(tuple(values), places[order].astype(np.int32), codes[order])

    @classmethod
    def of_numbers(cls, numbers: NDArray[Any]) -> Column:
        """Return the column of these whole numbers, one for each row."""
        distinct, codes = np.unique(numbers.astype(np.int64), return_inverse=True)
        values = tuple(map(str, distinct.tolist()))
        return cls(values, np.arange(len(numbers), dtype=np.int32), codes.astype(np.int32).ravel())

    def value_at(self, row: int) -> str | None:
        """Return a value of a row; None if it has none."""
        at = int(np.searchsorted(self.rows, row))
        if at == len(self.rows) or self.rows[at] != row:
            return None
        return str(self.values[int(self.codes[at])])

    def mask(self, count: int, matches: Matcher) -> RowMask:
        """Return (count,) bool, the rows with a value that matches."""
        found = np.fromiter(map(matches, self.values), np.bool_, len(self.values))
        passed = np.zeros(count, np.bool_)
        passed[self.rows[found[self.codes]]] = True
        return passed


@dataclass(slots=True, eq=False)
class _Pairs:
    """Pairs of a row and a value, until they are a column."""

    rows: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def column(self) -> Column:
        return Column.of_texts(self.texts, self.rows)


class AttributeTable:
    """Attributes of N pictures by key; a filter costs one pass over the distinct values of its
    keys, and one over the rows.

    Args:
        facts: The (key, value) pairs of each picture, in order of the rows.
        keys: Keys that may be asked for although no picture has them, such as `tag`.
    """

    def __init__(
        self, facts: Iterable[Iterable[tuple[str, str]]], *, keys: Sequence[str] = ()
    ) -> None:
        found = {key: _Pairs() for key in keys}
        count = 0
        for row, pairs in enumerate(facts):
            count = row + 1
            for key, value in pairs:
                own = found.setdefault(key, _Pairs())
                own.rows.append(row)
                own.texts.append(value)
        self._fill(count, {key: own.column for key, own in found.items()})

    @classmethod
    def of_columns(cls, count: int, makers: Mapping[str, Callable[[], Column]]) -> AttributeTable:
        """Return the table of `count` pictures whose columns are made when they are asked for."""
        made = cls(())
        made._fill(count, makers)
        return made

    def _fill(self, count: int, makers: Mapping[str, Callable[[], Column]]) -> None:
        self._count = count
        self._makers = makers
        self._columns: dict[str, Column] = {}
        self._masks: dict[tuple[str, str], RowMask] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys, sorted."""
        return tuple(sorted(self._makers))

    def mask(self, wanted: Filter) -> RowMask:
        """Return (N,) bool, the rows that pass.

        Raises:
            SearchError: No picture has a key, or a bound meets values that have no order.
        """
        if isinstance(wanted.root, Comparison):
            return self._compared(wanted.root)
        # The whole filter is remembered too: joining masks of a million rows takes as long as a
        # search of them.
        return self._remembered(("", str(wanted)), lambda: self._mask(wanted.root))

    def hints(self, wanted: Filter) -> list[str]:
        """Return a line for each value that no picture has, with the nearest that one has."""
        lines = []
        comparisons = list(wanted.comparisons())
        for comparison in comparisons:
            present = self._column(comparison.key).values
            for value, equal in comparison.values:
                if value.endswith("*") or value in present or any(map(equal, present)):
                    continue
                near = difflib.get_close_matches(value, present, 1)
                hint = f"; did you mean {quoted(near[0])}?" if near else ""
                if not hint and len(comparisons) == 1:
                    continue  # it would only repeat that nothing passes
                lines.append(f"no picture has {comparison.key} = {quoted(value)}{hint}")
        return lines

    def _mask(self, part: Comparison | Combination) -> RowMask:
        if isinstance(part, Comparison):
            return self._compared(part)
        masks = [self._mask(item) for item in part.parts]
        if part.word == "not":
            return ~masks[0]
        join = np.logical_and if part.word == "and" else np.logical_or
        joined = masks[0]
        for mask in masks[1:]:
            joined = join(joined, mask)
        return joined

    def _compared(self, part: Comparison) -> RowMask:
        column = self._column(part.key)
        if part.bound is not None and column.values:
            orderly = _is_number if _is_number(part.bound) else _is_date
            if not any(orderly(value) or _is_date(value) for value in column.values):
                some = quoted(next(iter(column.values)))
                raise SearchError(
                    f"{part.text}: the values of {part.key!r} are neither numbers nor dates "
                    f"(one is {some}); compare with = or in (a, b)"
                )

        def made() -> RowMask:
            mask = column.mask(self._count, part.matches)
            return ~mask if part.negated else mask

        return self._remembered((part.key, part.text), made)

    def _remembered(self, name: tuple[str, str], make: Callable[[], RowMask]) -> RowMask:
        known = self._masks.get(name)
        if known is None:
            known = make()
            if len(self._masks) >= MAX_MASKS:
                self._masks.clear()
            known.flags.writeable = False
            self._masks[name] = known
        return known

    def _column(self, key: str) -> Column:
        if key in self._columns:
            return self._columns[key]
        if key in self._makers:
            self._columns[key] = self._makers[key]()
            return self._columns[key]
        near = difflib.get_close_matches(key, self._makers, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SearchError(f"no picture has {key!r}; {hint}filter by {', '.join(self.keys)}")


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._at = 0
        self._depth = 0

    def parsed(self) -> Comparison | Combination:
        if not self._tokens:
            self._fail("it is empty; write for example `state = open`")
        root = self._either()
        if self._at < len(self._tokens):
            kind, text = self._tokens[self._at][:2]
            if text == ",":
                self._fail("a comma; several values are `key in (a, b)`")
            hint = "; quote values with spaces" if kind in ("word", "quoted") else ""
            self._fail(f"{text!r} is not expected here{hint}")
        return root

    def _split(self) -> Iterator[tuple[str, str, int]]:
        at, text = 0, self._text.rstrip()
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                place = len(text[:at]) + len(text[at:]) - len(text[at:].lstrip())
                raise SearchError(f"filter {text!r}, character {place + 1}: an open quote or sign")
            kind = token.lastgroup or ""
            yield kind, token[kind], token.start(kind)
            at = token.end()

    def _either(self) -> Comparison | Combination:
        return self._joined("or", lambda: self._joined("and", self._single))

    def _joined(
        self, word: str, part: Callable[[], Comparison | Combination]
    ) -> Comparison | Combination:
        parts = [part()]
        while self._take_word(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Combination(word, tuple(parts))

    def _single(self) -> Comparison | Combination:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"more than {MAX_DEPTH} levels")
        try:
            if self._take_word("not"):
                return Combination("not", (self._single(),))
            if self._take("("):
                inner = self._either()
                if not self._take(")"):
                    self._fail("a closing parenthesis is missing")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Comparison:
        start = self._at
        kind, key = self._next("a key such as `state`")
        if kind not in ("word", "quoted"):
            self._at -= 1
            self._fail(f"{key!r} is not expected here; a key such as `state` is")
        if self._take_word("in"):
            return self._membership(key, start)
        kind, sign = self._next(f"a comparison after {key!r}, as in `{key} = value`")
        if kind != "sign":
            self._at -= 1
            self._fail(f"no comparison after {key!r}; write `{key} = value` or `{key} in (a, b)`")
        value, is_plain = self._value(key)
        text = self._source(start)
        if sign in ("=", "!="):
            equal = _equal_to(value, is_plain)
            return Comparison(key, text, ((value, equal),), equal, negated=sign == "!=")
        if not _is_number(value) and not _is_date(value):
            self._fail(f"{value!r} is neither a number nor a date, which {sign} needs")
        return Comparison(key, text, (), _ordered(sign, value), bound=value)

    def _membership(self, key: str, start: int) -> Comparison:
        if not self._take("("):
            value, _ = self._value(key)
            first, dots, last = value.partition("..")
            if not dots or not first or not last:
                self._fail(f"`{key} in` wants (a, b) or a range first..last, got {value!r}")
            for end in (first, last):
                if not _is_number(end) and not _is_date(end):
                    self._fail(f"{end!r} is neither a number nor a date, which a range needs")
            above, below = _ordered(">=", first), _ordered("<=", last)
            return Comparison(
                key, self._source(start), (), lambda own: above(own) and below(own), bound=first
            )
        found = [self._value(key)]
        while self._take(","):
            found.append(self._value(key))
        if not self._take(")"):
            self._fail("a comma or a closing parenthesis is missing")
        values = tuple((value, _equal_to(value, is_plain)) for value, is_plain in found)
        exact = frozenset(value for value, _ in found)
        # One look-up for the values that equal nothing but themselves, which may be thousands.
        wide = [_equal_to(*item) for item in found if not _is_exact(*item)]
        return Comparison(
            key,
            self._source(start),
            values,
            lambda own: own in exact or any(equal(own) for equal in wide),
        )

    def _value(self, key: str) -> tuple[str, bool]:
        """Return a value, and whether it stood there without quotes."""
        kind, text = self._next(f"a value for {key!r}")
        if kind == "quoted":
            return text[1:-1], False
        if kind != "word" or text in _WORDS:
            self._at -= 1
            self._fail(f"{text!r} is no value; quote it if it is meant as one")
        return text, True

    def _next(self, wanted: str) -> tuple[str, str]:
        if self._at == len(self._tokens):
            self._fail(f"it ends where {wanted} is expected")
        kind, text, _ = self._tokens[self._at]
        self._at += 1
        return kind, text

    def _take(self, mark: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at][:2] == ("mark", mark)
        self._at += found
        return found

    def _take_word(self, word: str) -> bool:
        token = self._tokens[self._at][:2] if self._at < len(self._tokens) else ("", "")
        found = token[0] == "word" and token[1].lower() == word
        self._at += found
        return found

    def _source(self, start: int) -> str:
        end = self._tokens[self._at][2] if self._at < len(self._tokens) else len(self._text)
        return self._text[self._tokens[start][2] : end].strip()

    def _fail(self, reason: str) -> NoReturn:
        at = self._tokens[self._at][2] if self._at < len(self._tokens) else len(self._text)
        raise SearchError(f"filter {self._text.strip()!r}, character {at + 1}: {reason}")


def _is_open(part: Comparison | Combination) -> bool:
    return isinstance(part, Combination) and part.word == "or"


def _leaves(part: Comparison | Combination) -> Iterator[Comparison]:
    if isinstance(part, Comparison):
        yield part
    else:
        for item in part.parts:
            yield from _leaves(item)


def _is_exact(value: str, is_plain: bool) -> bool:
    """Return whether a value equals nothing but itself."""
    return not is_plain or not (value.endswith("*") or _is_number(value) or _is_date(value))


def _equal_to(value: str, is_plain: bool) -> Matcher:
    if _is_exact(value, is_plain):
        return lambda own: own == value
    if value.endswith("*"):
        start = value[:-1]
        return lambda own: own.startswith(start)
    if _is_number(value):
        number = float(value)
        return lambda own: own == value or (_is_number(own) and float(own) == number)
    return lambda own: own == value or _same_day(own, value)


def _same_day(own: str, value: str) -> bool:
    return _is_date(own) and own[: len(value)].replace(" ", "T") == value.replace(" ", "T")


def _ordered(sign: str, bound: str) -> Matcher:
    number = float(bound) if _is_number(bound) else None
    date = bound.replace(" ", "T") if _is_date(bound) else None

    def matches(own: str) -> bool:
        if number is not None and _is_number(own):
            return _holds(sign, float(own), number)
        if date is not None and _is_date(own):
            return _holds(sign, own[: len(date)].replace(" ", "T"), date)
        return False

    return matches


def _holds(sign: str, own: float | str, bound: float | str) -> bool:
    if own == bound:
        return sign in ("<=", ">=")
    return (own < bound) == (sign in ("<", "<="))  # type: ignore[operator]


def _is_number(text: str) -> bool:
    try:
        return np.isfinite(float(text)) and text.isascii() and "_" not in text
    except ValueError:
        return False


def _is_date(text: str) -> bool:
    return _DATE.match(text) is not None
