"""docs/api.md names every public name, with the signature that it has."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest

import edge_sim
from edge_sim import events, protocols

WHOLE = (edge_sim.Watcher, edge_sim.Gallery, edge_sim.GalleryStore)
"""Classes of which every public member is documented."""
INTERNAL = {
    "GalleryStore.changing",
    "GalleryStore.reading",
    "GalleryStore.rework",
    "Gallery.cells",
    "Gallery.summary",
}
MAKERS = {"EventOrigin", "completed", "state_changed"}
"""Names of `edge_sim.events` that only the pipeline uses."""


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "api.md").read_text()


def default_text(value: Any) -> str:
    if repr(value) == "<factory>":
        return "..."
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}()"
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value).replace("'", '"')


def signature_of(name: str, called: Any) -> str:
    """`name(a, *, b=1)`: names and defaults, without types."""
    parts: list[str] = []
    parameters = [p for p in inspect.signature(called).parameters.values() if p.name != "self"]
    for at, parameter in enumerate(parameters):
        before = parameters[at - 1] if at else None
        is_keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        if is_keyword and (before is None or before.kind is not parameter.kind):
            parts.append("*")
        stars = "**" if parameter.kind is inspect.Parameter.VAR_KEYWORD else ""
        stars = "*" if parameter.kind is inspect.Parameter.VAR_POSITIONAL else stars
        has_default = parameter.default is not parameter.empty
        default = f"={default_text(parameter.default)}" if has_default else ""
        parts.append(f"{stars}{parameter.name}{default}")
    return f"{name}({', '.join(parts)})"


def members(owner: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(owner).items():
        full = f"{owner.__name__}.{name}"
        if not name.startswith("_") and full not in INTERNAL:
            yield full, getattr(owner, name) if isinstance(member, classmethod) else member


def expected() -> Iterator[str]:
    for name in edge_sim.__all__:
        found = getattr(edge_sim, name)
        if inspect.isfunction(found) or (
            dataclasses.is_dataclass(found) and isinstance(found, type)
        ):
            yield signature_of(name, found)
        else:
            yield name
    for owner in WHOLE:
        for full, member in members(owner):
            yield full if not callable(member) else signature_of(full, member)


def test_every_public_name_is_documented_with_its_signature(page: str) -> None:
    shown = set(re.findall(r"`([^`\n]+)`", page))
    assert [text for text in expected() if text not in shown] == []


def test_nothing_is_documented_that_is_not_there(page: str) -> None:
    reference = page.partition("\n## Reference\n")[2]
    assert reference
    for text in re.findall(r"^(?:### |- )`([\w.]+)[`(]", reference, re.MULTILINE):
        found: Any = edge_sim
        for part in text.removeprefix("edge_sim.").split("."):
            names = set(dir(found)) | set(getattr(found, "__annotations__", ()))
            assert part in names, f"{text} is documented and does not exist"
            found = getattr(found, part, object)


def test_every_kind_of_event_and_function_of_events_is_documented(page: str) -> None:
    for name in events.__all__:
        if name in MAKERS:
            continue
        found = getattr(events, name)
        text = signature_of(f"events.{name}", found) if inspect.isfunction(found) else name
        assert f"`{text}`" in page or f"`events.{text}`" in page, text
    for tag, kind in events.event_kinds().items():
        if kind.__module__.startswith("edge_sim."):
            assert f"`{tag}`" in page


def test_every_protocol_is_documented_with_its_members(page: str) -> None:
    for name in protocols.__all__:
        found = getattr(protocols, name)
        assert f"`protocols.{name}`" in page or f"`{name}`" in page, name
        if not getattr(found, "_is_protocol", False):
            continue
        for member, value in vars(found).items():
            if member.startswith("_"):
                continue
            text = signature_of(member, value) if inspect.isfunction(value) else member
            assert f"`{text}`" in page, f"{name}.{text}"


def test_the_settings_of_a_watcher_are_documented_with_their_defaults(page: str) -> None:
    from edge_sim.runtime.config import WatchConfig

    for field in msgspec.structs.fields(WatchConfig):
        if field.name in ("source", "mask"):
            continue
        assert re.search(rf"^\| `{field.name}` \|", page, re.MULTILINE), field.name
