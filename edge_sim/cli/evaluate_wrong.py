"""Pictures that an evaluation found wrong: as a table, and as a page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.output import note, print_table
from edge_sim.core.files import printable

if TYPE_CHECKING:
    from edge_sim.analysis.evaluation.retrieval import RankRates
    from edge_sim.analysis.evaluation.states import StatesResult, WrongPicture
    from edge_sim.analysis.report.pages import CaptionedPicture
    from edge_sim.core.types import BgrImage

SHOWN_WRONG, SHOWN_PICTURES = 10, 200
REPORT_PX = 360
"""Side at which a picture of an index is enough for a report, pixels."""


def print_wrong_states(results: Sequence[StatesResult]) -> None:
    """Print the pictures that were called another state most often."""
    wrong = [(result.name, item) for result in results for item in result.wrong]
    wrong.sort(key=lambda pair: -pair[1].share)
    if not wrong:
        return
    print_table(
        ["picture", "state", "called", "of draws"],
        [
            (item.file, item.state, _called(item), f"{100 * item.share:.0f} %")
            for _, item in wrong[:SHOWN_WRONG]
        ],
    )
    if len(wrong) > SHOWN_WRONG:
        note(f"{len(wrong) - SHOWN_WRONG} more; --json lists all, --report shows their pictures")


def write_wrong_states(path: Path, results: Sequence[StatesResult]) -> None:
    """Write a page with the pictures that were called another state."""
    from edge_sim.analysis.report.pages import CaptionedPicture

    def cards(result: StatesResult) -> Iterator[CaptionedPicture]:
        for item in result.wrong[:SHOWN_PICTURES]:
            share = f"called {_called(item)}, {100 * item.share:.0f} % of draws"
            shown = labelled_picture(item.file)
            yield CaptionedPicture(shown, (item.state, share, item.file), "wrong")

    sets = [(item.name, len(item.wrong), item.frames, cards(item)) for item in results]
    _write(path, "Wrong pictures", "were called another state in some draws", sets)


def _write(
    path: Path,
    title: str,
    fault: str,
    sets: Sequence[tuple[str, int, int, Iterator[CaptionedPicture]]],
) -> None:
    """Write a page with a row of cards for each set: name, wrong pictures, pictures, cards."""
    from edge_sim.analysis.report import write_page
    from edge_sim.analysis.report.pages import PictureRow, image_grid

    rows = [
        PictureRow(name, f"{wrong} of {pictures} pictures", cards)
        for name, wrong, pictures, cards in sets
    ]
    facts = [f"{sum(wrong for _, wrong, _, _ in sets)} pictures {fault}"]
    write_page(path, image_grid(title, facts, rows))
    note(f"{path}: written")


def _called(item: WrongPicture) -> str:
    return ", ".join(f"{state} {count}" for state, count in item.reported.items())


def print_wrong_answers(results: Sequence[RankRates]) -> None:
    """Print pictures whose nearest other is of another class."""
    wrong = [item for result in results for item in result.wrong]
    if not wrong:
        return
    print_table(
        ["picture", "class", "nearest", "its class"],
        [
            (printable(item.file), item.label, printable(item.nearest), item.nearest_label)
            for item in wrong[:SHOWN_WRONG]
        ],
    )
    if len(wrong) > SHOWN_WRONG:
        note(f"{len(wrong) - SHOWN_WRONG} more; --json lists all, --report shows their pictures")


def write_wrong_answers(
    path: Path,
    results: Sequence[RankRates],
    nearest: Callable[[str], BgrImage | None],
) -> None:
    """Write a page with the pictures whose nearest other is of another class, each beside that."""
    from edge_sim.analysis.report.pages import CaptionedPicture

    def cards(result: RankRates) -> Iterator[CaptionedPicture]:
        for item in result.wrong[:SHOWN_PICTURES]:
            found = nearest(item.nearest)
            yield CaptionedPicture(labelled_picture(item.file), (item.label, item.file))
            yield CaptionedPicture(
                found, (item.nearest_label, "the nearest to the one before", item.nearest), "wrong"
            )

    sets = [(item.name, len(item.wrong), item.pictures, cards(item)) for item in results]
    _write(path, "Wrong answers", "whose nearest other is of another class", sets)


def labelled_picture(file: str) -> BgrImage | None:
    """Return a picture of a set; None if it cannot be read any more."""
    from edge_sim.analysis.evaluation.tars import read_labelled_picture
    from edge_sim.errors import DataError

    try:
        return read_labelled_picture(Path(file))
    except DataError:
        return None


def indexed_picture(root: Path, name: str) -> BgrImage | None:
    """Return a picture of an index; None if it cannot be read."""
    from edge_sim.errors import SourceError
    from edge_sim.search.frames import read_inside

    try:
        return read_inside(root, Path(name), REPORT_PX)
    except SourceError:
        return None
