"""Build the documentation as a site: the pages of docs/, and references made from the code.

    pip install '.[docs]'
    python tools/build_docs.py --out site
    python -m http.server -d site

Commands come from their parsers, keys of the configuration from its schema. The build needs no
network, and fails on any warning of the generator and on any link, picture or anchor that leads
nowhere.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edge_sim.cli.main import GROUPS, build_parser  # noqa: E402
from edge_sim.core.options import json_schema_of  # noqa: E402
from edge_sim.runtime.config import Config  # noqa: E402

NAV: dict[str, tuple[str, ...]] = {
    "Tutorial": ("tutorial", "wizard"),
    "Guides": (
        "install", "usb", "rtsp", "csi", "night", "one-state", "gallery", "home-assistant",
        "frigate", "systemd", "container", "web", "fleet", "search", "archives", "models",
        "prometheus",
    ),
    "Reference": ("cli", "configuration", "events", "api"),
    "Explanation": ("design", "explain", "evaluation", "benchmarks", "threat-model"),
    "Promises": ("promises", "upgrade", "changelog", "release", "third-party"),
}  # fmt: skip
"""Sections of the site and their pages; a page of docs/ that is in none fails the build."""
WHOLE = {"README.md": "index.md", "DESIGN.md": "design.md", "CHANGELOG.md": "changelog.md"}
"""Documents outside of docs/ and their pages."""
COMMON = {
    "--config": "configuration of the device",
    "--watch": "name of the watch",
    "--state": "name of the state",
    "--add": "a word; as often as wanted",
    "--drop": "a word; as often as wanted",
    "ID": "ids of references, as `gallery list` prints them",
    "INDEX": "folder of an index, made by `index build`",
    "FOLDER": "folder of packs",
    "REFERENCE": "picture to compare with",
    "PICTURE": "picture to compare",
}
"""Arguments that `--help` leaves to their names, in words."""
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)


def main(argv: Sequence[str] | None = None) -> int:
    """Build the site; return 0 if all of it is whole, 1 with what is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("site"))
    out = parser.parse_args(argv).out.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pages(folder / "pages")
        (folder / "zensical.toml").write_text(settings(), encoding="utf-8")
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            missing = "No module named zensical" in done.stderr
            fault = "zensical is missing: pip install '.[docs]'" if missing else done.stderr
            print(f"error: {fault}", file=sys.stderr)
            return 1
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(folder / "site", out)
    faults = list(broken_links(out))
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    print(f"{out.name}: {len(list(out.rglob('*.html')))} pages, {len(faults)} broken links")
    return 1 if faults else 0


def settings() -> str:
    """Return the configuration of the generator."""
    sections = [
        f'  {{"{title}" = [{", ".join(f"{chr(34)}{page}.md{chr(34)}" for page in pages)}]}},'
        for title, pages in NAV.items()
    ]
    return "\n".join(
        [
            "[project]",
            'site_name = "edge_sim"',
            'site_description = "The state of what a fixed camera watches"',
            'docs_dir = "pages"',
            'site_dir = "site"',
            # Opens from a folder as well, without a server.
            "use_directory_urls = false",
            'nav = [\n  {"edge_sim" = "index.md"},',
            *sections,
            "]",
            "[project.theme]",
            "font = false",  # that of the system: nothing is fetched from elsewhere
            'features = ["navigation.sections", "navigation.top", "content.code.copy"]',
            "[[project.theme.palette]]",
            'media = "(prefers-color-scheme: light)"',
            'scheme = "default"',
            "[[project.theme.palette]]",
            'media = "(prefers-color-scheme: dark)"',
            'scheme = "slate"',
        ]
    )


def write_pages(folder: Path) -> None:
    """Write the source of every page.

    Args:
        folder: New folder.

    Raises:
        ValueError: A document is in no section, or a section names none.
    """
    shutil.copytree(ROOT / "docs", folder)
    for name, made in WHOLE.items():
        (folder / made).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    listed = {page for pages in NAV.values() for page in pages} | {"index"}
    places = {f"docs/{path.name}": path.name for path in folder.glob("*.md")} | WHOLE
    for page in sorted(folder.glob("*.md")):
        if page.stem not in listed:
            raise ValueError(f"docs/{page.name} is in no section of the site: see NAV")
        origin = next((name for name, made in WHOLE.items() if made == page.name), "")
        base = "." if origin else "docs"
        text = _with_links(page.read_text(encoding="utf-8"), base, places, folder)
        page.write_text(text, encoding="utf-8")
    (folder / "cli.md").write_text(command_reference(), encoding="utf-8")
    (folder / "configuration.md").write_text(configuration_reference(), encoding="utf-8")
    if lacking := [name for name in listed if not (folder / f"{name}.md").exists()]:
        raise ValueError(f"the site names pages that do not exist: {', '.join(sorted(lacking))}")


def _with_links(text: str, base: str, places: dict[str, str], folder: Path) -> str:
    """Return a document whose links lead to the pages of the site, or to copies of files."""

    def replaced(match: re.Match[str]) -> str:
        name, mark, anchor = match[2].partition("#")
        if "://" in name or not name:
            return match[0]
        target = (ROOT / base / name).resolve().relative_to(ROOT).as_posix()
        place = places.get(target)
        if place is None and target.startswith("docs/"):
            place = target.removeprefix("docs/")
        elif place is None:
            place = f"files/{target}"
            copy = folder / place
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / target, copy)
        return f"{match[1]}{place}{mark}{anchor}{match[3]}"

    parts = re.split(f"({FENCE.pattern})", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if n % 2 else LINK.sub(replaced, part) for n, part in enumerate(parts))


def command_reference() -> str:
    """Return the page of all commands, from their parsers."""
    lines = [
        "# Commands",
        "",
        "Every command with its flags, as `--help` prints them. Exit codes: 0 ok, 2 usage, "
        "78 bad configuration, 1 anything else.",
        "",
    ]
    for group in GROUPS:
        parser = build_parser([group])
        for name, verb in _verbs(parser):
            lines += _command(f"edge-sim {name}", verb, "##")
            lines += [
                line
                for inner, each in _verbs(verb)
                for line in _command(f"edge-sim {name} {inner}", each, "###")
            ]
    return "\n".join(lines)


def _verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _command(name: str, parser: argparse.ArgumentParser, level: str) -> list[str]:
    lines = [f"{level} {name}", "", _cell(parser.description or ""), ""]
    flags = [
        action
        for action in parser._actions
        if not isinstance(action, (argparse._SubParsersAction, argparse._HelpAction))
        and action.help != argparse.SUPPRESS
    ]
    if flags:
        lines += ["| argument | |", "|---|---|"]
        formatter = parser._get_formatter()
        for action in flags:
            names = ", ".join(action.option_strings)
            value = "" if action.nargs == 0 else formatter._format_args(action, _value_of(action))
            shown = f"`{f'{names} {value}'.strip()}`".replace("|", "\\|")
            told = formatter._expand_help(action) if action.help else _common(action)
            lines.append(f"| {shown} | {_cell(told)} |")
        lines.append("")
    return lines


def _common(action: argparse.Action) -> str:
    names = action.option_strings or [str(action.metavar or action.dest)]
    return next((COMMON[name] for name in names if name in COMMON), "")


def _value_of(action: argparse.Action) -> str:
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest.upper() if action.option_strings else action.dest


def configuration_reference() -> str:
    """Return the page of all keys of the configuration, from its schema."""
    schema = json_schema_of(Config)
    parts = schema["$defs"]
    lines = [
        "# Configuration",
        "",
        "Every key, with its unit and default; [default.yaml](files/configs/default.yaml) shows "
        "them as a file. An editor that knows YAML schemas completes and checks the keys: "
        "`edge-sim schema config > config.schema.json`, and as the first line of the configuration "
        "`# yaml-language-server: $schema=config.schema.json`.",
        "",
        *_section("The file", parts["Config"], parts),
    ]
    for key, field in parts["Config"]["properties"].items():
        for name in _sections_of(field):
            lines += _section(f"`{key}`: {_heading(name, parts)}", parts[name], parts)
            for inner, nested in parts[name]["properties"].items():
                for deep in _sections_of(nested):
                    if "properties" in parts[deep]:
                        title = f"`{key}.{inner}`: {_heading(deep, parts)}"
                        lines += _section(title, parts[deep], parts)
    return "\n".join(lines)


def _heading(name: str, parts: dict[str, Any]) -> str:
    kinds = parts[name]["properties"].get("kind", {}).get("enum")
    return f"`kind: {kinds[0]}`" if kinds else str(parts[name]["description"]).rstrip(".")


def _sections_of(field: dict[str, Any]) -> list[str]:
    """Return the names of the sections that a key may hold."""
    text = [field, field.get("additionalProperties"), field.get("items")]
    found = [each["$ref"] for each in text if isinstance(each, dict) and "$ref" in each]
    items = field.get("items")
    if isinstance(items, dict):
        found += [each["$ref"] for each in items.get("anyOf", ()) if "$ref" in each]
    return [reference.rpartition("/")[2] for reference in found]


def _section(title: str, part: dict[str, Any], parts: dict[str, Any]) -> list[str]:
    lines = [f"## {title}", "", _cell(part["description"]), "", "| key | | values | default |"]
    lines.append("|---|---|---|---|")
    required = set(part.get("required", ()))
    for key, field in part["properties"].items():
        default = "required" if key in required else f"`{_yaml(field.get('default'))}`"
        nested = any("properties" in parts[name] for name in _sections_of(field))
        shown = "see below" if nested else default
        told = _cell(field["description"])
        unit = f" ({field['unit']})" if "unit" in field else ""
        lines.append(f"| `{key}` | {told} | {_values(field, parts)}{unit} | {shown} |")
    return [*lines, ""]


def _values(field: dict[str, Any], parts: dict[str, Any]) -> str:
    """Return the values that a key takes, in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return _values(parts[name], parts) if "enum" in parts[name] else "a section"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_values(each, parts) for each in field["anyOf"]))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        items = field.get("items")
        kind = _values(items, parts) if isinstance(items, dict) else "numbers"
        return f"list of {kind.replace('a section', 'sections')}"
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        kind = _values(inner, parts) if isinstance(inner, dict) else "a section"
        return f"by name: {kind.replace('a section', 'sections')}"
    words = {"integer": "whole number", "null": "`null`", "boolean": "`true`, `false`"}
    limits = [
        f"{word} {field[key]}"
        for key, word in (
            ("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"),
        )
        if key in field
    ]  # fmt: skip
    kind = str(field.get("type", "text")).replace("string", "text")
    return " ".join([words.get(kind, kind), *limits])


def _yaml(value: Any) -> str:
    words = {True: "true", False: "false", None: "null"}
    if value is None or isinstance(value, bool):
        return words[value]
    return str(value).replace("'", '"') if isinstance(value, (list, dict)) else str(value)


def _cell(text: str) -> str:
    """Return text for a cell of a table: one line, no markup."""
    plain = " ".join(text.split())
    plain = re.sub(r"(?<![\\`\w/-])(\*|<|>|\[|\])", r"\\\1", plain)
    return plain.replace("|", "\\|")


class _Page(HTMLParser):
    """Anchors and addresses of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what an element names."""
        found = {key: value for key, value in attrs if value}
        self.anchors |= {found[key] for key in ("id", "name") if key in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("img", "script", "source", "iframe") and "src" in found:
            self.loads.append(found["src"])
        if tag == "link" and "stylesheet" in found.get("rel", ""):
            self.loads.append(found["href"])


def broken_links(site: Path) -> Iterator[str]:
    """Yield each link, picture and anchor of a site that leads nowhere, and loads from elsewhere.

    Args:
        site: Built site.
    """
    pages = {}
    for path in site.rglob("*.html"):
        pages[path.resolve()] = page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
    for path, page in pages.items():
        if path.name == "404.html":  # its addresses start at the root of a server
            continue
        where = path.relative_to(site.resolve())
        for address in page.loads:
            if urlsplit(address).netloc:
                yield f"{where}: loads {address} from elsewhere"
        for address in (*page.links, *page.loads):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{where}: {address} does not exist"
            elif (
                parts.fragment
                and target in pages
                and unquote(parts.fragment) not in pages[target].anchors
            ):
                yield f"{where}: {address} has no such heading"


if __name__ == "__main__":
    sys.exit(main())
