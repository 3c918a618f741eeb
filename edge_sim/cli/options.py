"""Options that verbs share, and the configuration, gallery, region and model that they name."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli.output import note, print_json
from edge_sim.cli.parser import UsageError
from edge_sim.core.files import exists, printable
from edge_sim.errors import DataError, GalleryError

if TYPE_CHECKING:
    from edge_sim.core.protocols import Embedder
    from edge_sim.gallery.store import GalleryStore
    from edge_sim.runtime.config import Config
    from edge_sim.search.filters import Filter
    from edge_sim.vision.probe import Region


def load(path: Path, *, source: str | None = None) -> Config:
    """Return the configuration in `path`, with the uri of its only source replaced by `source`.

    Raises:
        ConfigError: As in `load_config`.
        UsageError: `source` is given for several sources.
    """
    from edge_sim.runtime.config import load_config

    config = load_config(path)
    if source is None:
        return config
    if len(config.sources) != 1:
        raise UsageError(
            f"{path}: --source replaces the only source, but there are {len(config.sources)}"
        )
    import msgspec

    from edge_sim.io.sources.uri import anchored

    ((name, present),) = config.sources.items()
    # Typed by the user, so relative to where the user is, not to the file.
    uri = anchored(source, str(Path.cwd()))
    places = {key: place for key, place in config.places.items() if not key.startswith("sources")}
    return msgspec.structs.replace(
        config, sources={name: msgspec.structs.replace(present, uri=uri)}, places=places
    )


Handler = Callable[[argparse.Namespace], int]
Verbs = argparse._SubParsersAction

DEFAULT_GALLERY = Path("gallery.db")
SCHEMA = 1
"""Version of the JSON that the verbs print; raised when a field changes or goes."""
MOST_THREADS = 64


def add_verb(
    verbs: Verbs[argparse.ArgumentParser], name: str, handler: Handler, help_text: str
) -> argparse.ArgumentParser:
    """Add a verb that is described by the same text in the list of verbs and in its own help."""
    text = f"{help_text[0].upper()}{help_text[1:]}."
    parser = verbs.add_parser(name, help=help_text, description=text)
    parser.set_defaults(handler=handler)
    return parser


def gallery_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the gallery file."""
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="FILE",
        help="gallery file (default: that of -c, else gallery.db)",
    )
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="take gallery, model and the region of the watch from this configuration",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def picture_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of enrolment."""
    parser.add_argument(
        "--roi",
        type=roi,
        metavar="x1,y1,x2,y2",
        help="region of the picture to watch, in fractions of its width and height",
    )
    reference_options(parser)


def reference_options(parser: argparse.ArgumentParser) -> None:
    """Add those of `picture_options` that also make sense for pictures of a region alone."""
    parser.add_argument("--model", metavar="SPEC", help=".tflite file, `default` or `thumbnail`")
    parser.add_argument(
        "--meta",
        type=key_and_value,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="note to keep with every reference; may be given several times",
    )
    parser.add_argument(
        "--force", action="store_true", help="enrol also pictures that would be rejected"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="report what would be done, and change nothing"
    )


def roi(text: str) -> tuple[float, ...]:
    """Return the four numbers of `x1,y1,x2,y2`.

    Raises:
        ArgumentTypeError: They are no region.
    """
    from edge_sim.core.types import Roi

    try:
        corners = tuple(float(part) for part in text.split(","))
        Roi(*corners)
    except (ValueError, TypeError) as error:
        _, sign, hint = str(error).partition("; these look like pixels")
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a region; give x1,y1,x2,y2 with 0 <= x1 < x2 <= 1 and "
            f"0 <= y1 < y2 <= 1{sign}{hint}"
        ) from None
    if len(corners) != 4:
        raise argparse.ArgumentTypeError(f"{text!r} needs four numbers")
    return corners


def size(text: str) -> tuple[int, int]:
    """Return the two numbers of `640x480`.

    Raises:
        ArgumentTypeError: They are no size.
    """
    width, _, height = text.partition("x")
    if not all(part.isascii() and part.isdecimal() and int(part) > 0 for part in (width, height)):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give width and height: 1920x1080")
    return int(width), int(height)


def key_and_value(text: str) -> tuple[str, str]:
    """Return the two parts of `key=value`.

    Raises:
        ArgumentTypeError: There is no `=`, or nothing before it.
    """
    key, sign, value = text.partition("=")
    if not key.strip() or not sign or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form key=value")
    return key.strip(), value


def where_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose pictures by tags and attributes."""
    parser.add_argument("--tag", action="append", default=[], metavar="TAG", help="with this tag")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="FILTER",
        help="only pictures that pass, as in 'state = open and not tag in (blurred, dark)'; "
        "several: all of them",
    )


def combined_filter(
    texts: Sequence[str], *, state: str | None = None, tags: Sequence[str] = ()
) -> Filter | None:
    """Return the filter of `--where`, `--state` and `--tag` together; None without any.

    Raises:
        SearchError: A text is no filter.
    """
    from functools import reduce
    from operator import and_

    from edge_sim.search.filters import equals, parse_filter

    found = [parse_filter(text) for text in texts]
    found += [equals("state", state)] if state is not None else []
    found += [equals("tag", tag) for tag in tags]
    return reduce(and_, found) if found else None


def absolute(path: Path) -> Path:
    """Return the path from the root of the file system, links kept."""
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve would follow links


def positive(text: str) -> int:
    """Return a whole number from 1 to 999999999.

    Raises:
        ArgumentTypeError: It is none.
    """
    value = whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return value


def threads(text: str) -> int:
    """Return a number of threads, 1 to 64.

    Raises:
        ArgumentTypeError: It is none.
    """
    value = whole(text)
    if not 1 <= value <= MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of threads, 1 to 64")
    return value


def whole(text: str) -> int:
    """Return a whole number with at most nine digits.

    Raises:
        ArgumentTypeError: It is none.
    """
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at most nine digits")
    return int(text)


def seconds(text: str) -> float:
    """Return a time of 0 s or more.

    Raises:
        ArgumentTypeError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time of 0 seconds or more")
    return value


@dataclass(frozen=True, slots=True)
class Context:
    """Configuration, gallery, region and model that the options of one command name.

    Args:
        gallery: Path of the gallery file.
        config: None where no configuration was named.
        roi: Region of --roi, which overrides the configuration; None without it.
        model: Model of --model, which overrides the configuration; None without it.
    """

    gallery: Path
    config: Config | None
    roi: tuple[float, ...] | None
    model: str | None

    def store(self, *, create: bool = False, read_only: bool = False) -> GalleryStore:
        """Return the gallery file, open; close it."""
        from edge_sim.gallery.store import GalleryStore

        return GalleryStore.open(self.gallery, create=create, read_only=read_only)

    def embedder(self) -> Embedder:
        """Return the model in use.

        Raises:
            ModelError: It cannot be used.
        """
        from edge_sim.vision.embedders import open_embedder

        if self.model is not None or self.config is None:
            return open_embedder(self.model)
        from edge_sim.runtime.assembly import open_model

        return open_model(self.config)

    def region(self, watch: str) -> Region:
        """Return the region of the watch: the whole picture unless configured.

        Raises:
            UsageError: The configuration has no such watch.
        """
        from edge_sim.core.types import Roi
        from edge_sim.vision.probe import Region

        configured = Region()
        if self.config is not None:
            from edge_sim.runtime.assembly import region_of
            from edge_sim.runtime.config.yaml_reader import nearest

            if watch not in self.config.watches:
                hint = nearest(watch, self.config.watches)
                raise UsageError(f"the configuration has no watch {watch!r}{hint}")
            configured = region_of(self.config, watch)
        return configured if self.roi is None else Region(Roi(*self.roi), configured.mask)

    def check_state(self, watch: str, state: str) -> None:
        """Raise `GalleryError` if the configuration lists the states and this is none of them."""
        if self.config is None or watch not in self.config.watches:
            return
        states = self.config.watches[watch].states
        if states and state not in states:
            raise GalleryError(
                f"watch {watch!r} has the states {', '.join(states)} in the configuration, "
                f"not {state!r}"
            )


def context_of(args: argparse.Namespace) -> Context:
    """Return the context that the options of a verb name.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    config = None
    gallery = args.gallery
    if args.config is not None:
        config = load(args.config)
        gallery = gallery or config.path(config.gallery.path)
    return Context(
        gallery=gallery or DEFAULT_GALLERY,
        config=config,
        roi=getattr(args, "roi", None),
        model=getattr(args, "model", None),
    )


def print_result(context: Context, **facts: Any) -> None:
    """Print what a verb found or did as JSON, records as they are."""
    print_json({"schema": SCHEMA, "gallery": str(context.gallery), **facts})


def only_watch(store: GalleryStore, name: str | None) -> str:
    """Return `name`, or the only watch of a gallery if none is named.

    Raises:
        GalleryError: There is no such watch, none at all, or more than one to choose from.
    """
    watches = store.watches()
    if name is None and len(watches) == 1:
        return watches[0]
    if name in watches:
        return str(name)
    known = ", ".join(watches) or "no references"
    if name is None:
        raise GalleryError(f"{store.path}: name one with --watch; it has {known}")
    from edge_sim.runtime.config.yaml_reader import nearest

    hint = nearest(name, watches).partition(" (known: ")[0]
    raise GalleryError(f"{store.path}: no watch {name!r}{hint}; it has {known}")


def check_known(name: str | None, known: Iterable[str], noun: str, place: object) -> None:
    """Check that something that an option names is there.

    Args:
        name: Name that was typed; None without the option.
        known: Names that there are.
        noun: Kind of the name, as in `watch`.
        place: Gallery or file that was read.

    Raises:
        DataError: There is none of that name; the message has the nearest.
    """
    names = sorted(set(known))
    if name is None or name in names:
        return
    from edge_sim.runtime.config.yaml_reader import nearest

    raise DataError(f"{place}: no {noun} {name!r}{nearest(name, names)}")


def metadata_of(pairs: list[tuple[str, str]]) -> Mapping[str, str]:
    """Return metadata from the options; the last of equal keys counts."""
    return dict(pairs)


def note_other_places(context: Context) -> int:
    """Name the places beside the gallery file that may still hold deleted pictures; return 0."""
    from edge_sim.gallery.copies import kept_beside

    places = list(kept_beside(context.gallery))
    config = context.config
    if config is not None:
        found = (config.explanations.path, config.review.path)
        places += [config.path(path) for path in found if path is not None]
    named = ", ".join(printable(place) for place in places if exists(place))
    note(
        f"deleted from the gallery file only; {named or 'copies, exports, explanations'}"
        f"{' and copies elsewhere' if named else ' and review folders'} were not touched"
    )
    return 0
