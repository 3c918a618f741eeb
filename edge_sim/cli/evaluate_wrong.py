"""Pictures that an evaluation found wrong: as a table, and as a page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.output import note, print_table
from edge_sim.core.files import printable

if TYPE_CHECKING:
    from edge_sim.analysis.evaluation.index_retrieval import IndexRetrievalResult
    from edge_sim.analysis.evaluation.retrieval import RetrievalResult, WrongAnswer
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
    from edge_sim.analysis.report import write_page
    from edge_sim.analysis.report.pages import CaptionedPicture, PictureRow, image_grid

    def cards(result: StatesResult) -> Iterator[CaptionedPicture]:
        for item in result.wrong[:SHOWN_PICTURES]:
            share = f"called {_called(item)}, {100 * item.share:.0f} % of draws"
            shown = labelled_picture(item.file)
            yield CaptionedPicture(shown, (item.state, share, item.file), "wrong")

    rows = [
        PictureRow(result.name, f"{len(result.wrong)} of {result.frames} pictures", cards(result))
        for result in results
    ]
    total = sum(len(result.wrong) for result in results)
    facts = [f"{total} pictures were called another state in some draws"]
    write_page(path, image_grid("Wrong pictures", facts, rows))
    note(f"{path}: written")


def _called(item: WrongPicture) -> str:
    return ", ".join(f"{state} {count}" for state, count in item.reported.items())


def print_wrong_answers(results: Sequence[RetrievalResult | IndexRetrievalResult]) -> None:
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
    results: Sequence[RetrievalResult | IndexRetrievalResult],
    nearest: Callable[[str], BgrImage | None],
) -> None:
    """Write a page with the pictures whose nearest other is of another class, each beside that."""
    from edge_sim.analysis.report import write_page
    from edge_sim.analysis.report.pages import CaptionedPicture, PictureRow, image_grid

    def cards(wrong: Sequence[WrongAnswer]) -> Iterator[CaptionedPicture]:
        for item in wrong[:SHOWN_PICTURES]:
            found = nearest(item.nearest)
            yield CaptionedPicture(labelled_picture(item.file), (item.label, item.file))
            yield CaptionedPicture(
                found, (item.nearest_label, "the nearest to the one before", item.nearest), "wrong"
            )

    rows = [
        PictureRow(
            result.name, f"{len(result.wrong)} of {result.pictures} pictures", cards(result.wrong)
        )
        for result in results
    ]
    total = sum(len(result.wrong) for result in results)
    facts = [f"{total} pictures whose nearest other is of another class"]
    write_page(path, image_grid("Wrong answers", facts, rows))
    note(f"{path}: written")


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
    from edge_sim.search.frames import read_entry

    try:
        return read_entry(root / name, REPORT_PX)
    except SourceError:
        return None
