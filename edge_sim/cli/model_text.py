"""Text models of `edge-sim model`: import-text, and those parts of list and pull."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli.options import Verbs, add_verb
from edge_sim.cli.output import byte_progress, note, print_json, say
from edge_sim.cli.parser import UsageError
from edge_sim.core.files import is_file
from edge_sim.errors import AccessError

if TYPE_CHECKING:
    from edge_sim.vision.dual_encoders.install import ImportedEncoder

SCHEMA = 1
TEXT_MODEL = "text model"


def register(verbs: Verbs[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the verb `import-text`, and return its parser."""
    text = "import a dual encoder of pictures and texts, for search in words"
    parser = add_verb(verbs, "import-text", import_encoder, text)
    parser.add_argument(
        "dir", type=Path, metavar="DIR", help="config.json, visual/ and textual/, as Immich has it"
    )
    parser.add_argument("--name", help="of the text model; default: as DIR is called")
    parser.add_argument("--license", help="SPDX identifier of the weights; default: as DIR states")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def pull_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a text model to `pull`."""
    parser.add_argument(
        "--sha256", type=sum_digits, metavar="HEX", help="of the archive at the URL; it must match"
    )
    parser.add_argument(
        "--name",
        dest="name_of_text_model",
        metavar="NAME",
        help="of the text model; default: as the archive is called",
    )
    parser.add_argument("--license", help="of the text model; default: as the archive states")


def pulled_name(text: str) -> str:
    """Return what `pull` fetches: the name of a public model, an address, or a file.

    Raises:
        ArgumentTypeError: It is none of them.
    """
    from edge_sim.runtime.config.yaml_reader import nearest
    from edge_sim.vision.embedders.model_pull import PUBLIC

    try:
        if text in PUBLIC or is_place(text):
            return text
    except AccessError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    raise argparse.ArgumentTypeError(f"no model {text!r}{nearest(text, sorted(PUBLIC))}")


def sum_digits(text: str) -> str:
    """Return a SHA-256 in lower case.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"{text[:80]!r}: 64 hexadecimal digits are wanted")
    return text.lower()


def is_place(text: str) -> bool:
    """Return whether a text is an address or a file, rather than the name of a public model.

    Raises:
        AccessError: It cannot be found out whether there is such a file.
    """
    from edge_sim.vision.embedders.model_pull import PUBLIC

    return text not in PUBLIC and ("://" in text or is_file(text))


def import_encoder(args: argparse.Namespace) -> int:
    """Import a dual encoder from a folder."""
    from edge_sim.cli.model import models_folder
    from edge_sim.vision.dual_encoders.install import import_folder

    made = import_folder(args.dir, models_folder(args), name=args.name, license_name=args.license)
    _print_imported(args, made)
    return 0


def pull_encoder(args: argparse.Namespace, models: Path) -> int:
    """Fetch an archive with a dual encoder and import it.

    Raises:
        UsageError: The address has no --sha256, or has --from.
        ModelError: The archive cannot be used.
    """
    import urllib.request

    from edge_sim.vision.dual_encoders.install import pull_archive

    if args.source is not None:
        raise UsageError("--from goes with the name of a public model, not with an address")
    if args.sha256 is None:
        raise UsageError(
            f"{args.name}: an address needs --sha256, that of the archive as its publisher states "
            f"it; what is fetched without it could be anything"
        )
    with byte_progress("fetch") as report:
        made = pull_archive(
            args.name,
            args.sha256,
            models,
            opener=urllib.request.build_opener(),
            name=args.name_of_text_model,
            license_name=args.license,
            progress=report,
        )
    _print_imported(args, made)
    return 0


def check_plain_pull(args: argparse.Namespace) -> None:
    """Raise `UsageError` where options of a text model are given with a public model."""
    given = (args.sha256, args.license, args.name_of_text_model)
    if any(item is not None for item in given):
        raise UsageError("--sha256, --license and --name go with the address of a text model")


def rows(models: Path) -> tuple[list[tuple[object, ...]], list[str]]:
    """Return the rows of `model list` about text models, and their problems."""
    from edge_sim.vision.dual_encoders.install import list_dual_encoders

    found: list[tuple[object, ...]] = []
    problems = []
    for item in list_dual_encoders(models):
        card, side, outputs, digits = item.card, "-", "-", "-"
        if card is not None:
            side, outputs = f"{card.input_px}x{card.input_px}", f"1x{card.dimension}"
            digits = card.model_id.rpartition("@")[2]
        megabytes = f"{item.size_bytes / 1e6:.2f}"
        state = "imported" if card is not None else "rejected"
        found.append(
            (item.folder.name, "imported", TEXT_MODEL, side, outputs, megabytes, digits, state)
        )
        if item.problem is not None:
            problems.append(item.problem)
    return found, problems


def views(models: Path) -> list[dict[str, Any]]:
    """Return the text models as JSON."""
    from edge_sim.vision.dual_encoders.install import list_dual_encoders

    return [
        {
            "name": item.folder.name,
            "folder": str(item.folder),
            "bytes": item.size_bytes,
            "model_id": None if item.card is None else item.card.model_id,
            "license": None if item.card is None else item.card.license,
            "source": None if item.card is None else item.card.source,
            "dimension": None if item.card is None else item.card.dimension,
            "input_px": None if item.card is None else item.card.input_px,
            "problem": item.problem,
        }
        for item in list_dual_encoders(models)
    ]


def _print_imported(args: argparse.Namespace, made: ImportedEncoder) -> None:
    card, facts = made.card, made.facts
    shown: dict[str, Any] = {
        "out": str(made.folder.absolute()),
        "was_there": made.was_there,
        "license": card.license,
        "model_id": card.model_id,
        "dimension": card.dimension,
        "input_px": card.input_px,
        "picture_ms": None if facts is None else round(facts.picture_ms, 2),
        "text_ms": None if facts is None else round(facts.text_ms, 2),
        "peak_mb": None if facts is None else round(facts.peak_mb),
    }
    if args.json:
        print_json({"schema": SCHEMA, **shown, "ok": True})
    else:
        for key, value in shown.items():
            say(f"{key:<20}{'-' if value is None else value}")
        say("ok")
    if card.license == "unknown":
        note("its folder states no licence: find out before you use it, and give it with --license")
    note(f"to use it: `edge-sim index build DIR --out INDEX --text-model {card.name}`")
