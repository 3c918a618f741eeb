"""`edge-sim explain`: why a watch changed its state, and what would have prevented it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.output import note, print_json, print_table, say
from edge_sim.errors import ConfigError, DataError, GalleryError

if TYPE_CHECKING:
    from edge_sim.analysis.explain import Account
    from edge_sim.analysis.report.explanation import ReferencePicture
    from edge_sim.gallery.gallery import Gallery
    from edge_sim.gallery.store import GalleryStore
    from edge_sim.runtime.explanations import Explanation


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "explain",
        help="explain why a watch changed its state, and what would have prevented it",
        description="Explain one change of state: why this state, why then, and by how "
        "much it missed the thresholds that would have prevented it. With -c it is looked up in "
        "the explanations that `run` "
        "and `daemon` keep; a score log of every observation explains it too, and what came "
        "after; an "
        "event file gives only what is in the event.",
    )
    parser.add_argument(
        "event", metavar="EVENT_ID", help="id of the event, its first digits, or `last`"
    )
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="configuration of the device"
    )
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="as given to the daemon")
    parser.add_argument(
        "--explanations", type=Path, metavar="FILE", help="instead of the one in -c"
    )
    parser.add_argument(
        "--score-log", type=Path, metavar="LOG", help="score log of every observation"
    )
    parser.add_argument("--events", type=Path, metavar="FILE", help="JSON lines of a file sink")
    parser.add_argument("--gallery", type=Path, metavar="FILE", help="instead of the one in -c")
    parser.add_argument(
        "--report", type=Path, metavar="OUT", help="a page with pictures and the timeline (.html)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=_explain)


def _explain(args: argparse.Namespace) -> int:
    from edge_sim.analysis.explain import account_of, as_builtins

    if args.report is not None:
        from edge_sim.analysis.report import check_path

        check_path(args.report)
    explanation = _found(args)
    account = account_of(explanation)
    if args.report is not None:
        from edge_sim.analysis.report import write_page
        from edge_sim.analysis.report.explanation import explanation_page

        page = explanation_page(explanation, account, _references(args, explanation))
        write_page(args.report, page)
        note(f"{args.report}: written")
    if args.json:
        print_json(as_builtins(explanation, account))
    else:
        _print(explanation, account)
    return 0


def _found(args: argparse.Namespace) -> Explanation:
    """Return what the sources know of the event, the one that knows most first.

    Raises:
        DataError: No source was named, or none of them has the event.
    """
    import msgspec

    kept = _kept_path(args)
    if kept is None and args.score_log is None and args.events is None:
        raise DataError(
            "name the file that keeps the event: -c CONFIG, --explanations FILE, --score-log LOG "
            "or --events FILE"
        )
    found: Explanation | None = None
    failures: list[DataError] = []
    wanted = args.event
    if kept is not None:
        found = _tried(lambda: _from_kept(kept, wanted), failures)
    if args.score_log is not None:
        wanted = found.event.id if found else wanted
        logged = _tried(lambda: _from_log(args.score_log, wanted), failures)
        if found is not None and logged is not None:
            found = msgspec.structs.replace(found, observations=logged.observations)
        found = found or logged
    if found is None and args.events is not None:
        found = _tried(lambda: _from_events(args.events, wanted), failures)
    if found is None:
        raise failures[0]
    for failure in failures:
        note(str(failure))
    return found


def _tried(ask: Callable[[], Explanation], failures: list[DataError]) -> Explanation | None:
    try:
        return ask()
    except DataError as error:
        failures.append(error)
        return None


def _kept_path(args: argparse.Namespace) -> Path | None:
    from edge_sim.runtime.daemon.teaching import explanations_path

    named: Path | None = args.explanations
    if named is not None or args.config is None:
        return named
    from edge_sim.cli.daemon import configured

    config = configured(args.config, args.state_dir)
    path = explanations_path(config)
    if path is None:
        raise ConfigError(
            f"{args.config}: no explanations are kept: explanations.path is null, or the outbox is "
            "in memory; name a file there, with outbox.storage: disk"
        )
    return path


def _from_kept(path: Path, wanted: str) -> Explanation:
    from edge_sim.runtime.explanations import find_explanation

    return find_explanation([path], wanted)


def _from_log(path: Path, wanted: str) -> Explanation:
    from edge_sim.analysis.replay import Reading, ReplayRun, explanations
    from edge_sim.runtime.explanations import choose
    from edge_sim.runtime.score_log import read_lines

    run = ReplayRun()
    reading = Reading([run])
    every = {item.event.id: item for item in explanations(read_lines([path]), reading, run)}
    if not every and reading.summaries:
        raise DataError(
            f"{path}: holds summaries of some observations, not what they were decided from; "
            f"write it with --score-every 0"
        )
    ids = sorted(every, key=lambda event_id: every[event_id].cause.unix_time_s)
    found = every[choose(ids, wanted, str(path))]
    if not reading.is_exact:
        note(
            f"{path}: observations are missing, so votes and evidence may differ from those of then"
        )
    return found


def _from_events(path: Path, wanted: str) -> Explanation:
    from edge_sim.core.events import StateChanged, WatchEvent, tag_of
    from edge_sim.runtime.explanations import choose, from_event
    from edge_sim.runtime.score_log import read_lines

    events = {}
    for line in read_lines([path]):
        if isinstance(line, StateChanged):
            events[line.id] = line
        elif isinstance(line, WatchEvent) and line.id == wanted:
            raise DataError(
                f"{path}: the event {wanted} is {tag_of(line)}, which says itself why; only "
                f"changes of state are explained"
            )
    chosen = events[choose(list(events), wanted, str(path))]
    try:
        return from_event(chosen)
    except ValueError as error:
        raise DataError(f"{path}: the event {chosen.id} makes no sense ({error})") from error


def _references(
    args: argparse.Namespace, explanation: Explanation
) -> Mapping[str, ReferencePicture]:
    """Return the references of the match that are still in the gallery."""
    from edge_sim.analysis.report.explanation import ReferencePicture
    from edge_sim.core.images import decode
    from edge_sim.gallery.store import GalleryStore

    path = args.gallery
    if path is None and args.config is not None:
        from edge_sim.cli.options import load

        config = load(args.config)
        path = config.path(config.gallery.path)
    match = explanation.cause.match
    if path is None or match is None:
        return {}
    shown: dict[str, ReferencePicture] = {}
    with GalleryStore.open(path, read_only=True) as store:
        gallery = _gallery_then(store, explanation)
        for item in match.states:
            try:
                reference = gallery[item.reference_id]
                crop = decode(store.crop(item.reference_id))
            except (GalleryError, ValueError) as error:
                note(f"{path}: {error}")
                continue
            shown[item.reference_id] = ReferencePicture(crop, reference.thumbnail)
    return shown


def _gallery_then(store: GalleryStore, explanation: Explanation) -> Gallery:
    """Return the gallery as it was at the event; as it is, if that cannot be rebuilt."""
    event = explanation.event
    try:
        return store.gallery(event.watch, revision=event.gallery_revision)
    except GalleryError:
        return store.gallery(event.watch)


def _print(explanation: Explanation, account: Account) -> None:
    from edge_sim.analysis.explain import origin_text, where_text

    at = explanation.event.at.replace("T", " ").replace("Z", " UTC")
    say(account.headline)
    say(f"{at}, {where_text(explanation)}")
    for title, sentences in (
        ("Why this", account.why_state),
        ("Why then", account.why_then),
        ("What would have changed it", account.what_if),
    ):
        if sentences:
            print()
            say(title)
        for sentence in sentences:
            say(f"  {sentence}")
    if account.states:
        print()
        _print_states(account)
    print()
    say(origin_text(explanation))


def _print_states(account: Account) -> None:
    heads = ["state", "probability", "score", "enter", "leave", "evidence", "cosine", "ssim"]
    print_table(
        [*heads, "nearest reference"],
        [
            [
                *(row.state, row.probability, row.score, row.enter, row.leave),
                *(row.evidence, row.cosine, row.ssim, row.reference),
            ]
            for row in account.states
        ],
    )
