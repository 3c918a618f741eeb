"""The documentation as a site: every page is in it, references are whole, no link is broken."""

from __future__ import annotations

from pathlib import Path

import build_docs
import pytest

from edge_sim.cli.main import GROUPS
from edge_sim.core.options import json_schema_of
from edge_sim.runtime.config import Config


def test_every_document_is_a_page_of_one_section(tmp_path: Path, repository: Path) -> None:
    build_docs.write_pages(tmp_path / "pages")
    listed = [page for pages in build_docs.NAV.values() for page in pages]
    assert len(listed) == len(set(listed))
    written = {path.stem for path in (repository / "docs").glob("*.md")}
    assert written <= set(listed)
    for page in (tmp_path / "pages").glob("*.md"):
        for _, target, _ in build_docs.LINK.findall(build_docs.FENCE.sub("", page.read_text())):
            assert not target.startswith(".."), f"{page.name}: {target}"


def test_a_document_in_no_section_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_docs, "NAV", {"Tutorial": ("tutorial",)})
    with pytest.raises(ValueError, match=r"docs/api\.md is in no section"):
        build_docs.write_pages(tmp_path / "pages")


def test_the_reference_has_every_command_and_every_flag_explained() -> None:
    text = build_docs.command_reference()
    for group in GROUPS:
        assert f"\n## edge-sim {group.replace('_', '-')}\n" in text
    assert "\n### edge-sim gallery capture\n" in text
    unexplained = [line for line in text.splitlines() if line.endswith("|  |")]
    assert len(unexplained) < 20, unexplained


def test_the_reference_has_every_key_with_its_description() -> None:
    text = build_docs.configuration_reference()
    for name, part in json_schema_of(Config)["$defs"].items():
        for key in part.get("properties", {}):
            assert f"\n| `{key}` | " in text, f"{name}.{key}"
    assert "| `interval_s` | Interval between observations" in text
    assert "number from 0 (seconds) | `0.0` |" in text
    assert "`watches.problems`" in text
    assert "{'" not in text


PAGE = "<html><body><h1 id='top'>A</h1>{}</body></html>"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<a href='missing.html'>x</a>", "index.html: missing.html does not exist"),
        ("<img src='pictures/no.png'>", "index.html: pictures/no.png does not exist"),
        ("<a href='other.html#nowhere'>x</a>", "index.html: other.html#nowhere has no such"),
        ("<a href='#nowhere'>x</a>", "index.html: #nowhere has no such heading"),
        (
            "<script src='https://cdn.example.org/a.js'></script>",
            "index.html: loads https://cdn.example.org/a.js from elsewhere",
        ),
    ],
)
def test_what_leads_nowhere_is_found(tmp_path: Path, body: str, fault: str) -> None:
    (tmp_path / "index.html").write_text(PAGE.format(body))
    (tmp_path / "other.html").write_text(PAGE.format(""))
    (found,) = build_docs.broken_links(tmp_path)
    assert found.startswith(fault)


def test_whole_links_are_no_fault(tmp_path: Path) -> None:
    good = "<a href='other.html#top'>x</a> <a href='#top'>y</a> <a href='https://example.org'>z</a>"
    (tmp_path / "index.html").write_text(PAGE.format(good))
    (tmp_path / "other.html").write_text(PAGE.format(""))
    assert list(build_docs.broken_links(tmp_path)) == []


def test_the_site_builds_without_a_warning_or_a_broken_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("zensical", reason="zensical: pip install '.[docs]'")
    assert build_docs.main(["--out", str(tmp_path / "site")]) == 0
    assert "0 broken links" in capsys.readouterr().out
    assert (tmp_path / "site" / "configuration.html").exists()
