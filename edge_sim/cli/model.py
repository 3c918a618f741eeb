"""`edge-sim model`: list, info, verify, import, import-text, pull, adapt."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge_sim.cli import model_text
from edge_sim.cli.options import Handler, Verbs, add_verb, context_of, gallery_options, only_watch
from edge_sim.cli.output import byte_progress, note, print_json, print_table, progress, say

if TYPE_CHECKING:
    from edge_sim.analysis.adaptation import HeadTrial
    from edge_sim.gallery.store import GalleryStore
    from edge_sim.vision.embedders.model_list import InstalledModel
    from edge_sim.vision.embedders.tflite import TensorPlan


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    parser = commands.add_parser(
        "model",
        help="list, inspect, verify, fetch, import and adapt models",
        description="The models that embed pictures: those at hand, their facts and their checks.",
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = _verb(verbs, "list", show_list, "list the models at hand")
    _file_verb(verbs, "info", info, "print the facts of a model file and its card")
    checking = _file_verb(verbs, "verify", verify, "load the model, run it, check its card")
    checking.add_argument(
        "--runtime", default="auto", help="auto, ai-edge-litert or tflite-runtime"
    )
    cut = _file_verb(
        verbs,
        "import",
        import_file,
        "make an embedder of a classifier by cutting its last layer off",
    )
    cut.add_argument(
        "--out", type=Path, help="the .tflite file to write; in the folder if left out"
    )
    cut.add_argument("--license", default="unknown", help="SPDX identifier of the weights")
    texts = model_text.register(verbs)
    fetch = _pull(verbs)
    _adapt(verbs)
    for either in (listing, cut, texts, fetch):
        either.add_argument(
            "--folder",
            type=Path,
            metavar="DIR",
            help="folder of models (~/.local/share/edge_sim/models)",
        )


def _verb(
    verbs: Verbs[argparse.ArgumentParser], name: str, handler: Handler, text: str
) -> argparse.ArgumentParser:
    parser = add_verb(verbs, name, handler, text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _file_verb(
    verbs: Verbs[argparse.ArgumentParser], name: str, handler: Handler, text: str
) -> argparse.ArgumentParser:
    parser = _verb(verbs, name, handler, text)
    parser.add_argument("file", help="a .tflite file, or `default`")
    return parser


def _pull(verbs: Verbs[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    from edge_sim.vision.embedders.model_pull import PUBLIC

    text = "fetch a public model and make an embedder of it, or a text model from an address"
    fetch = _verb(verbs, "pull", pull_model, text)
    fetch.add_argument(
        "name",
        type=model_text.pulled_name,
        metavar="NAME|URL",
        help=f"{', '.join(sorted(PUBLIC))}, or the address of a .tgz, .tar or .zip with a text "
        f"model, see `model import-text`",
    )
    model_text.pull_options(fetch)
    fetch.add_argument(
        "--from",
        dest="source",
        metavar="URL|FILE",
        help="another address of the archive, or a copy of it",
    )
    return fetch


def _adapt(verbs: Verbs[argparse.ArgumentParser]) -> None:
    learn = verbs.add_parser(
        "adapt",
        help="learn a likeness for searches from labelled references",
        description="Learn what separates the states of a watch, try it on references left "
        "out, and keep it in the gallery if searches gain by it. States are decided as before: "
        "they use all references already.",
    )
    learn.add_argument("watch", nargs="?", metavar="WATCH", help="only this watch; all if left out")
    gallery_options(learn)
    learn.add_argument("--dry-run", action="store_true", help="report the gain; keep nothing")
    learn.set_defaults(handler=adapt)


SCHEMA = 1
DEFAULT_NAME = "default"


def models_folder(args: argparse.Namespace) -> Path:
    """Return where the user's models lie: --folder, else where the system keeps a user's data."""
    return user_models() if args.folder is None else Path(args.folder)


def user_models() -> Path:
    """Return the folder in which the system keeps a user's models."""
    data = os.environ.get("XDG_DATA_HOME", "")
    # https://specifications.freedesktop.org/basedir-spec: a relative path is to be ignored.
    root = Path(data) if Path(data).is_absolute() else Path("~/.local/share").expanduser()
    return root / "edge_sim" / "models"


def show_list(args: argparse.Namespace) -> int:
    """List the models at hand."""
    from edge_sim.core.resources import default_model_path
    from edge_sim.vision.embedders.model_list import list_models
    from edge_sim.vision.embedders.model_pull import PUBLIC

    default = default_model_path()
    folder = models_folder(args)
    found = list_models(default.parent, folder)
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
                "text_models": model_text.views(folder),
                "public": sorted(PUBLIC),
            }
        )
        return 0
    headers = ("name", "origin", "role", "input", "outputs", "MB", "sha256", "card")
    texts, problems = model_text.rows(folder)
    print_table(headers, [*(_row(model, names[model.path]) for model in found), *texts])
    for problem in [*(model.problem for model in found), *problems]:
        if problem is not None:
            note(problem)
    note(f"imported models lie in {folder}; `edge-sim model pull` fetches {', '.join(PUBLIC)}")
    return 0


def _row(model: InstalledModel, name: str) -> tuple[object, ...]:
    side = "-" if model.input_px is None else "x".join(str(px) for px in model.input_px)
    outputs = ", ".join("x".join(str(size) for size in shape) for _, shape in model.outputs)
    digits = "-" if model.sha256 is None else model.sha256[:12]
    megabytes = f"{model.size_bytes / 1e6:.2f}"
    return name, model.origin, model.role, side, outputs or "-", megabytes, digits, model.card


def _view(model: InstalledModel, name: str) -> dict[str, Any]:
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
    from edge_sim.core.resources import default_model_path
    from edge_sim.vision.embedders import DEFAULT

    return default_model_path() if name == DEFAULT else Path(name)


def info(args: argparse.Namespace) -> int:
    """Print what a file and its card say."""
    from edge_sim.vision.embedders.card import read_card
    from edge_sim.vision.embedders.model_file import read_model_file
    from edge_sim.vision.embedders.tflite import plan_tensors

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
    """Load and run a model in a process of its own, check its card, and list it as verified."""
    from edge_sim.vision.embedders.card import read_card
    from edge_sim.vision.embedders.model_file import read_model_file
    from edge_sim.vision.embedders.model_trial import record_verified, try_model

    path = model_path(args.file)
    card = read_card(path, read_model_file(path).sha256)
    tried = try_model(path, runtime=args.runtime)
    if card is None:
        record_verified(path, tried.sha256)
    facts = {
        "schema": SCHEMA,
        "model_id": tried.model_id,
        "card": "matches the file" if card else "none",
        "runtime": tried.runtime,
        "partitions": tried.partitions,
        "dimension": tried.dimension,
        "red_to_blue_cosine": round(tried.red_to_blue_cosine, 4),
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
            say(f"{key:<20}{'-' if value is None else value}")
    if "ok" in facts:
        say("ok")


def import_file(args: argparse.Namespace) -> int:
    """Make an embedder of a classifier."""
    from edge_sim.errors import ModelError
    from edge_sim.vision.embedders.model_file import read_model_file
    from edge_sim.vision.embedders.model_import import import_classifier, red_to_blue_cosine

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

    if model_text.is_place(args.name):
        return model_text.pull_encoder(args, models_folder(args))
    from edge_sim.vision.embedders.model_import import red_to_blue_cosine
    from edge_sim.vision.embedders.model_pull import PUBLIC, pull

    model_text.check_plain_pull(args)
    model = PUBLIC[args.name]
    # Proxies as the system says; the certificates of https are checked.
    opener = urllib.request.build_opener()
    folder = models_folder(args)
    with byte_progress(f"fetch {model.name}") as report:
        pulled = pull(model, folder, opener=opener, source=args.source, progress=report)
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


class Adapted(msgspec.Struct, frozen=True):
    """One watch. The figures are null where nothing could be tried; `reason` says why.

    `before` and `after` are parts of pairs ranked rightly, 0.5 by chance; the gain has the 95 %
    interval `low` to `high`; `learned` says whether the head was, or with --dry-run would be, kept.
    """

    watch: str
    references: int
    learned: bool
    before: float | None = None
    after: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    nearest_before: float | None = None
    nearest_after: float | None = None
    reason: str | None = None


def adapt(args: argparse.Namespace) -> int:
    """Learn heads, keep those that help as one revision; exit code 1 if none does."""
    from edge_sim.errors import GalleryError

    context = context_of(args)
    with context.store(read_only=args.dry_run) as store:
        revision = store.revision
        watches = store.watches() if args.watch is None else (only_watch(store, args.watch),)
        if not watches:
            raise GalleryError(f"{context.gallery}: no references to learn from")
        trials = {
            watch: _trial(store, watch, revision)
            for watch in progress(watches, len(watches), "learn")
        }
        made = None if args.dry_run else _keep(store, trials, revision)
    views = tuple(_adapted(watch, trial) for watch, trial in trials.items())
    if args.json:
        found = {"gallery": str(context.gallery), "dry_run": args.dry_run, "revision": made}
        print_json({"schema": SCHEMA, **found, "watches": views})
    else:
        _print_adapted(views)
    if not any(view.learned for view in views):
        reasons = "; ".join(f"{view.watch}: {view.reason}" for view in views)
        older = "" if made is None else f"; what was learned earlier is out (revision {made})"
        raise GalleryError(f"{context.gallery}: no likeness was learned: {reasons}{older}")
    _report(views, made)
    return 0


def _report(views: tuple[Adapted, ...], made: int | None) -> None:
    for view in views:
        if view.reason is not None:
            note(f"{view.watch}: {view.reason}")
    learned = ", ".join(view.watch for view in views if view.learned)
    if made is None:
        note(f"searches in {learned} would be by the learned likeness")
    else:
        note(
            f"revision {made}: searches in {learned} are by the learned likeness; "
            f"`edge-sim gallery undo` takes it back"
        )


def _trial(store: GalleryStore, watch: str, revision: int) -> tuple[int, HeadTrial | str]:
    """Return how many references there are, and the trial or why there is none."""
    from edge_sim.analysis.adaptation import cross_validated
    from edge_sim.errors import GalleryError

    gallery = store.gallery(watch, revision=revision)
    try:
        return len(gallery), cross_validated(gallery)
    except GalleryError as error:
        return len(gallery), str(error)


def _keep(
    store: GalleryStore, trials: dict[str, tuple[int, HeadTrial | str]], revision: int
) -> int | None:
    """Keep the heads that help, and take older ones out where the new one does not."""
    from edge_sim.gallery.head import Head
    from edge_sim.gallery.heads import keep_heads

    heads: dict[str, Head | None] = {}
    words = []
    for watch, (_, trial) in trials.items():
        if not isinstance(trial, str) and trial.is_gain:
            heads[watch] = trial.head
            words.append(f"{watch} {trial.before:.3f} to {trial.after:.3f}")
        elif _has_head(store, watch, revision):
            heads[watch] = None
            words.append(f"{watch} taken out")
    if not heads:
        return None
    return keep_heads(store, heads, revision=revision, detail=", ".join(words)).number


def _has_head(store: GalleryStore, watch: str, revision: int) -> bool:
    from edge_sim.errors import GalleryError
    from edge_sim.gallery.heads import kept_head

    try:
        return kept_head(store, watch, store.gallery(watch, revision=revision)) is not None
    except GalleryError:  # damaged, and so of no use
        return True


def _adapted(watch: str, tried: tuple[int, HeadTrial | str]) -> Adapted:
    references, trial = tried
    if isinstance(trial, str):
        return Adapted(watch, references, learned=False, reason=trial)
    reason = None
    if not trial.is_gain:
        reason = (
            f"no gain to be sure of ({trial.gain:+.3f}, 95 % interval {trial.low:+.3f} to "
            f"{trial.high:+.3f})"
        )
    return Adapted(
        watch,
        references,
        learned=trial.is_gain,
        before=trial.before,
        after=trial.after,
        gain=trial.gain,
        low=trial.low,
        high=trial.high,
        nearest_before=trial.nearest_before,
        nearest_after=trial.nearest_after,
        reason=reason,
    )


def _print_adapted(views: tuple[Adapted, ...]) -> None:
    headers = (
        "watch",
        "references",
        "pairs right",
        "learned",
        "gain",
        "95 % interval",
        "nearest right",
    )
    rows = []
    for view in views:
        gain = span = nearest = "-"
        if view.gain is not None:
            gain, span = f"{view.gain:+.3f}", f"{view.low:+.3f} to {view.high:+.3f}"
            nearest = f"{view.nearest_before:.3f} to {view.nearest_after:.3f}"
        rows.append((view.watch, view.references, view.before, view.after, gain, span, nearest))
    print_table(headers, rows)
