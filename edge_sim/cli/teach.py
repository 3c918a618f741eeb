"""`edge-sim teach`: "that was X". What a watch shows, or showed, becomes a reference."""

from __future__ import annotations

import argparse
import http.client
import ssl
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_sim.cli.output import note, print_json, say
from edge_sim.errors import AgainstEvidenceError, CommandError, SourceError

if TYPE_CHECKING:
    from edge_sim.gallery.candidates import EnrolmentCandidate
    from edge_sim.io.sinks.capabilities import Teach
    from edge_sim.runtime.config import Config


_ANSWER_S = 15.0
_MAX_ANSWER_BYTES = 100_000


class FlipView(msgspec.Struct, frozen=True):
    """A recent event that would be another state now."""

    event_id: str
    before: str
    after: str


class EvidenceView(msgspec.Struct, frozen=True):
    """State that the gallery was sure of, against the correction."""

    state: str
    probability: float


class TaughtView(msgspec.Struct, frozen=True):
    """Result of a correction; `flips` is empty where no daemon took it."""

    watch: str
    state: str
    reference_id: str
    revision: int
    overruled: str | None
    flips: tuple[FlipView, ...] = ()
    against_evidence: EvidenceView | None = None
    schema: int = 1


class _Refusal(msgspec.Struct, frozen=True):
    error: str
    against_evidence: bool = False


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "teach",
        help="correct a watch: its present picture, or that of an event, becomes a reference",
        description="Add what a watch sees now, or saw at a recent event, to its references. The "
        "running daemon does it if web.listen and web.token are configured; otherwise one "
        "frame is taken from the source. The daemon has the pictures of the last events of a "
        "watch; those of older ones are there with explanations.pictures. `edge-sim gallery undo` "
        "takes it back.",
    )
    parser.add_argument("watch", help="name of the watch")
    parser.add_argument("state", help="state that the picture shows")
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="as given to the daemon")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--event", metavar="ID", help="the picture of this event")
    which.add_argument("--now", action="store_true", help="the present picture (the default)")
    parser.add_argument(
        "--force", action="store_true", help="also where the gallery is sure of another state"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=_teach)


def _teach(args: argparse.Namespace) -> int:
    from edge_sim.cli.daemon import configured
    from edge_sim.io.sinks.capabilities import Teach
    from edge_sim.runtime.config.yaml_reader import nearest

    config = configured(args.config, args.state_dir)
    if args.watch not in config.watches:
        hint = nearest(args.watch, config.watches)
        raise CommandError(f"there is no watch {args.watch!r}{hint}")
    command = Teach(args.watch, args.state, args.event, force=args.force)
    try:
        taught = _taught(config, command)
    except AgainstEvidenceError as error:
        if not _confirmed(f"{error}. Teach it all the same?"):
            raise AgainstEvidenceError(f"{error}; nothing was taught, --force does it") from error
        taught = _taught(config, replace(command, force=True))
    if args.json:
        print_json(taught)
    else:
        _print(taught)
    return 0


def _taught(config: Config, command: Teach) -> TaughtView:
    return _taught_by_daemon(config, command) or _direct(config, command)


def _confirmed(question: str) -> bool:
    """Return whether a person says yes; no where nobody can be asked."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _taught_by_daemon(config: Config, command: Teach) -> TaughtView | None:
    """Return what the daemon made of it; None if there is no daemon to ask."""
    address, token = config.web.local_address, config.web.token
    if address is None or token is None:
        return None
    host, port = address
    connection = _connection(config, host, port)
    body = msgspec.json.encode(
        {
            "watch": command.watch,
            "state": command.state,
            "event": command.event_id,
            "force": command.force,
        }
    )
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request("POST", "/teach", body, headers)
        answer = connection.getresponse()
        content = answer.read(_MAX_ANSWER_BYTES)
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException) as error:
        raise CommandError(f"the daemon at {host}:{port} does not answer ({error})") from error
    finally:
        connection.close()
    try:
        if answer.status == 200:
            return msgspec.json.decode(content, type=TaughtView)
        refusal = msgspec.json.decode(content, type=_Refusal)
    except msgspec.DecodeError:
        reason = f"{host}:{port} answers {answer.status} {answer.reason}"
        raise CommandError(reason) from None
    if refusal.against_evidence:
        raise AgainstEvidenceError(refusal.error)
    raise CommandError(refusal.error)


def _connection(config: Config, host: str, port: int) -> http.client.HTTPConnection:
    if config.web.certificate is None:
        return http.client.HTTPConnection(host, port, timeout=_ANSWER_S)
    # The very certificate of the configuration is asked for, whatever name it is made out to.
    context = ssl.create_default_context(cafile=config.path(config.web.certificate))
    context.check_hostname = False
    return http.client.HTTPSConnection(host, port, timeout=_ANSWER_S, context=context)


def _direct(config: Config, command: Teach) -> TaughtView:
    """Take what is kept of the event, or one frame from the source.

    A daemon that runs notices the changed gallery.
    """
    from edge_sim.runtime import assembly
    from edge_sim.runtime.daemon.teaching import picture_of_event, teach_picture

    if command.event_id is None:
        note("no daemon is running here: one frame is taken from the source")
        candidate = _seen_now(config, command.watch)
    else:
        note("no daemon is running here: the picture is the one that was kept of the event")
        candidate = picture_of_event(config, command)
    embedder = assembly.open_model(config)
    lesson = teach_picture(config, embedder, command, candidate, time.time)
    found = lesson.against_evidence
    return TaughtView(
        command.watch,
        command.state,
        lesson.reference_id,
        lesson.revision,
        lesson.overruled,
        against_evidence=None
        if found is None
        else EvidenceView(state=found.state, probability=found.probability),
    )


def _seen_now(config: Config, watch: str) -> EnrolmentCandidate:
    from edge_sim.gallery.candidates import EnrolmentCandidate
    from edge_sim.runtime import assembly

    name = config.source_of(watch)
    with closing(assembly.open_configured(config, name, threaded=True)) as source:
        frame = source.read()
    if frame is None:
        raise SourceError(f"{name}: ended before its first frame")
    pixels = assembly.region_of(config, watch).pixels_of(frame.pixels)
    return EnrolmentCandidate(f"{name}#{frame.index}", pixels, frame.unix_time_s)


def _print(taught: TaughtView) -> None:
    say(f"{taught.watch} is {taught.state}: reference {taught.reference_id}")
    if taught.overruled is not None:
        note(f"the picture is a {taught.overruled} with what was known; your word counts")
    if taught.against_evidence is not None:
        found = taught.against_evidence
        note(
            f"against the evidence: the gallery was sure of {found.state} ({found.probability:.2f})"
        )
    for flip in taught.flips:
        say(f"event {flip.event_id} would be {flip.after}, not {flip.before}")
    say(f"revision {taught.revision}; `edge-sim gallery undo` takes it back")
