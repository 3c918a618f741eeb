"""`edge-sim search --min-score`: a number, or what was calibrated for the gallery."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edge_sim.cli.output import note
from edge_sim.errors import SearchError

if TYPE_CHECKING:
    from edge_sim.gallery_store import KeptCalibration

CALIBRATED = "calibrated"
COSINE = "cosine"


def least_score(text: str) -> float | str:
    """Return the number of the option, or the word that stands for the calibrated one.

    Raises:
        ArgumentTypeError: It is neither.
    """
    if text == CALIBRATED:
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number; give one, or `{CALIBRATED}`"
        ) from None


def check_least(args: argparse.Namespace) -> None:
    """Raise `SearchError` where what is asked for was not what `calibrate` measured."""
    if args.min_score != CALIBRATED:
        return
    if args.gallery is None:
        raise SearchError(f"--min-score {CALIBRATED} goes with --gallery, which keeps calibrations")
    if args.metric != COSINE or args.scale != "global":
        raise SearchError(
            f"--min-score {CALIBRATED} goes with --metric cosine and --scale global: nothing else "
            f"was calibrated"
        )


def resolved_least(args: argparse.Namespace, model_id: str, *, learned: bool) -> float | None:
    """Return the least score in force, and tell where a calibrated one comes from.

    Raises:
        SearchError: Nothing fits: no calibration, of another model, or of several watches.
    """
    if args.min_score != CALIBRATED:
        return None if args.min_score is None else float(args.min_score)
    if learned:
        raise SearchError("cosine was calibrated, not the learned likeness: add --plain")
    kept = _kept(args)
    if kept.model != model_id:
        raise SearchError(
            f"{args.gallery}: calibrated with the model {kept.model}, not {model_id}; "
            f"run `edge-sim calibrate --gallery {args.gallery} --write` again"
        )
    value = kept.thresholds[0].threshold
    note(f"cosine {value:.4f} and above: {kept.origin}")
    return value


def _kept(args: argparse.Namespace) -> KeptCalibration:
    from edge_sim.gallery_store import kept_calibrations

    found = [
        item
        for item in kept_calibrations(args.gallery)
        if item.score == COSINE and args.watch in (None, item.watch)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        watches = ", ".join(item.watch for item in found)
        raise SearchError(f"{args.gallery}: calibrated for {watches}; name one with --watch")
    raise SearchError(
        f"{args.gallery}: no cosine was calibrated; run "
        f"`edge-sim calibrate --gallery {args.gallery} --write`"
    )
