"""The tables that the comparison writes into the documents."""

from __future__ import annotations

import importlib.util
import json
from datetime import timedelta
from pathlib import Path

import compare
import msgspec
import pytest
from comparing import tables
from comparing.comparison import Candidate, MethodResult, Summary, measure_method

from edge_sim.analysis.evaluation.states import Protocol
from edge_sim.errors import DataError
from tests.analysis.evaluation.folders import embedded_set, write_set, write_tar
from tests.conftest import REPOSITORY

SETS = {"ours": [embedded_set(["empty"] * 9 + ["left"] * 9)]}
PROTOCOL = Protocol(references=3, draws=1)


@pytest.fixture(scope="module")
def results() -> list[MethodResult]:
    found = [
        measure_method(Candidate(name, model), SETS, {}, PROTOCOL, track=lambda items, label: items)
        for name, model in (("gallery", "ours"), ("thumbnail", None))
    ]
    return [*found, MethodResult("scenedetect", None, None, "it is not installed", Summary())]


def columns(table: str) -> set[int]:
    return {line.count("|") for line in table.splitlines() if line.startswith("|")}


def test_the_short_table_has_a_row_for_every_method_that_was_measured(
    results: list[MethodResult],
) -> None:
    text = tables.figures_of_readme(results, "ours")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2
    assert len(columns(text)) == 1
    assert "edge_sim, ours" in rows[2]
    others = [msgspec.structs.replace(results[0], model="other"), *results[1:]]
    assert "edge_sim, other" not in tables.figures_of_readme(others, "ours")
    assert "1.000 (drawn)" in rows[2]
    assert "right 100.0 % of the time" in text


def test_the_full_tables_name_models_and_what_was_skipped(results: list[MethodResult]) -> None:
    text = tables.tables_of(results, {}, {"ours": "cells@1"})
    assert "`ours` is cells@1." in text
    assert "PySceneDetect, adaptive detector: not measured, it is not installed." in text
    assert "| drawn | 1.000 | 1.000 |" in text


def test_the_measured_part_of_a_document_is_replaced_and_nothing_else() -> None:
    old = f"# A\n{tables.BEGIN}\nold\n{tables.END}\n# B\n"
    new = tables.with_section(old, "new\n")
    assert new == f"# A\n{tables.BEGIN}\nnew\n{tables.END}\n# B\n"
    assert tables.with_section(new, "new") == new


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("# A\n", id="no marks"),
        pytest.param(f"{tables.END}{tables.BEGIN}", id="wrong order"),
        pytest.param(f"{tables.BEGIN}{tables.END}{tables.BEGIN}{tables.END}", id="twice"),
    ],
)
def test_a_document_without_its_marks_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="marks"):
        tables.with_section(text, "new")


@pytest.mark.parametrize("name", ["README.md", "docs/evaluation.md"])
def test_the_documents_have_their_marks(name: str) -> None:
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert tables.END in tables.with_section(text, "new")


def test_everything_is_measured_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path / "data" / "states" / "shelf", ["empty", "left"] * 8)
    write_set(tmp_path / "data" / "sequences" / "road", ["empty"] * 30)
    (tmp_path / "data" / "retrieval").mkdir()
    write_tar(tmp_path / "data" / "retrieval" / "things.tar", ["left", "right"], 3)
    page = tmp_path / "page.md"
    page.write_text(f"{tables.BEGIN}\n{tables.END}\n")
    models = ["--model", "thumbnail", "--official", "thumbnail"]
    common = [
        "--data",
        str(tmp_path),
        "--draws",
        "1",
        *models,
        "--json",
        str(tmp_path / "all.json"),
    ]
    assert compare.main([*common, "--write", "--readme", str(page), "--document", str(page)]) == 0
    assert "| things | ours |" in page.read_text()
    figures = json.loads((tmp_path / "all.json").read_text())
    assert {one["method"] for one in figures["results"]} >= {"gallery", "mog2", "softmax-head"}
    told = page.read_text()
    again = ["--measured", str(tmp_path / "all.json"), "--write"]
    page.write_text(f"{tables.BEGIN}\n{tables.END}\n")
    assert compare.main([*again, "--readme", str(page), "--document", str(page)]) == 0
    assert page.read_text() == told
    capsys.readouterr()
    assert compare.main(["--measured", str(page)]) == 1
    assert "not what --json writes" in capsys.readouterr().err
    assert compare.main(["--data", str(tmp_path / "nowhere")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_methods_are_compared_on_pictures_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ["empty"] * 9 + ["left"] * 9 + ["empty"] * 9
    played = write_set(tmp_path / "gate", labels, step=timedelta(minutes=15))
    still = write_set(tmp_path / "road", ["empty"] * 30)
    names = ["gallery", "nearest-cosine", "ssim", "softmax-head", "mog2", "scenedetect"]
    found = tmp_path / "all.json"
    arguments = ["--clips", str(still), "--draws", "1", "--model", "thumbnail"]
    arguments = [str(played), *arguments, "--json", str(found), "--scorers", *names]
    assert compare.main(arguments) == 0
    by_name = {one["method"]: one for one in json.loads(found.read_text())["results"]}
    assert list(by_name) == names
    assert by_name["gallery"]["summary"]["f1"] == pytest.approx(1.0)
    assert [one["name"] for one in by_name["ssim"]["events"]] == ["gate", "road"]
    assert by_name["mog2"]["states"] is None
    missing = importlib.util.find_spec("scenedetect") is None
    assert (by_name["scenedetect"]["skipped"] is not None) == missing
    printed = capsys.readouterr()
    assert "| edge_sim, ours | 1.000" in printed.out
    assert ("scenedetect: skipped" in printed.err) == missing


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--references", "0"], "1 or more", id="no references"),
        pytest.param(["--write"], "leave the SETs out", id="own figures in the documents"),
        pytest.param(["--references", "1"], "no state lasts 3 frames", id="asks for nothing"),
    ],
)
def test_a_mistake_ends_in_one_line(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write_set(tmp_path / "flicker", ["left", "right"] * 8))
    assert compare.main([folder, "--model", "thumbnail", "--draws", "1", *arguments]) == 1
    told = capsys.readouterr().err.splitlines()
    assert words in told[-1]
