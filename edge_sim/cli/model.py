"""`edge-sim model`: what a model file is, and whether it works."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli.output import print_json

if TYPE_CHECKING:
    from edge_sim.embedders.model_file import ModelFile
    from edge_sim.embedders.tensors import TensorPlan
    from edge_sim.embedders.tflite import TfliteEmbedder

SCHEMA = 1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    parser = commands.add_parser("model", help="say what a model file is, and whether it works")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _register_file_verb(verbs, "info", _info, "print what the file and its card say")
    verify = _register_file_verb(verbs, "verify", _verify, "load the model, run it, check its card")
    verify.add_argument("--runtime", default="auto", help="auto, ai-edge-litert or tflite-runtime")
    cut = _register_file_verb(
        verbs, "import", _import, "make an embedder of a classifier by cutting its last layer off"
    )
    cut.add_argument("--out", required=True, type=Path, help="the .tflite file to write")
    cut.add_argument("--license", default="unknown", help="SPDX identifier of the weights")


def _register_file_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, handler: Any, text: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text.capitalize() + ".")
    parser.add_argument("file", help="a .tflite file, or `default`")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=handler)
    return parser


def _path(name: str) -> Path:
    from edge_sim.embedders import DEFAULT
    from edge_sim.resources import default_model_path

    return default_model_path() if name == DEFAULT else Path(name)


def _info(args: argparse.Namespace) -> int:
    from edge_sim.embedders.card import read_card
    from edge_sim.embedders.model_file import read_model_file
    from edge_sim.embedders.tensors import plan_tensors

    model = read_model_file(_path(args.file))
    card = read_card(model.path, model.sha256)
    plan = plan_tensors(model, card)
    facts = {
        "schema": SCHEMA,
        "file": str(model.path),
        "bytes": len(model.data),
        "sha256": model.sha256,
        "card": None if card is None else card.name,
        "license": None if card is None else card.license,
        "input": str(plan.picture),
        "order": plan.order,
        "pixels": _pixels(plan, has_card=card is not None),
        "global": f"{plan.vector.name}: {plan.vector}",
        "spatial": None if plan.spatial is None else f"{plan.spatial.name}: {plan.spatial}",
        "dimension": plan.dimension,
        "operators": sum(model.operators.values()),
        "custom_operators": ", ".join(model.custom_operators) or None,
    }
    _print(args.json, facts)
    return 0


def _pixels(plan: TensorPlan, *, has_card: bool) -> str:
    """Return in words what `tensors.pixel_table` does."""
    source = "" if has_card else " (no card: assumed)"
    if plan.mean is not None and plan.std is not None:
        mean, std = (", ".join(f"{v:g}" for v in triple) for triple in (plan.mean, plan.std))
        return f"(level - [{mean}]) / [{std}]{source}"
    return ("level" if plan.picture.dtype == "uint8" else "level - 128") + source


def _verify(args: argparse.Namespace) -> int:
    from edge_sim.embedders.runtime import partitions
    from edge_sim.embedders.tflite import open_tflite

    embedder = open_tflite(_path(args.file), runtime=args.runtime)
    cosine = _check(embedder)
    facts = {
        "schema": SCHEMA,
        "model_id": embedder.model_id,
        "card": "matches the file" if embedder.card else "none",
        "runtime": f"{embedder.runtime.name} {embedder.runtime.version}",
        "partitions": partitions(embedder.interpreter),
        "dimension": embedder.dimension,
        "red_to_blue_cosine": round(cosine, 4),
        "ok": True,
    }
    _print(args.json, facts)
    return 0


def _import(args: argparse.Namespace) -> int:
    from edge_sim.embedders.card import card_path
    from edge_sim.embedders.classifier_cut import embedder_bytes
    from edge_sim.embedders.model_file import read_model_file
    from edge_sim.embedders.tflite import open_tflite
    from edge_sim.errors import ModelError

    source = read_model_file(_path(args.file))
    out: Path = args.out
    if out.suffix != ".tflite":
        raise ModelError(f"{out}: --out must end in .tflite")
    if out.exists() or card_path(out).exists():
        raise ModelError(f"{out}: it or its card is there already; remove it or give another --out")
    data = embedder_bytes(source)
    try:
        out.write_bytes(data)
        card_path(out).write_bytes(_card(source, read_model_file(out), args.license))
    except OSError as error:
        raise ModelError(f"{out}: cannot write ({error.strerror})") from error
    embedder = open_tflite(out)
    facts = {
        "schema": SCHEMA,
        "out": str(out),
        "bytes": len(data),
        "source_bytes": len(source.data),
        "model_id": embedder.model_id,
        "dimension": embedder.dimension,
        "red_to_blue_cosine": round(_check(embedder), 4),
        "ok": True,
    }
    _print(args.json, facts)
    return 0


def _card(source: ModelFile, cut: ModelFile, license_name: str) -> bytes:
    """Return the card of a cut classifier, as JSON."""
    import msgspec

    from edge_sim.embedders.card import SCHEMA as CARD_SCHEMA
    from edge_sim.embedders.card import Card, CardInput, CardOutput, CardOutputs

    picture = cut.inputs[0]
    outputs = [CardOutput(name=output.name, shape=output.shape) for output in cut.outputs]
    card = Card(
        schema=CARD_SCHEMA,
        name=cut.path.stem,
        file=cut.path.name,
        sha256=cut.sha256,
        license=license_name,
        input=CardInput(
            size=picture.shape[1],
            dtype=picture.dtype,
            scale=picture.scale,
            zero_point=picture.zero_point,
        ),
        outputs=CardOutputs(vector=outputs[0], spatial=outputs[1] if outputs[1:] else None),
        training={"cut_from": source.path.name, "cut_from_sha256": source.sha256},
    )
    return msgspec.json.format(msgspec.json.encode(card), indent=2)


def _check(embedder: TfliteEmbedder) -> float:
    """Return the cosine of a red and a blue pattern after checking what every embedder promises.

    Raises:
        ModelError: The model is not deterministic, or gives one answer for every picture.
    """
    import numpy as np

    from edge_sim.errors import ModelError

    path = embedder.model.path
    levels = np.random.default_rng(0).integers(0, 256, (96, 128), dtype=np.uint8)
    red = np.zeros((96, 128, 3), np.uint8)
    red[:, :, 2] = levels
    first, again = embedder.embed(red), embedder.embed(red)
    if not np.array_equal(first.vector, again.vector):
        raise ModelError(f"{path}: the model answers differently to the same picture")
    blue = embedder.embed(np.ascontiguousarray(red[:, :, ::-1]))
    if np.array_equal(first.vector, blue.vector):
        raise ModelError(f"{path}: the model answers the same to different pictures")
    return float(first.vector @ blue.vector)


def _print(as_json: bool, facts: dict[str, Any]) -> None:
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        if key not in ("schema", "ok"):
            print(f"{key:<20}{'-' if value is None else value}")
    if "ok" in facts:
        print("ok")
