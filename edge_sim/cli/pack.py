"""`edge-sim pack`: signed packs of references for many devices."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.collect_options import database_of, database_option
from edge_sim.cli.options import (
    Context,
    Verbs,
    add_verb,
    context_of,
    gallery_options,
    only_watch,
    positive,
    print_result,
    whole,
)
from edge_sim.cli.output import note, print_json, print_table, say
from edge_sim.cli.parser import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from edge_sim.fleet.pack_reports import PackCount
    from edge_sim.fleet.packs import PinnedSource
    from edge_sim.fleet.publishing import FolderStatus
    from edge_sim.fleet.update_state import UpdateOutcome, UpdateState

_LIST_DAYS, _ROOT_DAYS = 30, 365


def register(commands: Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb and its own verbs."""
    parser = commands.add_parser(
        "pack",
        help="signed packs of references: build, publish, apply on many devices",
        description="Give the references of one gallery to many devices, signed. Needs the extra "
        "`fleet`.",
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _add_build(verbs)
    _add_publish(verbs)
    _add_folder_verbs(verbs)
    _add_apply(verbs)
    _add_rollback(verbs)
    _add_key(verbs)


def _add_build(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "build",
        help="make a pack of the references of a gallery",
        description="Write the references of watches, and pictures that every device must "
        "recognise before it takes them, to one file.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="new file, such as bowl-3.pack")
    gallery_options(parser)
    parser.add_argument("--name", required=True, help="name of the pack, the same in all versions")
    parser.add_argument("--version", required=True, type=positive, metavar="N", help="counted up")
    parser.add_argument(
        "--previous", type=whole, metavar="N", help="version before (default: N less one)"
    )
    parser.add_argument("--target", required=True, help="product that takes it")
    parser.add_argument(
        "--watch", action="append", default=[], metavar="NAME", help="these watches (default: all)"
    )
    parser.add_argument(
        "--picture",
        action="append",
        type=_pinned,
        default=[],
        metavar="WATCH/STATE=FILE",
        help="picture of the region that shows a state, not one of the references; several times",
    )
    parser.add_argument("--model", metavar="SPEC", help=".tflite file, `default` or `thumbnail`")
    parser.set_defaults(handler=_build)


def _add_publish(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "publish",
        help="put packs into a folder that an HTTP server hands out",
        description="Copy packs into FOLDER and list them in packs.json. Without a pack the list "
        "is signed again with a later expiry.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("packs", nargs="*", type=Path, metavar="PACK")
    _key_option(parser)
    parser.add_argument(
        "--rollout",
        type=whole,
        metavar="PERCENT",
        help="share of the devices (default: 0 with --canary, else 100)",
    )
    parser.add_argument(
        "--canary", action="append", default=[], metavar="GROUP", help="take it whatever the share"
    )
    _days_option(parser, _LIST_DAYS)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=_publish)


def _add_folder_verbs(verbs: Verbs[argparse.ArgumentParser]) -> None:
    sign = add_verb(verbs, "sign", _sign, "add signatures of keys that are here to a signed file")
    sign.add_argument("file", type=Path, metavar="FILE", help="packs.json of a folder")
    _key_option(sign)
    for name, text in (
        ("verify", "check a folder as a device does; exit code 1 if devices reject it"),
        ("status", "list the packs of a folder, their rollout and what expires when"),
    ):
        parser = add_verb(verbs, name, _status, text)
        parser.add_argument("folder", type=Path, metavar="FOLDER")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
        parser.set_defaults(is_verdict=name == "verify", database=None, site=None, stop_above=None)
        if name == "status":
            _report_options(parser)


def _report_options(parser: argparse.ArgumentParser) -> None:
    database_option(parser)
    parser.add_argument("--site", metavar="NAME", help="reports of this site only")
    parser.add_argument(
        "--stop-above",
        type=_share,
        metavar="PERCENT",
        help="stop the rollout of a version that more of the reporting devices refused or took "
        "back; exit code 1 then",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="private key to sign a stop with; several times",
    )


def _add_apply(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "apply",
        help="on a device: take what a folder or address offers",
        description="Fetch, verify and try the packs of this device's target, and activate each "
        "as one revision of the gallery; `edge-sim gallery undo` takes one back.",
    )
    parser.add_argument("place", metavar="FOLDER|URL")
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        required=True,
        metavar="FILE",
        help="the device's configuration",
    )
    parser.add_argument(
        "--root", type=Path, metavar="FILE", help="root to trust, at the first time: root/1.json"
    )
    parser.add_argument("--target", metavar="NAME", help="this product, at the first time")
    parser.add_argument("--group", metavar="NAME", help="canary group (default: as before)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=_apply, gallery=None)


def _add_rollback(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "rollback",
        help="on a device: take a pack back, without a network",
        description="Give the gallery back what it was before a pack. The same version is not "
        "taken again. Where references were changed since, use `edge-sim gallery undo` or "
        "`gallery rollback`.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="(default: the one taken last)")
    gallery_options(parser)
    parser.set_defaults(handler=_rollback)


def _add_key(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "key",
        help="make keys, and the root that names them",
        description="Make keys, and the root that names them.",
    )
    keys = parser.add_subparsers(metavar="VERB", required=True)
    new = add_verb(keys, "new", _new_key, "make a private key in FILE, its public one in FILE.pub")
    new.add_argument("file", type=Path, metavar="FILE")
    root = keys.add_parser(
        "root",
        help="write the first root of a folder, or the next one with other keys",
        description="Name the public keys of both roles. A next root must be signed by enough "
        "keys of the root before and of the new one.",
    )
    root.add_argument("folder", type=Path, metavar="FOLDER")
    for role in ("root", "packs"):
        root.add_argument(
            f"--{role}",
            action="append",
            required=True,
            type=Path,
            metavar="KEY.pub",
            help=f"public key of the role {role}; several times",
        )
        root.add_argument(
            f"--{role}-threshold", type=positive, default=1, metavar="N", help="that must sign"
        )
    _key_option(root)
    _days_option(root, _ROOT_DAYS)
    root.set_defaults(handler=_root)


def _key_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key",
        action="append",
        required=True,
        type=Path,
        metavar="FILE",
        help="private key to sign with; several times",
    )


def _days_option(parser: argparse.ArgumentParser, days: int) -> None:
    parser.add_argument(
        "--days",
        type=positive,
        default=days,
        metavar="N",
        help=f"devices reject it after so many days (default: {days})",
    )


def _pinned(text: str) -> tuple[str, str, Path]:
    place, sign, file = text.partition("=")
    watch, slash, state = place.partition("/")
    if not (watch and slash and state and sign and file):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form WATCH/STATE=FILE")
    return watch, state, Path(file)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 100.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 100")
    return share


def _keys(paths: Sequence[Path]) -> list[Ed25519PrivateKey]:
    from edge_sim.fleet import signing

    signing.check_library()
    return [signing.read_private(path) for path in paths]


def _until(days: int) -> float:
    from edge_sim.fleet.publishing import DAY_S

    return time.time() + days * DAY_S


def _build(args: argparse.Namespace) -> int:
    from edge_sim.fleet.packs import PackPlan, build

    previous = args.version - 1 if args.previous is None else args.previous
    plan = PackPlan(args.name, args.version, previous, args.target)
    context = context_of(args)
    pinned = [_source(*item) for item in args.picture]
    with context.store(read_only=True) as store:
        watches = [only_watch(store, name) for name in args.watch] or list(store.watches())
        _check_private(context, watches)
        manifest = build(args.file, plan, store, context.embedder(), watches=watches, pinned=pinned)
    if args.json:
        print_json(manifest)
        return 0
    say(
        f"{args.file}: {manifest.name} version {manifest.version} for {manifest.target}, "
        f"{', '.join(manifest.states)}; {len(manifest.pictures)} pinned pictures hold"
    )
    if len(pinned) < len(manifest.pictures):
        note("some states are pinned by a reference only; name a picture of each with --picture")
    return 0


def _check_private(context: Context, watches: Sequence[str]) -> None:
    """Check that no picture of a private watch would leave the device in a pack.

    Raises:
        ConfigError: It would.
    """
    known = {} if context.config is None else context.config.watches
    for name in watches:
        if name in known and known[name].private:
            assert context.config is not None
            raise context.config.error(
                f"watches.{name}.private",
                f"watch {name} is private, and a pack holds the pictures of its references: "
                "name others with --watch, or set private to false",
            )


def _source(watch: str, state: str, path: Path) -> PinnedSource:
    from edge_sim.fleet.packs import PinnedSource
    from edge_sim.gallery.enrolment import as_stored, encoded_crop
    from edge_sim.io.sources.pictures import read_picture

    return PinnedSource(watch, state, encoded_crop(as_stored(read_picture(path))), str(path))


def _publish(args: argparse.Namespace) -> int:
    from edge_sim.fleet.publishing import Rollout, publish, status_of

    if not args.packs and (args.rollout is not None or args.canary):
        raise UsageError(
            "--rollout and --canary belong to a pack: name its file, such as bowl-3.pack; "
            "without one the list is signed again as it is"
        )
    percent = args.rollout if args.rollout is not None else 0 if args.canary else 100
    rollout = Rollout(percent, tuple(args.canary))
    keys = _keys(args.key)
    listing = publish(args.folder, args.packs, keys, rollout=rollout, expires_s=_until(args.days))
    if args.json:
        print_json(listing)
    else:
        say(f"{args.folder}: list {listing.version}, packs: {len(listing.packs)}")
    _note_missing(status_of(args.folder, time.time()), args.folder)
    return 0


def _note_missing(found: FolderStatus, folder: Path) -> None:
    """Say that devices take nothing before more keys have signed the list."""
    needed = found.root.packs.threshold
    if found.signatures < needed:
        note(
            f"{found.signatures} of {needed} needed signatures: devices take nothing until "
            f"`edge-sim pack sign {folder / 'packs.json'}` has added the others"
        )


def _sign(args: argparse.Namespace) -> int:
    from edge_sim.fleet.publishing import add_signatures

    signed_file = add_signatures(args.file, _keys(args.key))
    say(f"{args.file}: signatures: {len(signed_file.signatures)}")
    return 0


def _status(args: argparse.Namespace) -> int:
    from edge_sim.fleet import signing
    from edge_sim.fleet.publishing import Rollout, set_rollouts, status_of

    signing.check_library()
    found = status_of(args.folder, time.time())
    counts = _counts(args)
    failed = _failed(args, found, counts)
    if failed and args.key:
        stopped = {name: Rollout(0) for name in failed}
        set_rollouts(args.folder, stopped, _keys(args.key))
        found = status_of(args.folder, time.time())
    if args.json:
        print_json(
            {
                "schema": 1,
                "root": found.root.version,
                "root_expires": found.root.expires,
                "signatures": found.signatures,
                "needed": found.root.packs.threshold,
                "listing": found.listing,
                "problems": found.problems,
                "reports": counts,
                "stopped": sorted(failed) if args.key else [],
            }
        )
    else:
        _print_status(found)
        _print_counts(counts)
        for name, count in failed.items():
            note(_failure_text(name, count, is_stopped=bool(args.key)))
    is_rejected = args.is_verdict and (found.problems or found.listing is None)
    return 1 if is_rejected or failed else 0


def _counts(args: argparse.Namespace) -> list[PackCount]:
    """Return the reports of the devices, where a database is named."""
    if args.is_verdict:
        return []
    try:
        address = database_of(args)
    except UsageError:
        if args.stop_above is not None:
            raise
        return []
    from edge_sim.fleet.collection import SiteCollection

    with SiteCollection(address, create=False) as collection:
        return collection.pack_counts(args.site)


def _failed(
    args: argparse.Namespace, found: FolderStatus, counts: Sequence[PackCount]
) -> dict[str, PackCount]:
    """Return the listed versions that go on being rolled out although too many devices failed."""
    if args.stop_above is None or found.listing is None:
        return {}
    reported = {(item.pack, item.version): item for item in counts}
    return {
        item.name: count
        for item in found.listing.packs
        if (count := reported.get((item.name, item.version))) is not None
        and (item.rollout_percent or item.canary)
        and count.failed_share * 100.0 > args.stop_above
    }


def _failure_text(name: str, count: PackCount, *, is_stopped: bool) -> str:
    failed = count.refused + count.rolled_back
    what = "its rollout is stopped" if is_stopped else "name a --key to stop its rollout"
    return f"{name} version {count.version} failed on {failed} of {count.devices} devices; {what}"


def _print_counts(counts: Sequence[PackCount]) -> None:
    if not counts:
        return
    heads = ("pack", "version", "activated", "refused", "rolled back", "refused because")
    rows = [
        (item.pack, item.version, item.activated, item.refused, item.rolled_back,
         next(iter(item.reasons), ""))
        for item in counts
    ]  # fmt: skip
    say("")
    print_table(heads, rows)


def _print_status(found: FolderStatus) -> None:
    say(f"root {found.root.version}, expires {found.root.expires}")
    if found.listing is None:
        say("no packs are listed yet")
    else:
        say(
            f"list {found.listing.version}, expires {found.listing.expires}, "
            f"{found.signatures} of {found.root.packs.threshold} needed signatures"
        )
        rows = [
            (item.name, item.version, item.previous, item.target, f"{item.rollout_percent} %",
             ", ".join(item.canary), item.length)
            for item in found.listing.packs
        ]  # fmt: skip
        heads = ("pack", "version", "previous", "target", "rollout", "canary", "bytes")
        print_table(heads, rows)
    for problem in found.problems:
        note(problem)


def _apply(args: argparse.Namespace) -> int:
    from edge_sim.fleet import signing
    from edge_sim.fleet.fetching import PackFetcher
    from edge_sim.fleet.trial import LastDayTrial
    from edge_sim.fleet.update_state import REFUSED, UpdatePolicy
    from edge_sim.fleet.updates import update

    signing.check_library()
    context = context_of(args)
    config = context.config
    assert config is not None
    watches = {name: tuple(watch.states) for name, watch in config.watches.items()}
    trial = LastDayTrial(config, None, time.time())
    policy = UpdatePolicy(
        context.gallery, config.device, context.embedder, watches, trial, args.target, args.group
    )
    first = _first(args)
    outcomes = update(PackFetcher(args.place), policy, first)
    if args.json:
        print_result(context, packs=outcomes)
    else:
        for item in outcomes:
            (note if item.outcome == REFUSED else say)(_outcome_text(item))
        if not outcomes:
            say("no packs are offered")
    return 1 if any(item.outcome == REFUSED for item in outcomes) else 0


def _outcome_text(item: UpdateOutcome) -> str:
    made = "" if item.revision is None else f", revision {item.revision}"
    why = "" if item.reason is None else f": {item.reason}"
    if item.outcome == "waiting":
        why = ": its rollout has not reached this device and its group"
    return f"{item.name} version {item.version}: {item.outcome}{made}{why}"


def _rollback(args: argparse.Namespace) -> int:
    from edge_sim.fleet.installed import roll_back

    context = context_of(args)
    found, revision = roll_back(context.gallery, args.name)
    if args.json:
        print_result(context, pack=found, undone_by=revision)
    else:
        say(f"{found.name} version {found.version}: taken back, revision {revision}")
    return 0


def _first(args: argparse.Namespace) -> UpdateState | None:
    """Return the state to begin with, from --root and --target; None without."""
    from edge_sim.fleet.update_state import first_state

    if (args.root is None) != (args.target is None):
        raise UsageError("--root and --target belong together, at the first update of a device")
    if args.root is None:
        return None
    try:
        data = args.root.read_bytes()
    except OSError as error:
        raise UsageError(f"{args.root}: cannot read ({error.strerror or error})") from error
    return first_state(data, args.target, args.group or "", name=str(args.root))


def _new_key(args: argparse.Namespace) -> int:
    from edge_sim.fleet import signing

    signing.check_library()
    key_id = signing.new_key(args.file)
    say(f"{args.file}: private key {key_id}; {args.file}.pub is the public one")
    return 0


def _root(args: argparse.Namespace) -> int:
    from edge_sim.fleet import signing
    from edge_sim.fleet.publishing import RoleKeys, publish_root

    keys = _keys(args.key)
    roles = {
        name: RoleKeys(tuple(map(signing.read_public, paths)), threshold)
        for name, paths, threshold in (
            (signing.ROOT, args.root, args.root_threshold),
            (signing.PACKS, args.packs, args.packs_threshold),
        )
    }
    root = publish_root(args.folder, roles, keys, expires_s=_until(args.days))
    say(f"{args.folder}: root {root.version}, expires {root.expires}")
    return 0
