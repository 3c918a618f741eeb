"""One self-contained HTML file per report: the page's own modules and style sheet, with the data.

A report is made of blocks (`timeline`, `grid`, `diagrams`, `table`, `texts`), which `report.js`
draws as the pages of the device do. The file needs no network, and its policy allows none.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import as_bgr, encode_jpeg

Block = Mapping[str, Any]
"""`kind`, and what `report.js` reads for that kind."""

_MODULES = ("strings.js", "i18n.js", "dom.js", "components.js", "diagram.js", "chart.js")
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const|let|function|async|class)", re.MULTILINE)
_COMMENT = re.compile(r"^\s*//.*\n", re.MULTILINE)
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
_JPEG_QUALITY = 82


def document(
    title: str, blocks: Iterable[Block], *, facts: Sequence[str] = (), footer: str = ""
) -> str:
    """Return a report as an HTML document.

    Args:
        title: Title of the page.
        blocks: Its parts, in order.
        facts: Lines under the title.
        footer: Text at the end.
    """
    parts = list(blocks)
    # Names of files may hold bytes that are no text; the page shows them escaped.
    report = {"title": title, "facts": facts, "blocks": parts, "footer": footer}
    data = msgspec.json.encode(_printable(report)).decode()
    charts = any(block["kind"] == "timeline" for block in parts)
    style = _page("style.css") + (_page("vendor/uplot.min.css") if charts else "")
    library = f"<script>{_page('vendor/uplot.min.js')}</script>\n" if charts else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(_text(title))}</title>\n<style>\n{style}</style>\n</head>\n"
        "<body>\n<main></main>\n<noscript>This report needs JavaScript.</noscript>\n"
        # Inside a script element only `<` could end it early.
        f'<script type="application/json" id="report">{data.replace("<", chr(92) + "u003c")}'
        f'</script>\n{library}<script type="module">\n{_script()}</script>\n</body>\n</html>\n'
    )


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Return a grey or BGR picture as a JPEG `data:` address."""
    encoded = base64.b64encode(encode_jpeg(as_bgr(pixels), _JPEG_QUALITY)).decode()
    return f"data:image/jpeg;base64,{encoded}"


def table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Block:
    """Return a table under a heading."""
    return {"kind": "table", "heading": heading, "columns": columns, "rows": rows}


def texts(parts: Iterable[tuple[str, Sequence[str]]]) -> Block:
    """Return paragraphs in columns, each under its heading."""
    found = [{"heading": heading, "paragraphs": lines} for heading, lines in parts if lines]
    return {"kind": "texts", "parts": found}


@cache
def _script() -> str:
    """Return the modules that draw a report as one script; no two use one name at the top."""
    joined = "".join(map(_page, (*_MODULES, "report.js")))
    plain = _COMMENT.sub("", _EXPORT.sub("", _IMPORT.sub("", joined)))
    start = 'JSON.parse(document.querySelector("#report").textContent)'
    return f'{plain}\nawait showReport(document.querySelector("main"), {start});\n'


@cache
def _page(name: str) -> str:
    return (resources.files("edge_sim") / "web" / "pages" / name).read_text(encoding="utf-8")


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {_text(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return value


def _text(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
