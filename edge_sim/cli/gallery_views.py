"""The verbs of `edge-sim gallery` that only look."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.gallery_context import context_of, print_result
from edge_sim.cli.output import print_table
from edge_sim.errors import GalleryError

if TYPE_CHECKING:
    from edge_sim.gallery_store import ReferenceRecord


def show_list(args: argparse.Namespace) -> int:
    """Print the references."""
    context = context_of(args)
    with context.store(read_only=True) as store:
        found = store.records(watch=args.watch, state=args.state, revision=args.revision)
        revision = store.revision if args.revision is None else args.revision
    if args.json:
        print_result(context, revision=revision, references=found)
        return 0
    print_table(
        ["id", "watch", "state", "condition", "enrolled", "from", "tags"],
        [
            (
                record.reference_id,
                record.watch,
                record.state,
                record.condition,
                f"{record.enrolled_at:%Y-%m-%d %H:%M}",
                _shortened(record.metadata.get("from", "")),
                " ".join(record.tags),
            )
            for record in found
        ],
    )
    return 0


def show_one(args: argparse.Namespace) -> int:
    """Print one reference, and write its picture."""
    from edge_sim.imaging import decode

    context = context_of(args)
    with context.store(read_only=True) as store:
        record = store.record(args.reference_id)
        crop = store.crop(args.reference_id)
    try:
        height, width = decode(crop).shape[:2]
    except ValueError as error:
        raise GalleryError(f"the picture of {args.reference_id} is damaged: {error}") from error
    if args.out is not None:
        _write_picture(args.out, crop)
    if args.json:
        print_result(context, reference=record, width_px=width, height_px=height)
        return 0
    rows = [
        ("watch", record.watch),
        ("state", record.state),
        ("condition", record.condition),
        ("picture", f"{width}x{height}"),
        ("model", record.model_id),
        ("enrolled", f"{record.enrolled_at:%Y-%m-%dT%H:%M:%SZ}"),
        ("since revision", record.since),
        ("tags", " ".join(record.tags) or "-"),
        *sorted(record.metadata.items()),
    ]
    print_table([record.reference_id, ""], rows)
    return 0


def show_stats(args: argparse.Namespace) -> int:
    """Print how many references there are."""
    from edge_sim.gallery_store import kept_calibrations

    context = context_of(args)
    with context.store(read_only=True) as store:
        records = store.records()
        revision = store.revision
    calibrations = kept_calibrations(context.gallery)
    counts = Counter((item.watch, item.state) for item in records)
    states = [
        {
            "watch": watch,
            "state": state,
            "references": number,
            "by_condition": _by_condition(records, watch, state),
        }
        for (watch, state), number in sorted(counts.items())
    ]
    size = context.gallery.stat().st_size
    models = dict(sorted(Counter(item.model_id for item in records).items()))
    if args.json:
        print_result(
            context,
            revision=revision,
            bytes_on_disk=size,
            models=models,
            states=states,
            calibrations=calibrations,
        )
        return 0
    rows = [
        (watch, state, number, _spelled(_by_condition(records, watch, state)))
        for (watch, state), number in sorted(counts.items())
    ]
    print_table(["watch", "state", "references", "by light"], rows)
    print(
        f"{len(records)} references at revision {revision}, {size / 1e6:.1f} MB; "
        f"models: {_spelled(models) or 'none'}"
    )
    for kept in calibrations:
        levels = ", ".join(f"{item.name} {item.threshold:.4f}" for item in kept.thresholds)
        print(
            f"calibrated {kept.watch} by {kept.score} for {kept.aim} {kept.value:g}: {levels} "
            f"(revision {kept.revision}, {kept.at[:10]})"
        )
    return 0


def show_log(args: argparse.Namespace) -> int:
    """Print the changes."""
    context = context_of(args)
    with context.store(read_only=True) as store:
        revisions = store.log(limit=args.limit)
    if args.json:
        print_result(context, revisions=revisions)
        return 0
    rows = [
        (
            item.number,
            f"{item.at:%Y-%m-%d %H:%M:%S}",
            item.verb,
            f"+{len(item.appeared)} -{len(item.gone)} ~{len(item.altered)}",
            item.detail,
        )
        for item in revisions
    ]
    print_table(["revision", "at (UTC)", "verb", "references", "what"], rows)
    return 0


def show_diff(args: argparse.Namespace) -> int:
    """Print what changed between two revisions."""
    context = context_of(args)
    with context.store(read_only=True) as store:
        after = store.revision if args.after is None else args.after
        found = store.diff(args.before, after)
    if args.json:
        print_result(
            context,
            before=args.before,
            after=after,
            appeared=found.appeared,
            gone=found.gone,
            altered=found.altered,
        )
        return 0
    for sign, records in (("+", found.appeared), ("-", found.gone)):
        for record in records:
            print(f"{sign} {record.reference_id}  {record.watch}  {record.state}")
    for item in found.altered:
        print(f"~ {item.after.reference_id}  {_changes(item.before, item.after)}")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Print what is damaged; exit code 1 if anything is."""
    context = context_of(args)
    with context.store(read_only=True) as store:
        problems = store.check()
        revision = store.revision
    if args.json:
        print_result(context, revision=revision, sound=not problems, problems=problems)
    else:
        for problem in problems:
            print(problem)
        if not problems:
            print(f"{context.gallery}: sound, at revision {revision}")
    return 1 if problems else 0


def _by_condition(
    records: tuple[ReferenceRecord, ...], watch: str, state: str
) -> Mapping[str, int]:
    chosen = (item.condition for item in records if (item.watch, item.state) == (watch, state))
    return dict(sorted(Counter(chosen).items()))


def _spelled(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def _shortened(text: str, width: int = 40) -> str:
    return text if len(text) <= width else f"...{text[-(width - 3) :]}"


def _changes(before: ReferenceRecord, after: ReferenceRecord) -> str:
    names = ("watch", "state", "condition", "model_id", "tags", "metadata")
    pairs = [(name, getattr(before, name), getattr(after, name)) for name in names]
    return ", ".join(f"{name}: {old} -> {new}" for name, old, new in pairs if old != new)


def _write_picture(path: Path, crop: bytes) -> None:
    if path.suffix.lower() != ".png":
        raise GalleryError(f"{path}: pictures of a gallery are PNG; give a name that ends in .png")
    try:
        path.write_bytes(crop)
    except OSError as error:
        raise GalleryError(f"{path}: cannot write ({error.strerror})") from error
