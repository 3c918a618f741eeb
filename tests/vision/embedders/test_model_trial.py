"""A foreign model runs in a process of its own first; a device loads only what passed."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from edge_sim.errors import ModelError
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.embedders.model_list import IMPORTED, NO_CARD, VERIFIED, describe_model
from edge_sim.vision.embedders.model_trial import (
    LIST_NAME,
    check_verified,
    record_verified,
    try_model,
    verified_sums,
)
from tests.vision.embedders.tiny_models import grid_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.tflite"
    path.write_bytes(grid_model())
    return path


def sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_trial_gives_the_facts_of_the_embedder(model: Path) -> None:
    facts = try_model(model)
    embedder = open_embedder(model, verified_only=False)
    assert (facts.sha256, facts.model_id) == (sum_of(model), embedder.model_id)
    assert facts.dimension == embedder.dimension
    assert -1.0 <= facts.red_to_blue_cosine < 1.0


def test_an_error_of_the_model_is_the_error_of_the_trial(model: Path) -> None:
    model.write_bytes(grid_model()[:300])
    with pytest.raises(ModelError, match=r"m\.tflite: not a whole TFLite model"):
        try_model(model)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("kill -SEGV $$", r"m\.tflite: the model ended the process that ran it \(SIGSEGV\)"),
        ("kill -ABRT $$", r"m\.tflite: the model ended the process that ran it \(SIGABRT\)"),
        ("exit 3", "ended with exit code 3"),
        ("echo noise", "ended with exit code 0"),
        ("exec sleep 60", r"did not finish in 0\.2 s"),
    ],
    ids=["SIGSEGV", "SIGABRT", "exit code", "no outcome", "no end"],
)
def test_the_end_of_the_process_is_an_error_in_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(ModelError, match=message) as caught:
        try_model(model, timeout_s=0.2 if "sleep" in body else 30.0)
    assert "\n" not in str(caught.value)


def test_no_program_loads_a_model_that_was_never_verified(model: Path) -> None:
    with pytest.raises(ModelError, match=r"has no card; run `edge-sim model verify .*m\.tflite`"):
        open_embedder(model)
    record_verified(model, sum_of(model))
    assert open_embedder(model).dimension


def test_a_model_that_changed_after_it_was_verified_is_rejected(model: Path) -> None:
    record_verified(model, "0" * 64)
    with pytest.raises(ModelError, match="was changed after it was verified"):
        check_verified(model, sum_of(model))


def test_the_list_is_that_of_sha256sum_and_keeps_other_models(model: Path) -> None:
    listed = model.parent / LIST_NAME
    other = "1" * 64
    listed.write_text(f"# of mine\n{other}  other.tflite\n")
    record_verified(model, "2" * 64)
    record_verified(model, sum_of(model))
    assert listed.read_text() == f"{other}  other.tflite\n{sum_of(model)}  m.tflite\n"
    assert verified_sums(model.parent) == {other: "other.tflite", sum_of(model): "m.tflite"}


def test_a_list_that_cannot_be_written_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"verified\.sha256: cannot be written"):
        record_verified(Path("/proc/m.tflite"), "0" * 64)


def test_the_list_of_models_tells_what_was_verified(model: Path) -> None:
    assert describe_model(model, IMPORTED).card == NO_CARD
    record_verified(model, sum_of(model))
    assert describe_model(model, IMPORTED).card == VERIFIED
