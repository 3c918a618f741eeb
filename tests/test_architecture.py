"""Shape and language of the package: what import-linter does not check."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "edge_sim"
SOURCES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).parts[0] not in ("models", "configs")
)
DOCUMENTS = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *REPOSITORY.glob("configs/*")]
)
LONGEST_MODULE = 600

PRIVATE_NAMES = frozenset(
    {
        "Sight",
        "Sights",
        "Rig",
        "World",
        "Bell",
        "Turns",
        "OwnHand",
        "ManyHands",
        "Post",
        "Outlets",
        "Keeper",
        "Witnesses",
        "Doubts",
        "Orders",
        "Rack",
        "Letter",
        "Courier",
        "Slot",
        "Steadier",
        "Manners",
        "Standing",
        "Stay",
        "ChangeEvidence",
        "Recall",
        "GateKeeper",
        "Found",
        "Wanted",
        "Course",
        "Wish",
        "Turn",
        "Happened",
        "Site",
        "WatchCard",
        "Talk",
        "Link",
        "Board",
        "Lane",
    }
)
"""Class names that say nothing to a reader who comes from the field."""

PRIVATE_WORDS = frozenset(
    {
        "look",
        "looks",
        "looked",
        "sight",
        "sights",
        "glimpse",
        "rig",
        "bell",
        "courier",
        "rack",
        "outlets",
        "keeper",
        "witnesses",
        "vitals",
        "steadier",
        "aside",
        "manners",
        "caution",
        "unexplained",
        "recalling",
        "shelf",
        "soundness",
        "entrant",
        "contest",
        "greeting",
        "ink",
        "album",
        "readout",
        "hands",
        "feeder",
        "told",
        "heed",
        "wish",
    }
)
"""Words that no name of ours contains; the terms of the field stand in DESIGN.md, glossary."""

PRIVATE_PHRASES = (
    r"\b(?:a|the|each|every|per|one|no|last|next|first|later|of|such|three|five) looks?\b",
    r"\bstands? still\b",
    r"\bnobody's word\b",
    r"\bglimpses?\b",
    r"\bcouriers?\b",
    r"\bwitnesses\b",
    r"\bself-told\b",
)
EMPTY_OPENINGS = re.compile(r"(What|Who|Where|How|Of|Whose|Which|Whether|When)\b")


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES: Mapping[Path, ast.Module] = {
    path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES
}
MODULES = {module_name(path) for path in SOURCES}


def imported_at_start(tree: ast.Module) -> Iterator[str]:
    """Yield the modules of ours that importing this one executes."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in MODULES:
                    yield inner
                elif node.module in MODULES:
                    yield node.module


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module_name(path): set(imported_at_start(tree)) for path, tree in TREES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


def test_a_class_name_means_one_thing() -> None:
    places = defaultdict(list)
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module_name(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_a_module_can_be_read_in_one_go(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of every docstring, those below attributes included."""
    for node in ast.walk(tree):
        body = getattr(node, "body", ())
        for statement in body if isinstance(body, list) else ():  # of a lambda it is one expression
            if (
                isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            ):
                yield statement.lineno, statement.value.value


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_docstrings_begin_with_a_verb_or_a_noun(path: Path) -> None:
    empty = [
        f"{path.name}:{line}: {text.strip().splitlines()[0]}"
        for line, text in docstrings(TREES[path])
        if EMPTY_OPENINGS.match(text.strip())
    ]
    assert empty == []


def defined_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_names_are_those_of_the_field(path: Path) -> None:
    private = [
        f"{path.name}:{line}: {name}"
        for line, name in defined_names(TREES[path])
        if name in PRIVATE_NAMES or PRIVATE_WORDS.intersection(name.strip("_").lower().split("_"))
    ]
    assert private == []


@pytest.mark.parametrize("path", [*SOURCES, *DOCUMENTS], ids=lambda path: path.name)
def test_texts_are_in_the_words_of_the_field(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    private = [
        f"{path.name}:{text.count(chr(10), 0, found.start()) + 1}: {found.group()}"
        for phrase in PRIVATE_PHRASES
        for found in re.finditer(phrase, text)
    ]
    assert private == []
