"""The files of the pages: small, whole, in two languages, and without markup made from text."""

from __future__ import annotations

import re
import zlib

import pytest

from edge_sim.core.events import SceneProblem
from edge_sim.core.types import UnknownReason
from tests.web.fake_device import PAGES

MODULES = sorted(PAGES.glob("*.js"))
TEXTS = re.compile(r'^  (?:"([^"]+)"|(\w+)): \[\s*"(.*)",\s+"(.*)",?\s*\],$', re.MULTILINE)
LIMIT_BYTES = 100_000
"""All pages with the chart library, compressed as in the wheel and on the wire."""
PLAIN_LIMIT_BYTES = 300_000


def strings(language: str) -> dict[str, str]:
    text = (PAGES / "strings.js").read_text(encoding="utf-8")
    found = TEXTS.findall(text)
    assert len(found) == text.count(": ["), "strings.js: one text a language"
    made = {quoted or plain: texts[language == "de"] for quoted, plain, *texts in found}
    assert len(made) == len(found), "strings.js: a key stands twice"
    return made


def test_both_languages_have_the_same_placeholders() -> None:
    english, german = strings("en"), strings("de")
    for key, text in english.items():
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", german[key])), key


def test_every_text_that_a_page_names_exists_and_every_text_is_used() -> None:
    pages = [module for module in MODULES if module.name != "strings.js"]
    sources = "\n".join(module.read_text(encoding="utf-8") for module in pages)
    used = set(re.findall(r'\bt\("([^"]+)"', sources))
    english = strings("en")
    assert used - english.keys() == set()
    prefixes = set(re.findall(r'\b(?:named|worded)\("([^"]+)"', sources))
    prefixes |= {key.rstrip(".") for key in re.findall(r"\bt\(`([\w.]+)\$\{", sources)}
    labels = set(re.findall(r'"((?:[a-z]+\.)[\w.]+)"', sources))
    for key in english:
        plain = key.removesuffix(".one")
        assert plain in used | labels or plain.rpartition(".")[0] in prefixes, f"{key}: not used"


def test_every_reason_has_a_sentence_and_a_word() -> None:
    english = strings("en")
    for reason in UnknownReason:
        assert f"reason.{reason.value}" in english
        assert english[f"reason.short.{reason.value}"] == reason.value.replace("_", " ")


def test_every_reason_and_problem_names_what_mends_it() -> None:
    passing = {"starting", "lighting"}  # they end by themselves
    for language in ("en", "de"):
        known = strings(language)
        for name in {*(each.value for each in (*UnknownReason, *SceneProblem))} - passing:
            assert known[f"reason.{name}"]
            assert known[f"fix.{name}"].endswith("."), f"{language}: {name}"


def test_every_module_that_is_imported_exists() -> None:
    for module in MODULES:
        text = module.read_text(encoding="utf-8")
        for name in re.findall(r'(?:from |import\()"\./([^"]+)"', text):
            assert (PAGES / name).is_file(), f"{module.name} imports {name}"


def test_no_module_imports_what_it_does_not_use() -> None:
    for module in MODULES:
        text = module.read_text(encoding="utf-8")
        names = ", ".join(re.findall(r"import {([^}]*)} from", text)).split(",")
        for name in filter(None, (name.strip() for name in names)):
            assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{module.name}: {name}"


def test_all_pages_together_stay_small() -> None:
    files = [file.read_bytes() for file in PAGES.rglob("*") if file.is_file()]
    assert sum(len(zlib.compress(data, 9)) for data in files) < LIMIT_BYTES
    assert sum(map(len, files)) < PLAIN_LIMIT_BYTES


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_a_module_makes_no_markup_from_text_and_reaches_no_network(file: object) -> None:
    text = (PAGES / str(getattr(file, "name", ""))).read_text(encoding="utf-8")
    markup = r"\.(?:inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    assert re.findall(markup, text) == []
    assert re.findall(r'style:\s*["`](?!percent)|setAttribute\("style"', text) == []
    addresses = set(re.findall(r"https?://[^\"'` )]+", text)) - {"http://www.w3.org/2000/svg"}
    assert addresses == set()


def test_the_first_page_holds_no_code_or_style_and_only_relative_addresses() -> None:
    text = (PAGES / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text) == []
    for address in re.findall(r'(?:href|src)="([^"]+)"', text):
        assert not re.match(r"/|\w+:", address), address


def test_the_chart_library_names_its_version_and_licence() -> None:
    head = (PAGES / "vendor" / "uplot.min.js").read_text(encoding="utf-8")[:80]
    assert re.search(r"\(v\d+\.\d+\.\d+\)", head)
    assert "MIT" in (PAGES / "vendor" / "uplot.LICENSE.txt").read_text(encoding="utf-8")
