"""A model file is read without trusting a single offset in it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.errors import ModelError
from edge_sim.vision.embedders.model_file import read_model_file
from tests.vision.embedders.flatbuffer_writer import Field, Node, Nodes, Scalar, Vector, serialise
from tests.vision.embedders.tiny_models import (
    AVERAGE_POOL_2D,
    RESHAPE,
    grid_model,
    one_operator_model,
)

MODEL = grid_model("uint8")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model") / "m.tflite"


def test_the_file_says_its_tensors_operators_and_hash(path: Path) -> None:
    path.write_bytes(MODEL)
    model = read_model_file(path)
    assert [str(spec) for spec in model.inputs] == [
        "uint8 (1, 16, 16, 3) scale 0.00784314 zero 128"
    ]
    assert [(spec.name, spec.shape) for spec in model.outputs] == [
        ("global", (1, 48)),
        ("spatial", (1, 4, 4, 3)),
    ]
    assert model.operators == {AVERAGE_POOL_2D: 1, RESHAPE: 1}
    assert model.custom_operators == ()
    assert model.model_name == f"m@{model.sha256[:12]}"


def test_custom_operators_are_named(path: Path) -> None:
    path.write_bytes(one_operator_model(custom_name="Sparkle"))
    assert read_model_file(path).custom_operators == ("Sparkle",)


def test_a_file_cut_off_anywhere_is_refused(path: Path) -> None:
    for length in range(len(MODEL) - 15):  # The last 15 bytes may be padding.
        path.write_bytes(MODEL[:length])
        with pytest.raises(ModelError, match=r"m\.tflite: .*again"):
            read_model_file(path)


@given(data=st.binary(max_size=400))
def test_random_bytes_are_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(ModelError):
        read_model_file(path)


@given(data=st.binary(max_size=400))
def test_random_bytes_behind_the_mark_are_refused(path: Path, data: bytes) -> None:
    path.write_bytes(b"\x10\0\0\0TFL3" + data)
    with pytest.raises(ModelError):
        read_model_file(path)


@given(position=st.integers(8, len(MODEL) - 1), value=st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused_but_nothing_else(
    path: Path, position: int, value: int
) -> None:
    data = bytearray(MODEL)
    data[position] = value
    path.write_bytes(data)
    with contextlib.suppress(ModelError):
        assert read_model_file(path).data == bytes(data)


def test_a_missing_file_is_named_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.tflite: .*No such file.*give the path"):
        read_model_file(tmp_path / "none.tflite")


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="directory"):
        read_model_file(tmp_path)


def test_a_file_far_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.tflite"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(ModelError, match="512 MiB"):
        read_model_file(path)


def rooted(**changes: Field) -> bytes:
    """Return a file with an empty graph, with fields of the root table by slot, as `slot3=...`."""
    fields: dict[int, Field] = {
        0: Scalar("I", 3),
        1: Nodes([]),
        2: Nodes([Node({})]),
        4: Nodes([Node({})]),
    }
    fields.update({int(name.removeprefix("slot")): value for name, value in changes.items()})
    return serialise(Node(fields), b"TFL3")


def test_a_graph_of_nothing_is_read(path: Path) -> None:
    path.write_bytes(rooted())
    assert read_model_file(path).inputs == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (rooted(slot0=Scalar("I", 2)), "schema version 2, not 3"),
        (rooted(slot2=Nodes([])), "no graph inside"),
        (
            rooted(slot4=Nodes([Node({1: Scalar("Q", 64), 2: Scalar("Q", 2**40)})])),
            "weights lie outside",
        ),
        (rooted(slot2=Nodes([Node({1: Vector("i", [0])})])), "a tensor that is not there"),
        (rooted(slot2=Nodes([Node({0: Nodes([Node({2: Scalar("I", 9)})])})])), "a buffer that"),
        (rooted(slot2=Nodes([Node({3: Nodes([Node({})])})])), "a code that is not there"),
    ],
    ids=["version", "no graph", "weights", "tensor", "buffer", "code"],
)
def test_what_points_nowhere_is_refused(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(ModelError, match=message):
        read_model_file(path)


def test_signatures_and_metadata_are_walked_too(path: Path) -> None:
    tensor_map = Nodes([Node({0: "picture", 1: Scalar("I", 0)})])
    signatures = Nodes([Node({0: tensor_map, 1: tensor_map, 2: "serving"})])
    data = bytearray(rooted(slot6=Nodes([Node({0: "min_runtime_version"})]), slot7=signatures))
    path.write_bytes(data)
    read_model_file(path)
    for text in (b"serving", b"picture", b"min_runtime_version"):
        broken = bytearray(data)
        at = data.index(text) - 4
        broken[at : at + 4] = (2**31 - 1).to_bytes(4, "little")
        path.write_bytes(broken)
        with pytest.raises(ModelError, match="longer than the file"):
            read_model_file(path)
