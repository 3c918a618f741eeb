"""A filter passes what its text says, and nothing else; a text that is none is told so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.errors import SearchError
from edge_sim.search.filters import AttributeTable, equals, parse_filter, quoted

PICTURES: list[list[tuple[str, str]]] = [
    [("state", "open"), ("width", "640"), ("taken", "2026-03-01T08:00:00"), ("tag", "dark")],
    [("state", "closed"), ("width", "1920"), ("taken", "2026-03-31T23:59:59+02:00")],
    [("state", "open"), ("width", "1920.0"), ("taken", "2026-04-01T00:00:00")],
    [("state", "half open"), ("width", "80"), ("tag", "dark"), ("tag", "blurred")],
]
TABLE = AttributeTable(PICTURES, keys=("tag", "camera"))


def passing(text: str) -> list[int]:
    return [row for row, passed in enumerate(TABLE.mask(parse_filter(text))) if passed]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("state = open", [0, 2]),
        ("state=open", [0, 2]),
        ("state != open", [1, 3]),
        ("state = 'half open'", [3]),
        ('state in (closed, "half open")', [1, 3]),
        ("state = *", [0, 1, 2, 3]),
        ("state = half*", [3]),
        ("state = 'half*'", []),
        ("state in (clo*, open)", [0, 1, 2]),
        ("tag = dark", [0, 3]),
        ("tag != dark", [1, 2]),
        ("not tag = blurred", [0, 1, 2]),
        ("tag = dark and tag = blurred", [3]),
        ("width = 1920", [1, 2]),
        ("width > 640", [1, 2]),
        ("width >= 640", [0, 1, 2]),
        ("width < 100", [3]),
        ("width in 80..640", [0, 3]),
        ("taken = 2026-03", [0, 1]),
        ("taken <= 2026-03", [0, 1]),
        ("taken < 2026-03-31", [0]),
        ("taken > 2026-03", [2]),
        ("taken in 2026-03-31..2026-04-01", [1, 2]),
        ("taken >= '2026-03-31 23:59'", [1, 2]),
        ("taken != 2026-03", [2, 3]),
        ("width in (1920, 80)", [1, 2, 3]),
        ("width in ('1920', '80')", [1, 3]),
        ("taken in (2026-04, '2026-03')", [2]),
        ("camera = x", []),
        ("state = open or state = closed and width = 640", [0, 2]),
        ("(state = open or state = closed) and width = 640", [0]),
        ("NOT (state = open OR tag = dark)", [1]),
        ("not not state = closed", [1]),
    ],
)
def test_a_filter_passes_what_it_says(text: str, rows: list[int]) -> None:
    assert passing(text) == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("state", "it ends where a comparison after 'state'"),
        ("state =", "it ends where a value for 'state'"),
        ("state=open,closed", "several values are `key in (a, b)`"),
        ("state = half open", "character 14: 'open' is not expected here; quote values"),
        ("state = 'open", "an open quote"),
        ("state in open", "wants (a, b) or a range"),
        ("state in (open", "a comma or a closing parenthesis is missing"),
        ("(state = open", "a closing parenthesis is missing"),
        ("state = open)", "')' is not expected here"),
        ("width < wide", "neither a number nor a date"),
        ("width in 1..wide", "neither a number nor a date"),
        ("state < 5", "neither numbers nor dates"),
        ("state = and", "quote it if it is meant as one"),
        ("= open", "'=' is not expected here"),
        ("sate = open", "no picture has 'sate'; did you mean 'state'?"),
        ("zzz = 1", "no picture has 'zzz'; filter by camera, state, tag, taken, width"),
        ("a\x00 = b", "holds control characters"),
        ("(" * 5000 + "a = b" + ")" * 5000, "are allowed"),
        ("(" * 500 + "a = b" + ")" * 500, "more than 50 levels"),
        ("not " * 500 + "a = b", "more than 50 levels"),
    ],
)
def test_a_text_that_is_no_filter_is_told_where_and_why(text: str, words: str) -> None:
    with pytest.raises(SearchError) as caught:
        TABLE.mask(parse_filter(text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_that_no_picture_has_is_named_with_the_nearest() -> None:
    wanted = parse_filter("state in (opem, closed) and tag = drak")
    assert TABLE.hints(wanted) == [
        "no picture has state = opem; did you mean open?",
        "no picture has tag = drak; did you mean dark?",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "taken = 2026-03 and state = open",
        "width = 1920.00 or width in (80.0, 640)",
        "taken in (2026-04, 2026-03-31)",
        "state in (half*, open) and tag != dark",
    ],
)
def test_a_value_that_matches_a_picture_is_not_called_missing(text: str) -> None:
    assert TABLE.mask(parse_filter(text)).any()
    assert TABLE.hints(parse_filter(text)) == []


def test_a_quoted_value_that_no_picture_has_word_for_word_is_named() -> None:
    wanted = parse_filter("taken = '2026-03-01T08' and state = open")
    assert TABLE.hints(wanted) == [
        "no picture has taken = 2026-03-01T08; did you mean 2026-03-01T08:00:00?"
    ]


@given(st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=20))
def test_every_value_can_be_asked_for(value: str) -> None:
    table = AttributeTable([[("name", value)], [("name", value + "x")]])
    assert table.mask(equals("name", value)).tolist() == [True, False]
    if not ("'" in value and '"' in value):
        written = parse_filter(f"name = {quoted(value)}")
        assert table.mask(written).tolist() == [True, False]


TERMS = st.sampled_from(["state = open", "width > 600", "tag in (dark, x)", "taken = 2026-04"])


@given(st.recursive(TERMS, lambda inner: st.one_of(
    st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    st.tuples(st.just("not"), inner),
), max_leaves=8))  # fmt: skip
def test_and_or_not_are_those_of_python(tree: object) -> None:
    def text(node: object) -> str:
        if isinstance(node, str):
            return node
        assert isinstance(node, tuple)
        word, *parts = node
        texts = [f"({text(part)})" for part in parts]
        return f"not {texts[0]}" if word == "not" else f" {word} ".join(texts)

    def value(node: object, row: int) -> bool:
        if isinstance(node, str):
            return row in passing(node)
        assert isinstance(node, tuple)
        word, *parts = node
        found = [value(part, row) for part in parts]
        return not found[0] if word == "not" else (all if word == "and" else any)(found)

    assert passing(text(tree)) == [row for row in range(len(PICTURES)) if value(tree, row)]


@given(TERMS, TERMS)
def test_two_filters_together_pass_what_both_pass(first: str, second: str) -> None:
    both = parse_filter(f"{first} or tag = blurred") & parse_filter(second)
    rows = TABLE.mask(both).nonzero()[0].tolist()
    assert rows == [row for row in passing(f"{first} or tag = blurred") if row in passing(second)]
    assert TABLE.mask(parse_filter(str(both))).nonzero()[0].tolist() == rows
