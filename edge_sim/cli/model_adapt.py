"""`edge-sim model adapt`: learn from the labelled references of a site what tells them apart."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import msgspec

from edge_sim.cli.gallery_context import context_of, only_watch
from edge_sim.cli.output import note, print_json, print_table, progress

if TYPE_CHECKING:
    from edge_sim.adaptation import HeadTrial
    from edge_sim.gallery_store import GalleryStore

SCHEMA = 1


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
    views = tuple(_view(watch, trial) for watch, trial in trials.items())
    if args.json:
        found = {"gallery": str(context.gallery), "dry_run": args.dry_run, "revision": made}
        print_json({"schema": SCHEMA, **found, "watches": views})
    else:
        _print(views)
    if not any(view.learned for view in views):
        reasons = "; ".join(f"{view.watch}: {view.reason}" for view in views)
        older = "" if made is None else f"; what was learned earlier is out (revision {made})"
        raise GalleryError(f"{context.gallery}: no likeness was learned: {reasons}{older}")
    _tell(views, made)
    return 0


def _tell(views: tuple[Adapted, ...], made: int | None) -> None:
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
    from edge_sim.adaptation import tried
    from edge_sim.errors import GalleryError

    gallery = store.gallery(watch, revision=revision)
    try:
        return len(gallery), tried(gallery)
    except GalleryError as error:
        return len(gallery), str(error)


def _keep(
    store: GalleryStore, trials: dict[str, tuple[int, HeadTrial | str]], revision: int
) -> int | None:
    """Keep the heads that help, and take older ones out where the new one does not."""
    from edge_sim.gallery_store import keep_heads
    from edge_sim.head import Head

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
    from edge_sim.gallery_store import kept_head

    try:
        return kept_head(store, watch, store.gallery(watch, revision=revision)) is not None
    except GalleryError:  # damaged, and so of no use
        return True


def _view(watch: str, tried: tuple[int, HeadTrial | str]) -> Adapted:
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


def _print(views: tuple[Adapted, ...]) -> None:
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
