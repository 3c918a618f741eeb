"""`search` goes by what `model adapt` has learned, and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_sim.cli.main import main
from edge_sim.core.types import BgrImage
from tests.pictures import write

Run = Any


def scene(state: str, seed: int) -> BgrImage:
    """A lamp in the corner, on or off, in the light of a random window that outshines it."""
    rng = np.random.default_rng(seed)
    pixels = np.full((96, 96, 3), 90, np.uint8)
    top, left = rng.integers(0, 40, 2)
    cv2.rectangle(pixels, (24 + int(left), int(top)), (64 + int(left), 40 + int(top)), 230, -1)
    level = 200 if state == "on" else 40
    cv2.rectangle(pixels, (4, 76), (20, 92), (level, level, level), -1)
    return np.asarray(pixels, np.uint8)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    for state, start in (("on", 0), ("off", 100)):
        for number in range(8):
            write(Path("refs") / state / f"{number}.png", scene(state, start + number))
            write(Path("more") / state / f"{number}.png", scene(state, start + 50 + number))
    write(Path("query.png"), scene("on", 999))

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    importing = ("gallery", "import", "refs", "--watch", "lamp", "--model", "thumbnail", "--force")
    assert call(*importing)[0] == 0
    return call


def search(run: Run, *options: object) -> Any:
    code, out, err = run("search", "--query", "query.png", "--top-k", 8, "--json", *options)
    assert code == 0, err
    return json.loads(out)


def states(found: Any) -> list[str]:
    return [hit["facts"]["state"] for hit in found["hits"]]


def test_a_gallery_is_searched_by_what_was_learned_in_it(run: Run) -> None:
    here = ("--gallery", "gallery.db", "--model", "thumbnail")
    before = search(run, *here)
    assert (before["learned"], set(states(before))) == (False, {"on", "off"})
    assert run("model", "adapt")[0] == 0
    after = search(run, *here)
    assert (after["learned"], states(after)) == (True, ["on"] * 8)
    assert search(run, *here, "--plain")["hits"] == before["hits"]
    assert not search(run, *here, "--metric", "cosine", "--plain")["learned"]
    _, _, err = run("search", "--query", "query.png", *here, "--report", "found.html")
    assert "by the learned likeness" in err
    assert "Most similar by cosine of the learned likeness" in Path("found.html").read_text()
    run("gallery", "undo")
    assert search(run, *here)["hits"] == before["hits"]


def test_what_holds_no_more_is_not_used_and_said(run: Run) -> None:
    assert run("model", "adapt")[0] == 0
    assert run("gallery", "rm", "r1")[0] == 0
    code, out, err = run(
        "search",
        "--query",
        "query.png",
        "--gallery",
        "gallery.db",
        "--model",
        "thumbnail",
        "--json",
    )
    assert (code, json.loads(out)["learned"]) == (0, False)
    assert "1 of its references are gone or relabelled; `edge-sim model adapt`" in err


def test_an_index_is_searched_by_the_head_of_a_gallery(run: Run) -> None:
    build = ("index", "build", "more", "--model", "thumbnail", "--out")
    assert run(*build, "i", "--scale", "both")[0] == 0
    assert run(*build, "flat")[0] == 0
    code, _, err = run("search", "--query", "query.png", "--index", "i", "--head", "gallery.db")
    assert code == 1
    assert "no learned likeness of watch 'lamp' to search by (it has none)" in err
    assert run("model", "adapt")[0] == 0
    found = search(run, "--index", "i", "--head", "gallery.db")
    assert (found["learned"], states(found)) == (True, ["on"] * 8)
    assert set(states(search(run, "--index", "i"))) == {"on", "off"}
    code, _, err = run("search", "--query", "query.png", "--index", "flat", "--head", "gallery.db")
    assert code == 1
    assert "build the index with --scale both" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gallery", "gallery.db", "--head", "gallery.db"], "--head goes with --index"),
        (["--index", "i", "--head", "gallery.db", "--plain"], "--head goes without --plain"),
        (["--index", "i", "--head", "g", "--scale", "both"], "--head goes without --plain"),
        (["--index", "i", "--watch", "lamp"], "--watch goes with --gallery or --head"),
    ],
)
def test_options_that_contradict_each_other_are_one_line(
    run: Run, options: list[str], words: str
) -> None:
    code, _, err = run("search", "--query", "query.png", *options)
    assert code == 1
    assert words in err
    assert err.count("\n") == 1
