"""Text models on the command line: imported, listed, indexed with, searched by."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import make_dual_encoder
import numpy as np
import pytest

from edge_sim.cli.main import main

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: edge_sim[text]")
pytest.importorskip("tokenizers", reason="tokenizers is not installed: edge_sim[text]")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, colour in enumerate(("red", "green", "blue", "yellow")):
        pixels = np.full((30, 40, 3), make_dual_encoder.COLOURS[colour][::-1], np.uint8)
        pixels[:6, :6] = np.random.default_rng(number).integers(0, 255, (6, 6, 3))
        path = tmp_path / "photos" / colour / f"{number}.png"
        path.parent.mkdir(parents=True)
        assert cv2.imwrite(str(path), pixels)
    return tmp_path / "photos"


@pytest.fixture
def imported(run: Run, tmp_path: Path) -> Path:
    make_dual_encoder.make(tmp_path / "colours")
    code, out, err = run("model", "import-text", tmp_path / "colours", "--json")
    assert code == 0
    assert "--text-model colours" in err
    facts = json.loads(out)
    assert (facts["license"], facts["dimension"], facts["ok"]) == ("apache-2.0", 4, True)
    return Path(facts["out"])


def test_an_index_with_a_text_model_is_searched_in_its_words(
    imported: Path, photos: Path, tmp_path: Path, run: Run
) -> None:
    place = tmp_path / "i"
    build = ("index", "build", photos, "--out", place)
    code, out, _ = run(*build, "--text-model", "colours")
    assert code == 0
    assert "in words by colours@" in out
    code, out, _ = run("search", "--text", "Blue thing", "--index", place, "--json")
    assert json.loads(out)["text_model"].startswith("colours@")
    hits = json.loads(out)["hits"]
    assert (code, hits[0]["name"], hits[0]["facts"]["state"]) == (0, "blue/2.png", "blue")
    code, out, _ = run(
        "search", "--text", "blue", "--index", place, "--where", "state in (red, green)", "--json"
    )
    assert {hit["name"] for hit in json.loads(out)["hits"]} == {"red/0.png", "green/1.png"}
    assert run("search", "--text", "blue", "--index", place, "--words")[0] == 1
    assert run("search", "--query", photos / "red/0.png", "--index", place, "--words")[0] == 1
    code, out, _ = run("index", "info", place, "--json")
    text = json.loads(out)["text"]
    assert (text["pictures"], text["missing"]) == (4, 0)
    code, out, _ = run("search", "--text", "blue", "--index", place, "--tag-hits", "sea")
    assert code == 0
    assert len(run("index", "list", place, "--tag", "sea")[1].splitlines()) == 5


def test_a_picture_that_is_added_can_be_searched_in_words_at_once(
    imported: Path, photos: Path, tmp_path: Path, run: Run
) -> None:
    place = tmp_path / "i"
    run("index", "build", photos, "--out", place, "--text-model", imported)
    shutil.copyfile(photos / "red" / "0.png", photos / "copy.png")
    black = np.full((20, 20, 3), 5, np.uint8)
    assert cv2.imwrite(str(photos / "black.png"), black)
    assert run("index", "add", place, photos / "black.png", photos / "copy.png")[0] == 0
    _, out, err = run("search", "--text", "black", "--index", place, "--top-k", "1", "--json")
    assert json.loads(out)["hits"][0]["name"] == "black.png"
    assert "no vector" not in err


def test_without_its_text_model_an_index_is_kept_up_all_the_same(
    imported: Path, photos: Path, tmp_path: Path, run: Run
) -> None:
    build = ("index", "build", photos, "--out", tmp_path / "i")
    run(*build, "--text-model", "colours")
    shutil.rmtree(imported)
    assert cv2.imwrite(str(photos / "new.png"), np.full((20, 20, 3), 5, np.uint8))
    code, out, err = run(*build)
    assert code == 0
    assert "5 pictures" in out
    assert "new pictures get no vector for words" in err
    assert "1 without a vector" in out
    code, _, err = run("search", "--text", "blue", "--index", tmp_path / "i")
    assert (code, err.count("edge-sim: ")) == (1, 1)
    assert run(*build, "--text-model", "none")[0] == 0
    assert "in words" not in run("index", "info", tmp_path / "i")[1]


def test_a_text_model_that_is_not_there_is_named_before_anything_is_indexed(
    photos: Path, tmp_path: Path, run: Run
) -> None:
    code, _, err = run("index", "build", photos, "--out", tmp_path / "i", "--text-model", "nix")
    assert (code, err.count("\n")) == (1, 1)
    assert "model import-text" in err
    assert not (tmp_path / "i").exists()


def test_text_models_are_listed(imported: Path, run: Run) -> None:
    code, out, _ = run("model", "list")
    line = next(line for line in out.splitlines() if line.startswith("colours "))
    assert (code, line.split()[1:4]) == (0, ["imported", "text", "model"])
    (view,) = json.loads(run("model", "list", "--json")[1])["text_models"]
    assert (view["name"], view["license"], view["problem"]) == ("colours", "apache-2.0", None)
    (imported / "card.json").write_text("{")
    code, out, err = run("model", "list")
    assert (code, "rejected" in out, "card.json" in err) == (0, True, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("https://127.0.0.1/x.tgz",),
        ("https://127.0.0.1/x.tgz", "--sha256", "0" * 64, "--from", "x"),
        ("v3-small", "--sha256", "0" * 64),
    ],
)
def test_a_pull_without_its_sum_or_with_the_wrong_options_is_one_line(
    arguments: tuple[str, ...], run: Run
) -> None:
    code, _, err = run("model", "pull", *arguments)
    assert (code, err.count("\n")) == (2, 1)


def test_a_sum_that_is_none_is_wrong_usage(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run("model", "pull", "https://127.0.0.1/x.tgz", "--sha256", "abc")
    assert caught.value.code == 2
    assert "64 hexadecimal digits" in capsys.readouterr().err.splitlines()[-1]
