"""`edge-sim model`: the models at hand, fetching and importing others, adapting to a site."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from edge_sim.cli import model_adapt
from edge_sim.cli import model_changes as changes
from edge_sim.cli import model_views as views
from edge_sim.cli.gallery_context import gallery_options

Handler = Callable[[argparse.Namespace], int]
Verbs = argparse._SubParsersAction


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    parser = commands.add_parser(
        "model", help="list, look at, check, fetch, import and adapt models"
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = _verb(verbs, "list", views.show_list, "list the models at hand")
    _file_verb(verbs, "info", views.info, "print what the file and its card say")
    verify = _file_verb(verbs, "verify", views.verify, "load the model, run it, check its card")
    verify.add_argument("--runtime", default="auto", help="auto, ai-edge-litert or tflite-runtime")
    cut = _file_verb(
        verbs,
        "import",
        changes.import_file,
        "make an embedder of a classifier by cutting its last layer off",
    )
    cut.add_argument(
        "--out", type=Path, help="the .tflite file to write; in the folder if left out"
    )
    cut.add_argument("--license", default="unknown", help="SPDX identifier of the weights")
    fetch = _pull(verbs)
    _adapt(verbs)
    for either in (listing, cut, fetch):
        either.add_argument(
            "--folder", type=Path, metavar="DIR", help="of models (~/.local/share/edge_sim/models)"
        )


def _verb(
    verbs: Verbs[argparse.ArgumentParser], name: str, handler: Handler, text: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text.capitalize() + ".")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=handler)
    return parser


def _file_verb(
    verbs: Verbs[argparse.ArgumentParser], name: str, handler: Handler, text: str
) -> argparse.ArgumentParser:
    parser = _verb(verbs, name, handler, text)
    parser.add_argument("file", help="a .tflite file, or `default`")
    return parser


def _pull(verbs: Verbs[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    from edge_sim.model_library.public import PUBLIC

    text = "fetch a public model and make an embedder of it"
    fetch = _verb(verbs, "pull", changes.pull_model, text)
    fetch.add_argument("name", choices=sorted(PUBLIC), help="of the model")
    fetch.add_argument(
        "--from",
        dest="source",
        metavar="URL|FILE",
        help="another address of the archive, or a copy of it",
    )
    return fetch


def _adapt(verbs: Verbs[argparse.ArgumentParser]) -> None:
    adapt = verbs.add_parser(
        "adapt",
        help="learn from the labelled references of a site by what to search it",
        description="Learns what tells the states of a watch apart, tries it on references left "
        "out, and keeps it in the gallery if searches gain by it. States are decided as before: "
        "they use all references already.",
    )
    adapt.add_argument("watch", nargs="?", metavar="WATCH", help="only this one; all if left out")
    gallery_options(adapt)
    adapt.add_argument("--dry-run", action="store_true", help="say what would be gained; no more")
    adapt.set_defaults(handler=model_adapt.adapt)
