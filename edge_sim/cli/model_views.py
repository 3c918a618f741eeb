"""`edge-sim model list|info|verify`: which models there are, what they are, whether they work."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from edge_sim.embedders.tensors import TensorPlan
    from edge_sim.model_library import Shelved

SCHEMA = 1
DEFAULT_NAME = "default"


def models_folder(args: argparse.Namespace) -> Path:
    """Return where the user's models lie: --folder, else where the system keeps a user's data."""
    if args.folder is not None:
        return Path(args.folder)
    data = os.environ.get("XDG_DATA_HOME", "")
    # https://specifications.freedesktop.org/basedir-spec: a relative path is to be ignored.
    root = Path(data) if Path(data).is_absolute() else Path("~/.local/share").expanduser()
    return root / "edge_sim" / "models"


def show_list(args: argparse.Namespace) -> int:
    """List the models at hand."""
    from edge_sim.model_library import PUBLIC, shelf
    from edge_sim.resources import default_model_path

    default = default_model_path()
    folder = models_folder(args)
    found = shelf(default.parent, folder)
    names = {
        model.path: DEFAULT_NAME if model.path == default else model.path.stem for model in found
    }
    if args.json:
        views = [_view(model, names[model.path]) for model in found]
        print_json(
            {
                "schema": SCHEMA,
                "folder": str(folder),
                "models": views,
                "public": sorted(PUBLIC),
            }
        )
        return 0
    headers = ("name", "origin", "role", "input", "outputs", "MB", "sha256", "card")
    print_table(headers, [_row(model, names[model.path]) for model in found])
    for model in found:
        if model.problem is not None:
            note(model.problem)
    note(f"imported models lie in {folder}; `edge-sim model pull` fetches {', '.join(PUBLIC)}")
    return 0


def _row(model: Shelved, name: str) -> tuple[object, ...]:
    side = "-" if model.input_px is None else "x".join(str(px) for px in model.input_px)
    outputs = ", ".join("x".join(str(size) for size in shape) for _, shape in model.outputs)
    digits = "-" if model.sha256 is None else model.sha256[:12]
    megabytes = f"{model.size_bytes / 1e6:.2f}"
    return name, model.origin, model.role, side, outputs or "-", megabytes, digits, model.card


def _view(model: Shelved, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "file": str(model.path),
        "origin": model.origin,
        "role": model.role,
        "input_px": model.input_px,
        "outputs": [{"name": output, "shape": shape} for output, shape in model.outputs],
        "bytes": model.size_bytes,
        "sha256": model.sha256,
        "card": model.card,
        "problem": model.problem,
    }


def model_path(name: str) -> Path:
    """Return the file that a word of the command line means."""
    from edge_sim.embedders import DEFAULT
    from edge_sim.resources import default_model_path

    return default_model_path() if name == DEFAULT else Path(name)


def info(args: argparse.Namespace) -> int:
    """Print what a file and its card say."""
    from edge_sim.embedders.card import read_card
    from edge_sim.embedders.model_file import read_model_file
    from edge_sim.embedders.tensors import plan_tensors

    model = read_model_file(model_path(args.file))
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
    print_facts(args.json, facts)
    return 0


def _pixels(plan: TensorPlan, *, has_card: bool) -> str:
    """Return in words what `tensors.pixel_table` does."""
    source = "" if has_card else " (no card: assumed)"
    if plan.mean is not None and plan.std is not None:
        mean, std = (", ".join(f"{v:g}" for v in triple) for triple in (plan.mean, plan.std))
        return f"(level - [{mean}]) / [{std}]{source}"
    return ("level" if plan.picture.dtype == "uint8" else "level - 128") + source


def verify(args: argparse.Namespace) -> int:
    """Load a model, run it, check its card."""
    from edge_sim.embedders.runtime import partitions
    from edge_sim.embedders.tflite import open_tflite
    from edge_sim.model_library import red_to_blue_cosine

    embedder = open_tflite(model_path(args.file), runtime=args.runtime)
    cosine = red_to_blue_cosine(embedder)
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
    print_facts(args.json, facts)
    return 0


def print_facts(as_json: bool, facts: dict[str, Any]) -> None:
    """Print facts as JSON, or one to a line."""
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        if key not in ("schema", "ok"):
            print(f"{key:<20}{'-' if value is None else value}")
    if "ok" in facts:
        print("ok")
