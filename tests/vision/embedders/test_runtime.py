"""A runtime is chosen because it works, not because it can be imported."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from edge_sim.errors import ModelError
from edge_sim.vision.embedders.model_file import read_model_file
from edge_sim.vision.embedders.runtime import (
    CANDIDATES,
    TINY_MODEL,
    RuntimeOption,
    choose_runtime,
    partitions,
)
from tests.vision.embedders.tiny_models import Tensor, grid_model, model_bytes, pooling


class WorkingInterpreter:
    """Takes any model."""

    def __init__(self, *, model_content: bytes, num_threads: int) -> None:
        self.ran = False

    def allocate_tensors(self) -> None: ...

    def invoke(self) -> None:
        self.ran = True


class ForNumpy1:
    """Fails as tflite-runtime 2.14 does beside numpy 2, noise on stderr included."""

    def __init__(self, *, model_content: bytes, num_threads: int) -> None:
        import sys

        sys.stderr.write("A module that was compiled using NumPy 1.x cannot be run in\n")
        raise SystemError("<built-in method> returned a result with an exception set")


def installed(name: str, interpreter: Callable[..., Any], version: str = "9.9") -> RuntimeOption:
    return RuntimeOption(name, load=lambda: interpreter, version=lambda: version)


def absent(name: str) -> RuntimeOption:
    def version() -> str:
        raise PackageNotFoundError(name)

    return RuntimeOption(name, load=lambda: pytest.fail("must not be loaded"), version=version)


def test_the_first_that_works_is_taken() -> None:
    candidates = [installed("a", WorkingInterpreter, "1.2"), installed("b", WorkingInterpreter)]
    chosen = choose_runtime(candidates=candidates)
    assert (chosen.name, chosen.version) == ("a", "1.2")
    assert chosen.build is WorkingInterpreter


def test_one_that_breaks_is_passed_over_and_the_reason_says_so() -> None:
    candidates = [installed("a", ForNumpy1), installed("b", WorkingInterpreter)]
    chosen = choose_runtime(candidates=candidates)
    assert chosen.name == "b"
    assert "a 9.9 does not work (SystemError" in chosen.reason


def test_an_absent_one_is_passed_over_and_the_reason_says_so() -> None:
    chosen = choose_runtime(candidates=[absent("a"), installed("b", WorkingInterpreter)])
    assert (chosen.name, chosen.reason) == ("b", "a is not installed")


def test_one_that_is_asked_for_is_taken_though_it_is_not_the_first() -> None:
    candidates = [installed("a", WorkingInterpreter), installed("b", WorkingInterpreter)]
    assert choose_runtime("b", candidates=candidates).name == "b"


def test_one_that_is_asked_for_is_not_replaced_by_another() -> None:
    with pytest.raises(ModelError, match=r"^no usable TFLite runtime: a is not installed;"):
        choose_runtime("a", candidates=[absent("a"), installed("b", WorkingInterpreter)])


def test_no_runtime_at_all_names_the_fix() -> None:
    with pytest.raises(ModelError, match="pip install ai-edge-litert") as caught:
        choose_runtime(candidates=[absent("ai-edge-litert"), absent("tflite-runtime")])
    assert "\n" not in str(caught.value)


def test_a_runtime_for_another_numpy_names_the_fix_and_keeps_the_noise_away(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ModelError, match=r"edge_sim\[legacy\]") as caught:
        choose_runtime(candidates=[installed("tflite-runtime", ForNumpy1, "2.14.0")])
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_library_that_cannot_be_loaded_is_a_broken_runtime() -> None:
    def load() -> Callable[..., Any]:
        raise OSError("libsomething.so: cannot open shared object file")

    candidate = RuntimeOption("a", load=load, version=lambda: "1")
    with pytest.raises(ModelError, match="libsomething"):
        choose_runtime(candidates=[candidate])


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match="auto, ai-edge-litert, tflite-runtime"):
        choose_runtime("onnx")


def test_the_installed_runtime_works_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    chosen = choose_runtime()
    assert chosen.name in [candidate.name for candidate in CANDIDATES]
    assert capfd.readouterr() == ("", "")


def test_the_embedded_model_is_what_the_docstring_says() -> None:
    tensors = [Tensor("input", (1, 2, 2, 1), "float32"), Tensor("output", (1, 1, 1, 1), "float32")]
    operators = [pooling(0, 1, window=2)]
    assert model_bytes(tensors, operators, inputs=[0], outputs=[1]) == TINY_MODEL


def test_a_float_graph_of_two_plain_operators_is_one_partition(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(grid_model("float32"))
    interpreter = choose_runtime().build(model_content=read_model_file(path).data, num_threads=1)
    interpreter.allocate_tensors()
    assert partitions(interpreter) == 1


def test_delegated_parts_are_counted() -> None:
    class Cut:
        def _get_ops_details(self) -> list[dict[str, str]]:
            return [{"op_name": name} for name in ("CONV_2D", "DELEGATE", "CUSTOM", "DELEGATE")]

    assert partitions(Cut()) == 2
