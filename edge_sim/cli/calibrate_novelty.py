"""`edge-sim calibrate --from-watched`, `--bad`, and of a watch of one state: levels of novelty."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.output import note, print_json, print_table, progress, say
from edge_sim.errors import DataError

if TYPE_CHECKING:
    from edge_sim.analysis.watched_calibration import NoveltyTrial, WatchedPicture
    from edge_sim.core.types import Match, Probe
    from edge_sim.decision.scorer import GalleryScorer
    from edge_sim.gallery.gallery import Gallery

SCHEMA = 1


def register_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--from-watched",
        type=Path,
        metavar="PATH",
        help="a score log with every observation, or a folder of pictures of the region: shows the "
        "most novel ones and sets how novel a picture may be",
    )
    normal = parser.add_mutually_exclusive_group()
    normal.add_argument(
        "--all-normal", action="store_true", help="every watched picture shows a known state"
    )
    normal.add_argument(
        "--not-normal",
        metavar="N,N",
        help="the listed pictures with these numbers do not, all others do",
    )
    parser.add_argument(
        "--bad", type=Path, metavar="DIR", help="a folder of pictures that must be unknown"
    )


def wants_novelty(args: argparse.Namespace, states: int) -> bool:
    """Return whether novelty is calibrated: asked for, or all that a single state has."""
    return args.from_watched is not None or args.bad is not None or states == 1


def check_options(args: argparse.Namespace) -> None:
    """Check that the options go together.

    Raises:
        DataError: They do not.
    """
    asked = args.from_watched is not None or args.bad is not None
    if asked and args.gallery is None:
        raise DataError("--from-watched and --bad go with --gallery")
    if asked and (args.plot is not None or _has_target(args)):
        raise DataError("--from-watched and --bad take no target and give no curve")
    if (args.all_normal or args.not_normal) and args.from_watched is None:
        raise DataError("--all-normal and --not-normal say what of --from-watched is normal")
    if args.from_watched is not None and args.write and not (args.all_normal or args.not_normal):
        raise DataError(
            "say which pictures are normal before they are kept: look at the list without --write, "
            "then add --all-normal, or --not-normal with the numbers of those that are not"
        )


def _has_target(args: argparse.Namespace) -> bool:
    return any(value is not None for value in (args.precision, args.fpr, args.recall))


def calibrate(args: argparse.Namespace, gallery: Gallery, watch: str) -> int:
    """Show the most novel pictures, and set and keep the levels."""
    from edge_sim.analysis import watched_calibration as calibration
    from edge_sim.decision.scorer import MOST_LEFT_OUT, GalleryScorer
    from edge_sim.gallery.calibrations import keep_calibration

    if args.plot is not None or _has_target(args):
        raise DataError(
            f"watch {watch!r} has one state, so that there is nothing to tell apart: leave the "
            "target out, or name pictures with --bad and --from-watched"
        )
    # As the watch itself does: of a large gallery, all left out would take minutes.
    scorer = GalleryScorer(gallery, most_left_out=MOST_LEFT_OUT)
    left_out = scorer.leave_one_out()
    levels = calibration.levels_for(gallery, left_out)
    watched, words = _watched(args, gallery, watch, scorer, left_out)
    if not watched:
        raise DataError(
            f"{args.gallery}: the references of {watch!r} say nothing of how it varies: they were "
            "taken in one moment, or are too few. Add references of other hours, or name pictures "
            "with --from-watched"
        )
    ranked = calibration.most_novel(watched, levels)
    numbered = [(number, *item) for number, item in enumerate(ranked, start=1)]
    wrong = _not_normal(args.not_normal, [picture.key for _, picture, _ in numbered])
    faulty, remarks = _bad(args, gallery, scorer)
    trials = calibration.calibrated_novelty(
        [*watched, *faulty], {*wrong, *(picture.key for picture in faulty)}, levels
    )
    kept = calibration.kept_novelty(trials, gallery, watch, words, time.time())
    if args.write:
        keep_calibration(args.gallery, kept)
    for remark in remarks:
        note(remark)
    if args.json:
        shown = [
            {"number": number, "picture": item.key, "state": item.state, "margins": excess}
            for number, item, excess in numbered
        ]
        print_json(
            {"schema": SCHEMA, "calibration": kept, "most_novel": shown, "written": args.write}
        )
        return 0
    _print(args, numbered, trials, words)
    return 0


def _print(
    args: argparse.Namespace,
    numbered: list[tuple[int, WatchedPicture, float]],
    trials: list[NoveltyTrial],
    words: str,
) -> None:
    if args.from_watched is not None:
        print_table(
            ["", "picture", "state", "margins above the usual"],
            [(number, item.key, item.state, f"{excess:.2f}") for number, item, excess in numbered],
        )
    print_table(
        ["state", "novel above", "normal kept", "faults found"],
        [
            (
                trial.state,
                f"{trial.level.usual + trial.level.margin:.3f}",
                f"{trial.kept} of {trial.normal}",
                f"{trial.found} of {trial.faulty}" if trial.faulty else "",
            )
            for trial in trials
        ],
    )
    say(f"novelty, on {words}")
    for trial in trials:
        if trial.faulty and not trial.found:
            say(_advice(trial.state, trial.faulty))
    if args.write:
        say(f"{args.gallery}: kept")
    elif args.from_watched is not None and not (args.all_normal or args.not_normal):
        say("look at the pictures listed; then --write with --all-normal, or with --not-normal N,N")


def _advice(state: str, faulty: int) -> str:
    """Return what to do where no bad picture stands out."""
    which = "the bad picture" if faulty == 1 else f"none of the {faulty} bad pictures"
    verb = "does not stand out" if faulty == 1 else "stands out"
    return (
        f"{which} {verb} from {state}: see that they are pictures of the region and not of the "
        "whole frame, draw `roi` closer around what may be wrong, hide by `mask` what moves, and "
        "add references of other moments; `edge-sim compare GOOD BAD --map map.png` shows where "
        "two differ"
    )


def _watched(
    args: argparse.Namespace,
    gallery: Gallery,
    watch: str,
    scorer: GalleryScorer,
    left_out: Sequence[Match | None],
) -> tuple[list[WatchedPicture], str]:
    from edge_sim.analysis import watched_calibration as calibration
    from edge_sim.core.files import is_dir, is_file
    from edge_sim.runtime.score_log import read_lines

    place: Path | None = args.from_watched
    if place is None:
        pictures = calibration.left_out_pictures(gallery, left_out)
        return pictures, f"{len(pictures)} references of {watch}, each left out"
    if is_dir(place):
        remarks: list[str] = []
        found = calibration.watched_among(_probes(args, place, gallery, remarks), scorer)
        for remark in remarks:
            note(remark)
        return found, f"{len(found)} pictures of {place.name}"
    if not is_file(place):
        raise DataError(f"{place}: there is no such score log or folder")
    try:
        found = calibration.watched_in_log(read_lines([place]), watch, gallery.revision)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    return found, f"{len(found)} observations in {place.name}"


def _bad(
    args: argparse.Namespace, gallery: Gallery, scorer: GalleryScorer
) -> tuple[list[WatchedPicture], list[str]]:
    from edge_sim.analysis.watched_calibration import watched_among

    remarks: list[str] = []
    if args.bad is None:
        return [], remarks
    return watched_among(_probes(args, args.bad, gallery, remarks), scorer), remarks


def _probes(
    args: argparse.Namespace, folder: Path, gallery: Gallery, remarks: list[str]
) -> Iterator[tuple[str, Probe]]:
    from edge_sim.gallery.candidates import Unreadable, candidates_in
    from edge_sim.vision.embedders import open_embedder
    from edge_sim.vision.probe import make_probe

    embedder = open_embedder(args.model)
    if embedder.model_id != gallery.model_id:
        raise DataError(
            f"{args.gallery} was made with the model {gallery.model_id}, not "
            f"{embedder.model_id}: name it with --model"
        )
    for found in progress(candidates_in([str(folder)]), None, folder.name):
        if isinstance(found, Unreadable):
            remarks.append(f"not read: {found.name}: {found.fault}")
            continue
        yield found.name, make_probe(embedder, found.pixels)


def _not_normal(text: str | None, keys: list[str]) -> set[str]:
    """Return the pictures that the numbers name.

    Raises:
        DataError: One of them is no number of the list.
    """
    wrong = set()
    for part in (text or "").split(","):
        if not part.strip():
            continue
        if not part.strip().isdecimal() or not 1 <= int(part) <= len(keys):
            raise DataError(f"--not-normal {part.strip()!r}: give numbers of 1 to {len(keys)}")
        wrong.add(keys[int(part) - 1])
    return wrong
