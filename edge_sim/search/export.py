"""Export of pictures with their tags and attributes, for spreadsheets and labelling tools.

Tables go to one file, the others to a new or empty folder. No picture of the collection is changed.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from xml.sax.saxutils import quoteattr

from edge_sim.core.files import entries, exists, is_dir, printable, write_whole
from edge_sim.core.images import encode_jpeg
from edge_sim.errors import SearchError, SourceError
from edge_sim.search.frames import file_of, read_entry

UNTAGGED = "untagged"
_FRAME_QUALITY = 92
_LABEL_FIELDS = frozenset({"id", "name", "tags", "label", "confidence", "logits"})
_FIRST_COLUMNS = ("file", "state", "tags", "width", "height", "bytes")


@dataclass(frozen=True, slots=True)
class ExportedPicture:
    """Picture to be exported.

    Args:
        file: The picture file.
        name: Path relative to the collection, or id.
        tags: Sorted tags.
        facts: Attributes, built-in and own, without tags.
    """

    file: Path
    name: str
    tags: tuple[str, ...]
    facts: Mapping[str, str]

    @property
    def state(self) -> str:
        """State, or folder; empty if it has none."""
        return self.facts.get("state", "")


def export(pictures: Sequence[ExportedPicture], place: Path, form: str) -> int:
    """Write pictures in a form of `FORMS`; return their number.

    Args:
        pictures: Pictures to write.
        place: File of a table, or a new or empty folder.
        form: Key of `FORMS`.

    Raises:
        SearchError: No such form, the place is taken, or a picture cannot be copied.
    """
    if form not in FORMS:
        raise SearchError(f"no form {form!r}; there are {', '.join(FORMS)}")
    try:
        FORMS[form](pictures, place)
    except OSError as error:
        raise SearchError(
            f"{printable(error.filename or place)}: {error.strerror or error}"
        ) from error
    return len(pictures)


def _csv(pictures: Sequence[ExportedPicture], place: Path) -> None:
    keys = sorted({key for item in pictures for key in item.facts} - {*_FIRST_COLUMNS, "path"})

    def row(item: ExportedPicture) -> tuple[str, ...]:
        rest = (item.facts.get(key, "") for key in (*_FIRST_COLUMNS[3:], *keys))
        return item.name, item.state, " ".join(item.tags), *rest

    write_csv(place, (*_FIRST_COLUMNS, *keys), map(row, pictures))


def write_csv(place: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a table whose fields no spreadsheet runs as formulas.

    Raises:
        SearchError: The place is a folder.
        OSError: It cannot be written.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow(map(_harmless, row))
    _write_table(place, text.getvalue())


def _harmless(value: str) -> str:
    """Return a field that a spreadsheet does not run as a formula."""
    return f"'{value}" if value[:1] in ("=", "+", "@", "\t") else value


def _jsonl(pictures: Sequence[ExportedPicture], place: Path) -> None:
    lines = (
        json.dumps({"file": item.name, "tags": item.tags, **_without_path(item.facts)})
        for item in pictures
    )
    _write_table(place, "".join(f"{line}\n" for line in lines))


def _without_path(facts: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in facts.items() if key != "path"}


def _folders(pictures: Sequence[ExportedPicture], place: Path) -> None:
    new_folder(place)
    for item in pictures:
        for tag in item.tags or (UNTAGGED,):
            folder = place / tag
            folder.mkdir(exist_ok=True)
            _copy(item, folder / _free_name(folder, _file_name(item)))


def _label_studio(pictures: Sequence[ExportedPicture], place: Path) -> None:
    """Write tasks and the labelling configuration that fits them.

    Layout: https://labelstud.io/guide/tasks and .../guide/predictions (local files are addressed
    relative to the document root of the storage).
    """
    new_folder(place)
    tasks = []
    for item, file in _copied(pictures, place / "pictures"):
        task: dict[str, object] = {
            "data": {
                "image": f"/data/local-files/?d={place.name}/pictures/{file}",
                "name": item.name,
                "tags": list(item.tags),
                **_without_path(item.facts),
            }
        }
        if item.state:
            chosen = {
                "from_name": "state",
                "to_name": "image",
                "type": "choices",
                "value": {"choices": [item.state]},
            }
            task["annotations"] = [{"result": [chosen]}]
        tasks.append(task)
    states = sorted({item.state for item in pictures if item.state})
    choices = "".join(f"    <Choice value={quoteattr(state)}/>\n" for state in states)
    write_whole(place / "tasks.json", json.dumps(tasks, indent=1).encode())
    write_whole(
        place / "labelling.xml",
        (
            '<View>\n  <Image name="image" value="$image"/>\n'
            f'  <Choices name="state" toName="image">\n{choices}  </Choices>\n</View>\n'
        ).encode(),
    )


def _fiftyone(pictures: Sequence[ExportedPicture], place: Path) -> None:
    """Write a data set for `fiftyone.Dataset.from_dir(dataset_dir=place, dataset_type=
    fiftyone.types.FiftyOneImageClassificationDataset)`.

    Layout: https://docs.voxel51.com/user_guide/import_datasets.html, the type of that name. Tags
    and attributes are those of the label, so a picture without a state has none.
    """
    new_folder(place)
    labels: dict[str, dict[str, object] | None] = {}
    for item, file in _copied(pictures, place / "data"):
        facts = {_field_name(key): value for key, value in _without_path(item.facts).items()}
        own = {"name": item.name, "tags": list(item.tags), **facts}
        labels[Path(file).stem] = {"label": item.state, "attributes": own} if item.state else None
    states = sorted({item.state for item in pictures if item.state})
    content = json.dumps({"classes": states, "labels": labels}, indent=1)
    write_whole(place / "labels.json", content.encode())


def _field_name(key: str) -> str:
    """Return a key as the name of a field of a label that has none of that name."""
    name = re.sub(r"\W", "_", key)
    return f"own_{name}" if name in _LABEL_FIELDS or not name[0].isalpha() else name


FORMS: Mapping[str, Callable[[Sequence[ExportedPicture], Path], None]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "folders": _folders,
    "fiftyone": _fiftyone,
    "label-studio": _label_studio,
}
"""Forms of an export: a table, or a folder that holds the pictures too."""


def _copied(
    pictures: Sequence[ExportedPicture], folder: Path
) -> Iterator[tuple[ExportedPicture, str]]:
    """Copy the pictures into a new folder, under names of their own; yield each with its name."""
    folder.mkdir()
    digits = len(str(len(pictures)))
    for number, item in enumerate(pictures, 1):
        name = f"{number:0{digits}d}{Path(_file_name(item)).suffix.lower()}"
        _copy(item, folder / name)
        yield item, name


def _file_name(item: ExportedPicture) -> str:
    """Return the name of the file that a picture is exported as; a frame becomes a JPEG."""
    name = Path(item.name).name
    return name if file_of(item.file) == item.file else f"{name.replace('#t=', '_')}s.jpg"


def _copy(item: ExportedPicture, target: Path) -> None:
    if file_of(item.file) == item.file:
        shutil.copyfile(item.file, target)
        return
    try:
        target.write_bytes(encode_jpeg(read_entry(item.file), _FRAME_QUALITY))
    except SourceError as error:
        raise SearchError(str(error)) from error


def _write_table(place: Path, text: str) -> None:
    if is_dir(place):
        raise SearchError(f"{place}: is a folder; name a file")
    write_whole(place, text.encode("utf-8", "backslashreplace"))


def new_folder(place: Path) -> None:
    if exists(place) and (not is_dir(place) or any(True for _ in entries(place))):
        raise SearchError(f"{place}: is there already; name a new or empty folder")
    place.mkdir(parents=True, exist_ok=True)


def _free_name(folder: Path, name: str) -> str:
    path, number = Path(name), 1
    while exists(folder / name):
        number += 1
        name = f"{path.stem}-{number}{path.suffix}"
    return name
