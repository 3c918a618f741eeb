"""No body that a page or a program sends is an internal error, and none changes what it may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_sim.web import setup
from tests.web.test_references_api import fill_stills, keep_for_review
from tests.web.wizard_device import WizardBench, lamp_bench

FIELDS: Mapping[str, tuple[str, ...]] = {
    "POST /api/preview": ("uri", "user", "password", "rotate"),
    "POST /api/cameras": ("address", "service", "user", "password"),
    "POST /api/watches": ("name", "source", "region", "states", "mask_png", "private"),
    "PATCH /api/watches/lamp": ("region", "mask_png", "private", "sensitivity", "states"),
    "POST /api/watches/lamp/references": ("state", "force"),
    "POST /api/watches/lamp/references/undo": ("reference_id",),
    "POST /api/watches/lamp/proposals": ("picks", "id", "state", "force"),
    "POST /api/watches/lamp/gallery": ("op", "ids", "state", "tag"),
    "POST /api/watches/lamp/gallery/undo": ("revision",),
    "POST /api/review": ("decisions",),
    "POST /api/review/undo": ("undo",),
    "PUT /api/config": ("text", "version", "dry_run"),
    "PATCH /api/config": ("path", "value"),
}
VALUES: Mapping[str, tuple[Any, ...]] = {
    "uri": (
        "synthetic:lamp?seed=x",
        "synthetic:",
        "rtsp://h:99999/",
        "rtsp://[/",
        "http://",
        "csi:x",
        "0",
        "x:y",
        "http://u:p@[::1]:9/x",
    ),
    "source": (
        {"uri": "synthetic:gate"},
        {"uri": "rtsp://[/", "user": "x"},
        {"uri": "", "user": "x"},
        {"name": "camera"},
        {},
        "camera",
    ),
    "name": ("new", "lamp", "None", "x" * 64),
    "region": ([0, 0, 1, 1], [1, 1, 0, 0], [0.99999, 0, 0.00001, 1]),
    "states": (["on"], ["1", "null", "true"], ["on"] * 3, ["a"] * 100, []),
    "mask_png": ("AAAA", "", "iVBORw0KGgo=", "!"),
    "sensitivity": (0, 0.5, 2),
    "rotate": (0, 45),
    "state": ("on", "dim", "unknown", "none"),
    "reference_id": ("r1", "r99999999999999999999", "x"),
    "picks": ([{"id": "s1", "state": "on"}], [{"id": "s9", "state": "x"}] * 3, []),
    "id": ("s1",),
    "op": ("move", "remove", "tag", "untag"),
    "ids": (["r1"], ["r2", "r2"], ["x"], []),
    "tag": ("t", "a b", ""),
    "revision": (1, 3, 10**18, -5),
    "decisions": ([{"id": "lamp/x", "as": "on"}], [{"id": "", "as": ""}], []),
    "undo": ("x", "../..", "00000000000000000000"),
    "text": ("", "a", "watches:\n", "{", "\x00", "&a [*a]", "? {a: b}\n: c\n"),
    "path": ("device", "watches.lamp.roi", "sinks", "a.b.c", "watches.lamp", "__class__"),
    "value": (None, [0, 0, 1, 1], {"a": {"b": 1}}, "*a", "- x", "\n", "a: b"),
    "user": ("a", "é", "a:b@"),
    "service": ("http://127.0.0.1:9/", "ftp://x", "http://[", "http://127.0.0.1:99999/"),
    "address": ("127.0.0.1", "x"),
}
ANYTHING = st.sampled_from([None, True, -1, 1e308, "", "é" * 50, "\x00", [], {}, [[1]], {"a": 1}])


@pytest.fixture(scope="module")
def lamp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WizardBench]:
    folder: Path = tmp_path_factory.mktemp("bodies")
    with lamp_bench(folder, "review: {path: review}\n") as bench, pytest.MonkeyPatch.context() as p:
        p.setattr(setup, "discover", tuple)
        bench.show("on")
        keep_for_review(bench, 2)
        fill_stills(bench)
        yield bench


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_body_is_an_internal_error(lamp: WizardBench, data: st.DataObject) -> None:
    config = lamp.folder / "config.yaml"
    before = config.read_text()
    address = data.draw(st.sampled_from(sorted(FIELDS)))
    method, path = address.split(" ")
    body = {}
    for name in FIELDS[address]:
        if data.draw(st.integers(0, 4)):
            known = VALUES.get(name, (True, False))
            body[name] = data.draw(st.one_of(st.sampled_from(known), ANYTHING))
    status, _, content = lamp.raw(
        method,
        path,
        msgspec.json.encode(body),
        {
            "X-CSRF-Token": lamp.csrf,
            "Origin": f"http://127.0.0.1:{lamp.server.port}",
            "Content-Type": "application/json",
        },
    )
    assert status < 500, content
    if status >= 400:
        assert config.read_text() == before
    elif config.read_text() != before:
        config.write_text(before)
        lamp.device.reload()
