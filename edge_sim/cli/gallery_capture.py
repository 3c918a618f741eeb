"""`edge-sim gallery capture`: frames of a live source to references of a state."""

from __future__ import annotations

import argparse

from edge_sim.cli.capture import resolved, sampling_options
from edge_sim.cli.gallery_changes import enrol_and_print, plan_of
from edge_sim.cli.gallery_context import Context, context_of
from edge_sim.cli.output import progress
from edge_sim.errors import GalleryError


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb, besides those of every picture."""
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="/dev/video0, rtsp://..., the name of a source of -c; that of the watch if left out",
    )
    parser.add_argument("--watch", required=True, metavar="NAME")
    parser.add_argument("--state", required=True, metavar="STATE", help="that the frames show")
    sampling_options(parser)


def capture(args: argparse.Namespace) -> int:
    """Enrol the frames that pass the gates, as one revision."""
    from edge_sim.enrolment import Sampling, frames_of

    context = context_of(args)
    context.check_state(args.watch, args.state)
    plan = plan_of(args, context, args.state)
    uri, wanted = resolved(args.source or _source_of(context, args.watch), context.config)
    candidates = frames_of(uri, Sampling(args.every, args.count), wanted)
    return enrol_and_print(args, context, [(plan, progress(candidates, args.count, "capture"))])


def _source_of(context: Context, watch: str) -> str:
    """Return the name of the source that the configuration has for a watch."""
    if context.config is None:
        raise GalleryError("say which source, or give a configuration with -c that names it")
    return context.config.watches[watch].source or next(iter(context.config.sources))
