"""`edge-sim model import|pull`: embedders made of classifiers, at hand or published."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_sim.cli.model_views import SCHEMA, model_path, models_folder, print_facts
from edge_sim.cli.output import byte_progress, note


def import_file(args: argparse.Namespace) -> int:
    """Make an embedder of a classifier."""
    from edge_sim.embedders.model_file import read_model_file
    from edge_sim.errors import ModelError
    from edge_sim.model_library import import_classifier, red_to_blue_cosine

    source = read_model_file(model_path(args.file))
    out: Path | None = args.out
    if out is None:
        out = models_folder(args) / f"{source.path.stem}.tflite"
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelError(f"{out.parent}: cannot make the folder ({error.strerror})") from error
    embedder = import_classifier(source, out, license_name=args.license)
    facts = {
        "schema": SCHEMA,
        "out": str(out),
        "bytes": len(embedder.model.data),
        "source_bytes": len(source.data),
        "model_id": embedder.model_id,
        "dimension": embedder.dimension,
        "red_to_blue_cosine": round(red_to_blue_cosine(embedder), 4),
        "ok": True,
    }
    print_facts(args.json, facts)
    return 0


def pull_model(args: argparse.Namespace) -> int:
    """Fetch a public model and make an embedder of it."""
    import urllib.request

    from edge_sim.model_library import PUBLIC, pull, red_to_blue_cosine

    model = PUBLIC[args.name]
    # Proxies as the system says; the certificates of https are checked.
    opener = urllib.request.build_opener()
    folder = models_folder(args)
    with byte_progress(f"fetch {model.name}") as watch:
        pulled = pull(model, folder, opener=opener, source=args.source, watch=watch)
    embedder = pulled.embedder
    facts = {
        "schema": SCHEMA,
        "out": str(embedder.model.path.absolute()),
        "was_there": pulled.was_there,
        "license": model.license,
        "model_id": embedder.model_id,
        "dimension": embedder.dimension,
        "red_to_blue_cosine": round(red_to_blue_cosine(embedder), 4),
        "ok": True,
    }
    print_facts(args.json, facts)
    note("to use it: set model.path to this file, then `edge-sim gallery reembed -c CONFIG`")
    return 0
