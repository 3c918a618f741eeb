"""`model` says what a file is and whether it works."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.vision.embedders.model_pull import PUBLIC
from tests.vision.embedders.archive_server import packed, serving
from tests.vision.embedders.tiny_models import (
    Operator,
    Tensor,
    classifier_model,
    grid_model,
    model_bytes,
    needs_litert,
    one_operator_model,
    pooling,
)

CEIL, LOGISTIC = 104, 14


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.tflite"


def test_info_tells_tensors_and_what_is_assumed(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(grid_model("float32"))
    assert main(["model", "info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assumed = "(level - [127.5, 127.5, 127.5]) / [127.5, 127.5, 127.5] (no card: assumed)"
    assert facts["pixels"] == assumed
    assert facts["input"] == "float32 (1, 16, 16, 3)"
    assert facts["global"] == "global: float32 (1, 48)"
    assert facts["spatial"] == "spatial: float32 (1, 4, 4, 3)"
    assert (facts["operators"], facts["card"]) == (2, None)


@pytest.mark.parametrize(("dtype", "words"), [("uint8", "level"), ("int8", "level - 128")])
def test_info_tells_how_levels_go_in(
    path: Path, capsys: pytest.CaptureFixture[str], dtype: str, words: str
) -> None:
    path.write_bytes(grid_model(dtype))
    assert main(["model", "info", str(path)]) == 0
    assert f"{words} (no card: assumed)\n" in capsys.readouterr().out


def test_verify_runs_a_sound_model(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(grid_model())
    assert main(["model", "verify", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["ok"] is True
    assert facts["red_to_blue_cosine"] < 0.9


def test_verify_refuses_a_card_of_another_file(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(grid_model())
    card = {
        "schema": 1,
        "name": "test",
        "file": "m.tflite",
        "sha256": "0" * 64,
        "license": "Apache-2.0",
        "input": {"size": 16, "dtype": "uint8"},
        "outputs": {"global": {"index": 0}},
    }
    path.with_suffix(".json").write_text(json.dumps(card))
    assert main(["model", "verify", str(path)]) == 1
    error = capsys.readouterr().err
    assert "the card is for a file with sha256 000000000000" in error
    assert error.count("\n") == 1


def test_verify_refuses_a_model_that_answers_the_same_to_everything(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(_blind_model())
    assert main(["model", "verify", str(path)]) == 1
    assert "gives the same output for different pictures" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["info", "verify", "import"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b"\x10\0\0\0TFL3" + random.Random(0).randbytes(2000),
        grid_model()[:300],
        one_operator_model(inputs=[(1, 48)]),
        one_operator_model(inputs=[(1, 16, 16, 3), (1, 16, 16, 3)]),
        one_operator_model(signature=(1, -1, -1, 3)),
    ],
    ids=["empty", "nonsense", "random", "cut off", "no picture", "two inputs", "dynamic shape"],
)
def test_a_file_that_is_no_embedder_is_one_line(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, data: bytes
) -> None:
    path.write_bytes(data)
    folder = tmp_path / "models"
    where = ["--folder", str(folder)] if verb == "import" else []
    assert main(["model", verb, str(path), *where]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"edge-sim: {path}: ")
    assert error.count("\n") == 1
    assert not list(folder.glob("*"))


def _blind_model() -> bytes:
    """Return a model that answers 1, 1, 1 to every picture: the sigmoid of anything, rounded up."""
    tensors = [
        Tensor("input", (1, 16, 16, 3), "float32"),
        *(Tensor(name, (1, 1, 1, 3), "float32") for name in ("mean", "sigmoid", "output")),
    ]
    operators = [
        pooling(0, 1, window=16),
        Operator(LOGISTIC, (1,), (2,)),
        Operator(CEIL, (2,), (3,)),
    ]
    return model_bytes(tensors, operators, inputs=[0], outputs=[3])


@needs_litert
def test_import_writes_an_embedder_with_its_card(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(classifier_model())
    out = tmp_path / "cut.tflite"
    arguments = ["model", "import", str(path), "--out", str(out), "--license", "MIT", "--json"]
    assert main(arguments) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["dimension"], facts["ok"]) == (3, True)
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["license"] == "MIT"
    assert card["outputs"]["spatial"]["shape"] == [1, 4, 4, 3]
    assert main(["model", "verify", str(out)]) == 0
    assert "matches the file" in capsys.readouterr().out


def test_import_overwrites_nothing(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(classifier_model())
    assert main(["model", "import", str(path), "--out", str(path)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert path.read_bytes() == classifier_model()


def test_import_refuses_what_is_no_classifier(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(grid_model())
    assert main(["model", "import", str(path), "--out", str(tmp_path / "cut.tflite")]) == 1
    assert "not a classifier" in capsys.readouterr().err
    assert not (tmp_path / "cut.tflite").exists()


def test_import_writes_tflite_files_only(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(classifier_model())
    assert main(["model", "import", str(path), "--out", str(tmp_path / "cut.bin")]) == 1
    assert "must end in .tflite" in capsys.readouterr().err


@needs_litert
def test_import_into_a_folder_that_is_not_there_is_one_line(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(classifier_model())
    assert main(["model", "import", str(path), "--out", str(tmp_path / "no" / "cut.tflite")]) == 1
    assert capsys.readouterr().err.endswith("cannot write (No such file or directory)\n")


def test_list_shows_the_default_model_and_those_of_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.tflite").write_bytes(grid_model())
    (tmp_path / "bad.tflite").write_bytes(b"nonsense")
    assert main(["model", "list", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["default", "shipped", "embedder"],
        ["bad", "imported", "unusable"],
        ["m", "imported", "embedder"],
    ]
    assert "bad.tflite: " in printed.err
    assert main(["model", "list", "--folder", str(tmp_path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["public"] == ["v3-small"]
    assert [item["card"] for item in listed["models"]] == [
        "matches its card",
        "rejected",
        "no card",
    ]
    assert [item["shape"] for item in listed["models"][0]["outputs"]] == [[1, 256], [1, 4, 4, 64]]


@needs_litert
def test_import_without_out_writes_into_the_folder(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(classifier_model())
    folder = tmp_path / "new" / "models"
    assert main(["model", "import", str(path), "--folder", str(folder)]) == 0
    assert sorted(item.name for item in folder.iterdir()) == ["m.json", "m.tflite"]
    assert main(["model", "import", str(path), "--folder", str(path)]) == 1
    assert "cannot make the folder" in capsys.readouterr().err


def test_the_folder_is_where_the_system_keeps_the_data_of_a_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main(["model", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(tmp_path / "edge_sim" / "models")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["model", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["folder"]
    assert found == str(tmp_path / ".local" / "share" / "edge_sim" / "models")


def test_pull_offline_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v3.tgz"
        assert main(["model", "pull", "v3-small", "--from", url, "--folder", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"edge-sim: {url}: cannot be reached (Connection refused)")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@needs_litert
def test_pull_fetches_the_real_model(
    real_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    public = PUBLIC["v3-small"]
    path = real_data.parent / "models" / public.member
    if not path.is_file():
        pytest.skip(f"no {path.name} at {path.parent}")
    monkeypatch.setenv("no_proxy", "*")
    arguments = ["model", "pull", "v3-small", "--folder", str(tmp_path), "--json"]
    with serving(packed({f"v3/{public.member}": path.read_bytes()})) as shop:
        assert main([*arguments, "--from", shop.url]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["dimension"], facts["was_there"], facts["ok"]) == (1024, False, True)
    assert main(["model", "verify", str(tmp_path / "v3-small.tflite")]) == 0
    assert main([*arguments, "--from", shop.url]) == 0
    assert '"was_there": true' in capsys.readouterr().out


def test_only_known_models_are_pulled(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["model", "pull", "v4-huge"])
    assert caught.value.code == 2
    assert "v3-small" in capsys.readouterr().err
