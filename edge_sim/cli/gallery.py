"""`edge-sim gallery`: the pictures that states are known by. The verbs and their options."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_sim.cli import gallery_edit, gallery_enrol, gallery_review, gallery_show
from edge_sim.cli.options import (
    Handler,
    Verbs,
    add_verb,
    gallery_options,
    picture_options,
    positive,
    reference_options,
    seconds,
    where_options,
    whole,
)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    parser = commands.add_parser(
        "gallery",
        help="add, list, show, remove reference pictures; audit, undo, log, import, export",
        description="The gallery file holds the reference pictures of every watch. Each change is "
        "one revision in its log, and can be undone.",
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _add(verbs)
    _inspect(verbs)
    _edit(verbs)
    _thin_out(verbs)
    _go_back(verbs)
    _exchange(verbs)
    _copy(verbs)


def _verb(
    verbs: Verbs[argparse.ArgumentParser], name: str, handler: Handler, *, help_text: str
) -> argparse.ArgumentParser:
    parser = add_verb(verbs, name, handler, help_text)
    gallery_options(parser)
    return parser


def _add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    add = _verb(verbs, "add", gallery_review.add, help_text="enrol pictures of a state")
    add.add_argument(
        "places", nargs="+", metavar="PATH", help="picture, folder, video, camera or other source"
    )
    add.add_argument("--watch", required=True, metavar="NAME")
    add.add_argument("--state", required=True, metavar="STATE")
    picture_options(add)
    add.add_argument(
        "--from-review",
        action="store_true",
        help="PATH is the id of a frame that the daemon kept, as `gallery review` lists them",
    )
    gallery_review.folder_option(add)
    add.set_defaults(usage_error=add.error)
    add.add_argument(
        "--count", type=positive, metavar="N", help="at most N frames of a video or camera"
    )
    add.add_argument(
        "--every", type=seconds, default=0.0, metavar="S", help="seconds between two such frames"
    )
    capture = _verb(
        verbs,
        "capture",
        gallery_enrol.capture,
        help_text="enrol frames of a camera or other source, as they come",
    )
    gallery_enrol.capture_options(capture)
    picture_options(capture)
    review = _verb(
        verbs,
        "review",
        gallery_review.review,
        help_text="list the frames that the daemon was unsure of; enrol or discard them",
    )
    gallery_review.review_options(review)
    reference_options(review)


def _inspect(verbs: Verbs[argparse.ArgumentParser]) -> None:
    listing = _verb(verbs, "list", gallery_show.show_list, help_text="list the references")
    listing.add_argument("--watch", metavar="NAME")
    listing.add_argument("--state", metavar="STATE")
    listing.add_argument("--revision", type=whole, metavar="N", help="at this revision")
    where_options(listing)
    show = _verb(verbs, "show", gallery_show.show_one, help_text="show one reference")
    show.add_argument("reference_id", metavar="ID")
    show.add_argument("--out", type=Path, metavar="FILE.png", help="write its picture there")
    _verb(verbs, "stats", gallery_show.show_stats, help_text="count references per watch and state")
    log = _verb(verbs, "log", gallery_show.show_log, help_text="list the changes, the newest first")
    log.add_argument("--limit", type=positive, metavar="N", help="only the last N")
    diff = _verb(
        verbs, "diff", gallery_show.show_diff, help_text="show what changed between revisions"
    )
    diff.add_argument("before", type=whole, metavar="A")
    diff.add_argument(
        "after", type=whole, nargs="?", metavar="B", help="the present revision if left out"
    )
    _verb(
        verbs,
        "verify",
        gallery_show.verify,
        help_text="read the whole file and report damage",
    )


def _edit(verbs: Verbs[argparse.ArgumentParser]) -> None:
    remove = _verb(verbs, "rm", gallery_edit.remove, help_text="remove references")
    relabel = _verb(
        verbs, "relabel", gallery_edit.relabel, help_text="give references another state"
    )
    move = _verb(verbs, "mv", gallery_edit.move, help_text="give references to another watch")
    tag = _verb(
        verbs, "tag", gallery_edit.tag, help_text="put tags on references, or take them off"
    )
    for parser in (remove, relabel, move, tag):
        parser.add_argument("reference_ids", nargs="+", metavar="ID")
    relabel.add_argument("--state", required=True, metavar="STATE")
    move.add_argument("--watch", required=True, metavar="NAME")
    tag.add_argument("--add", action="append", default=[], metavar="TAG")
    tag.add_argument("--drop", action="append", default=[], metavar="TAG")
    remove.add_argument(
        "--forget",
        action="store_true",
        help="delete their pictures for good, also references of the past; no undo",
    )


def _thin_out(verbs: Verbs[argparse.ArgumentParser]) -> None:
    audit = _verb(
        verbs,
        "audit",
        gallery_show.show_audit,
        help_text="estimate accuracy; find mislabelled references and coverage gaps",
    )
    audit.add_argument("--watch", metavar="NAME", help="only this watch")
    audit.add_argument("--report", type=Path, metavar="OUT.html", help="a page with the pictures")
    prune = _verb(
        verbs, "prune", gallery_show.prune, help_text="keep only the most useful references"
    )
    prune.add_argument(
        "--watch", metavar="NAME", help="watch; may be left out if there is only one"
    )
    prune.add_argument(
        "--keep", type=positive, required=True, metavar="N", help="number of references to keep"
    )
    prune.add_argument("--dry-run", action="store_true", help="list them; remove nothing")
    prune.add_argument("--report", type=Path, metavar="OUT.html", help="a page with the pictures")
    dedupe = _verb(
        verbs,
        "dedupe",
        gallery_edit.dedupe,
        help_text="remove references that repeat an earlier one",
    )
    dedupe.add_argument("--watch", metavar="NAME", help="only this watch")
    dedupe.add_argument("--dry-run", action="store_true", help="list them; remove nothing")


def _go_back(verbs: Verbs[argparse.ArgumentParser]) -> None:
    _verb(verbs, "undo", gallery_edit.undo, help_text="take the last change back")
    rollback = _verb(
        verbs,
        "rollback",
        gallery_edit.rollback,
        help_text="make the gallery what it was at a revision",
    )
    rollback.add_argument("revision", type=whole, metavar="N")
    _verb(
        verbs,
        "purge",
        gallery_edit.purge,
        help_text="delete for good what was removed: its pictures, and the way back to them",
    )


def _copy(verbs: Verbs[argparse.ArgumentParser]) -> None:
    backup = _verb(
        verbs, "backup", gallery_edit.backup, help_text="copy the whole gallery to one file"
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="a new file")
    restore = _verb(
        verbs,
        "restore",
        gallery_edit.restore,
        help_text="replace the gallery by a copy, and keep what was there",
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="a gallery file")


def _exchange(verbs: Verbs[argparse.ArgumentParser]) -> None:
    taken = _verb(
        verbs,
        "import",
        gallery_enrol.import_folder,
        help_text="enrol a folder, or a zip of it, that has one folder of pictures per state",
    )
    taken.add_argument("folder", type=Path, metavar="DIR|ZIP")
    taken.add_argument("--watch", required=True, metavar="NAME")
    picture_options(taken)
    given = _verb(
        verbs,
        "export",
        gallery_edit.export_folder,
        help_text="write the pictures, a folder per state",
    )
    given.add_argument("folder", type=Path, metavar="DIR", help="new or empty")
    given.add_argument("--watch", required=True, metavar="NAME")
    again = _verb(
        verbs,
        "reembed",
        gallery_edit.reembed_all,
        help_text="compute all references anew from their pictures, with another model",
    )
    again.add_argument("--watch", metavar="NAME", help="only this watch")
    again.add_argument("--model", metavar="SPEC", help="a .tflite file, `default` or `thumbnail`")
