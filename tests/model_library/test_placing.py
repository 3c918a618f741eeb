"""An import puts model and card in place together, whatever goes wrong."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_sim.embedders.model_file import ModelFile, read_model_file
from edge_sim.errors import ModelError
from edge_sim.model_library import import_classifier
from tests.embedders.tiny_models import classifier_model


@pytest.fixture
def source(tmp_path: Path) -> ModelFile:
    path = tmp_path / "classifier.tflite"
    path.write_bytes(classifier_model())
    return read_model_file(path)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to write a file beyond `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 600])
def test_a_full_disk_leaves_nothing_under_the_final_name(
    source: ModelFile, tmp_path: Path, size: int
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    with largest_file(size), pytest.raises(ModelError, match="cannot write"):
        import_classifier(source, folder / "m.tflite", license_name="MIT")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("taken", ["m.tflite", "m.json"])
def test_nothing_is_written_over(source: ModelFile, tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_bytes(b"mine")
    with pytest.raises(ModelError, match=f"{taken}: is there already"):
        import_classifier(source, tmp_path / "m.tflite", license_name="MIT")
    assert (tmp_path / taken).read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_is_one_line(source: ModelFile) -> None:
    # /proc takes no files from anybody, root included.
    with pytest.raises(ModelError, match=r"/proc/m\.tflite: cannot write") as caught:
        import_classifier(source, Path("/proc/m.tflite"), license_name="MIT")
    assert "\n" not in str(caught.value)
