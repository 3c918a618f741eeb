"""A part of a document that a program writes."""

from __future__ import annotations

from edge_sim.errors import DataError

BEGIN = "<!-- measured: begin, written by tools/compare.py -->"
END = "<!-- measured: end -->"


def with_section(document: str, text: str) -> str:
    """Return the document with `text` between the two marks.

    Raises:
        DataError: The document has not each mark once, in order.
    """
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in tail or END in tail:
        raise DataError(f"the document needs the marks {BEGIN} and {END} once, in this order")
    return f"{head}{BEGIN}\n{text.strip()}\n{END}{tail}"
