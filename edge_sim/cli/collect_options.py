"""Options that the verbs of `edge-sim collect` share: which collection they use, and what of it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.parser import UsageError

if TYPE_CHECKING:
    from edge_sim.fleet.collection import SiteCollection

_VARIABLE, _VECTORS = "EDGE_SIM_DATABASE", "EDGE_SIM_VECTORS"
_DEFAULT = "embedded:collection"


def database_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the database."""
    parser.add_argument(
        "--database",
        metavar="ADDRESS",
        help=f"PostgreSQL, as postgresql://user@host/name (default: ${_VARIABLE}, where the "
        "password is seen by nobody; else embedded:collection, a server in that folder)",
    )


def vectors_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names another store of vectors."""
    parser.add_argument(
        "--vectors",
        metavar="ADDRESS",
        help=f"store of the vectors, as qdrant://host:6333 (default: ${_VECTORS}; else the "
        "database)",
    )


def place_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a site, a device and a watch."""
    for name in ("site", "device", "watch"):
        parser.add_argument(f"--{name}", metavar="NAME", help=f"only this {name}")


def database_of(args: argparse.Namespace, *, create: bool = False) -> str:
    """Return the address of the database.

    Raises:
        UsageError: None is named, and there is no server in the default folder.
    """
    address = args.database or os.environ.get(_VARIABLE)
    if address:
        return str(address)
    if not create and not Path(_DEFAULT.partition(":")[2], "data").is_dir():
        raise UsageError(
            f"name the database with --database, or in ${_VARIABLE}: there is none in the folder "
            f"{_DEFAULT.partition(':')[2]}, where `collect run` would make one"
        )
    return _DEFAULT


def vectors_of(args: argparse.Namespace) -> str | None:
    """Return the address of another store of vectors; None without one."""
    return args.vectors or os.environ.get(_VECTORS) or None


def open_collection(args: argparse.Namespace) -> SiteCollection:
    """Return the collection that the options name, which is there already.

    Raises:
        CollectionError: It cannot be reached or used.
    """
    from edge_sim.fleet.collection import SiteCollection

    vectors = vectors_of(args) if hasattr(args, "vectors") else None
    return SiteCollection(database_of(args), vectors=vectors, create=False)
