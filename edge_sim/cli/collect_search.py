"""`edge-sim collect search` and `collect serve`: search across devices, and the page over them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_sim.cli.collect_options import (
    database_of,
    database_option,
    open_collection,
    place_options,
    vectors_of,
    vectors_option,
)
from edge_sim.cli.options import add_verb, positive
from edge_sim.cli.output import note, print_json, print_table
from edge_sim.cli.parser import UsageError

if TYPE_CHECKING:
    from edge_sim.core.types import FloatVector
    from edge_sim.runtime.config import Config


_LISTEN = "127.0.0.1:8090"


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both verbs."""
    search = add_verb(
        verbs, "search", _search, "find the events whose pictures are most like a query"
    )
    search.add_argument("picture", nargs="?", type=Path, metavar="PICTURE", help="picture file")
    search.add_argument("--text", metavar="WORDS", help="words instead of a picture")
    search.add_argument(
        "--vector", type=Path, metavar="FILE", help="JSON list of numbers, or .npy, with --model-id"
    )
    search.add_argument("--model-id", metavar="ID", help="model of the vectors (default: --model)")
    search.add_argument(
        "--model", default="default", help="a .tflite file, `thumbnail`, or the default model"
    )
    search.add_argument("-k", type=positive, default=10, metavar="N", help="(default: 10)")
    place_options(search)
    search.add_argument("--state", metavar="NAME", help="only this state")
    search.add_argument("--since", metavar="TIME", help="not earlier, as 2026-01-31 (UTC)")
    search.add_argument("--until", metavar="TIME", help="earlier than this")
    search.add_argument(
        "--save", type=Path, metavar="DIR", help="write the pictures that were found there"
    )
    search.add_argument("--json", action="store_true", help="print the result as JSON")
    database_option(search)
    vectors_option(search)
    _register_serve(verbs)


def _register_serve(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = add_verb(verbs, "serve", _serve, "serve the page and the JSON API over all devices")
    serve.add_argument(
        "-c", "--config", type=Path, metavar="FILE",
        help="configuration whose section `web` says how the page is reached, and by whom; "
        "`edge-sim web passwd NAME -c FILE` makes an account",
    )  # fmt: skip
    serve.add_argument(
        "--listen", metavar="HOST:PORT", help=f"(default: that of the file, or {_LISTEN})"
    )
    serve.add_argument(
        "--model", default="default", help="for searches: a .tflite file or the default model"
    )
    database_option(serve)
    vectors_option(serve)


def _serve(args: argparse.Namespace) -> int:
    from edge_sim.fleet.queries import QueryEncoder
    from edge_sim.web.fleet_api import CollectionPool
    from edge_sim.web.fleet_server import FleetServer

    config = _web_config(args)
    database, vectors = database_of(args), vectors_of(args)
    pool = CollectionPool(database, vectors)
    # Kept open: a server of the collection's own runs for as long as the page does.
    with open_collection(args):
        server = FleetServer(config, pool, QueryEncoder(args.model))
        note(f"the page is at {server.address}")
        server.run()
    return 0


def _web_config(args: argparse.Namespace) -> Config:
    from edge_sim.runtime.config import load_config, parse_config

    config = parse_config("", where="") if args.config is None else load_config(args.config)
    listen = args.listen or config.web.listen or _LISTEN
    web = msgspec.to_builtins(config.web) | {"listen": listen}
    try:
        changed = msgspec.convert(web, type(config.web))
    except msgspec.ValidationError as error:
        raise UsageError(f"--listen: {listen!r} is no HOST:PORT") from error
    return msgspec.structs.replace(config, web=changed)


def _search(args: argparse.Namespace) -> int:
    from edge_sim.fleet.vectors import VectorFilter

    given = [item for item in (args.picture, args.text, args.vector) if item is not None]
    if len(given) != 1:
        raise UsageError("give one query: PICTURE, --text or --vector")
    where = VectorFilter(args.site, args.device, args.watch, args.state, args.since, args.until)
    model, vector = _query(args)
    with open_collection(args) as collection:
        found = collection.vectors.search(model, vector, args.k, where)
        if args.save is not None:
            args.save.mkdir(parents=True, exist_ok=True)
            for item in found:
                jpeg = collection.picture(item.site, item.device, item.id)
                if jpeg is not None:
                    name = f"{item.score:.3f}-{item.site}-{item.device}-{item.watch}-{item.id}.jpg"
                    (args.save / name).write_bytes(jpeg)
    if args.json:
        print_json({"schema": 1, "model": model, "found": found})
        return 0
    rows = [
        (f"{item.score:.3f}", item.at, item.site, item.device, item.watch, item.state, item.id)
        for item in found
    ]
    print_table(("cosine", "at (UTC)", "site", "device", "watch", "state", "event"), rows)
    return 0


def _query(args: argparse.Namespace) -> tuple[str, FloatVector]:
    """Return model and vector of the query."""
    from edge_sim.fleet.queries import QueryEncoder, read_vector
    from edge_sim.io.sources.pictures import read_picture

    encoder = QueryEncoder(args.model)
    if args.vector is not None:
        return args.model_id or encoder.embedder.model_id, read_vector(args.vector)
    if args.model_id is not None:
        raise UsageError("--model-id goes with --vector")
    if args.picture is not None:
        embedding = encoder.of_picture(read_picture(args.picture))
    else:
        embedding, unknown = encoder.of_text(args.text)
        for line in unknown:
            note(line)
    return embedding.model_id, embedding.vector
