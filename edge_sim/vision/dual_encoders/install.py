"""Import of a dual encoder from a folder, or from an archive at an address.

    made = import_folder(Path("ViT-B-32__openai"), models)
    made = pull_archive(url, sha256, models, opener=urllib.request.build_opener())

Only the files that `files` names are taken; they are tried in a process of their own, then put into
`<models>/text/<name>` with a card. Under that name there is a complete encoder or none.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from edge_sim.core.files import is_file
from edge_sim.errors import ModelError
from edge_sim.vision.dual_encoders.files import (
    CARD,
    FILES,
    FOLDER,
    LICENSE_FILES,
    SCHEMA,
    TEXTUAL,
    VISUAL,
    DualEncoderCard,
    check_layout,
    check_name,
    license_of,
    read_dual_encoder_card,
    read_preprocessing,
    read_settings,
    sha256_of,
)
from edge_sim.vision.dual_encoders.memory import check_memory
from edge_sim.vision.dual_encoders.onnx_encoder import runtime
from edge_sim.vision.dual_encoders.trial import DualEncoderFacts, try_dual_encoder
from edge_sim.vision.embedders.model_pull import Limits, Opener, Progress, download

MOST_BYTES = 8 << 30
_LIMITS = Limits(max_bytes=MOST_BYTES, whole_s=6 * 3600.0)
_ENDINGS = re.compile(r"\.(?:tgz|tar\.gz|tar|zip)$")
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ImportedEncoder:
    """Dual encoder that an import made, or found: then `was_there` is true, without facts."""

    folder: Path
    card: DualEncoderCard
    was_there: bool
    facts: DualEncoderFacts | None = None


@dataclass(frozen=True, slots=True)
class InstalledEncoder:
    """Folder of a dual encoder, with its card, or the reason why it has none that can be used."""

    folder: Path
    size_bytes: int
    card: DualEncoderCard | None
    problem: str | None = None


def list_dual_encoders(models: Path) -> tuple[InstalledEncoder, ...]:
    """Return the dual encoders in the folder of a user's models, by name; nothing is loaded."""
    found = []
    for folder in sorted((models / FOLDER).glob("[!.]*/")):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        try:
            check_layout(folder)
            found.append(InstalledEncoder(folder, size, read_dual_encoder_card(folder)))
        except ModelError as error:
            found.append(InstalledEncoder(folder, size, None, str(error)))
    return tuple(found)


def encoder_folder(spec: str, models: Path) -> Path:
    """Return the folder that a name, or the path of a folder, means.

    Raises:
        ModelError: There is none.
    """
    named = models / FOLDER / spec
    if is_file(named / CARD):
        return named
    if is_file(Path(spec) / CARD) or is_file(Path(spec) / VISUAL):
        return Path(spec)
    names = ", ".join(item.folder.name for item in list_dual_encoders(models)) or "none"
    raise ModelError(
        f"{spec}: no text model of that name in {models / FOLDER} ({names}), nor a folder of one; "
        f"`edge-sim model import-text DIR` imports one"
    )


def import_folder(
    source: Path,
    models: Path,
    *,
    name: str | None = None,
    license_name: str | None = None,
    address: str | None = None,
) -> ImportedEncoder:
    """Return the dual encoder made of a folder.

    Args:
        source: Folder as `files` describes it.
        models: Folder of a user's models; made if it does not exist.
        name: Name for it; None takes that of the folder.
        license_name: Licence of the weights; None takes what the folder states.
        address: Address that it came from; None for a folder.

    Raises:
        ModelError: A file is missing or cannot be used, too little memory or room, or another one
            has the name; nothing is left behind.
    """
    runtime()
    check_layout(source)
    out = models / FOLDER / check_name(source.absolute().name if name is None else name)
    settings, preprocessing = read_settings(source), read_preprocessing(source)
    sizes = {file: (source / file).stat().st_size for file in FILES}
    check_memory(max(sizes[VISUAL], sizes[TEXTUAL]), str(source))
    sums = {file: sha256_of(source / file) for file in FILES}
    if out.exists():
        card = read_dual_encoder_card(out)
        if card.sha256 == sums:
            return ImportedEncoder(out, card, was_there=True)
        raise ModelError(f"{out}: another text model has this name; take another --name")
    card = DualEncoderCard(
        schema=SCHEMA,
        name=out.name,
        license=license_name or license_of(source),
        source=address,
        sha256=sums,
        dimension=settings.embed_dim,
        input_px=preprocessing.side_px,
    )
    with _workspace(out.parent, sum(sizes.values())) as workspace:
        made = workspace / out.name
        for file in (*FILES, *(item for item in LICENSE_FILES if is_file(source / item))):
            (made / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, made / file)
        (made / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card)) + b"\n")
        with _named(made, str(source)):
            facts = try_dual_encoder(made)
        made.rename(out)
    return ImportedEncoder(out, card, was_there=False, facts=facts)


def pull_archive(
    address: str,
    sha256: str,
    models: Path,
    *,
    opener: Opener,
    name: str | None = None,
    license_name: str | None = None,
    progress: Progress = lambda _done, _total: None,
) -> ImportedEncoder:
    """Return the dual encoder made of a .tgz, .tar or .zip archive.

    Args:
        address: http or https address, or the path of a copy.
        sha256: SHA-256 of the archive, 64 hexadecimal digits.
        models: Folder of a user's models; made if it does not exist.
        opener: Sender of the request.
        name: Name for it; None takes that of the archive.
        license_name: Licence of the weights; None takes what the archive states.
        progress: Callback for progress.

    Raises:
        ModelError: No connection, another file, too little memory or room, or as `import_folder`.
    """
    runtime()
    if not re.fullmatch(r"[0-9a-f]{64}", sha256.lower()):
        raise ModelError(f"--sha256 takes 64 hexadecimal digits, got {sha256[:80]!r}")
    plain = address.partition("?")[0].rstrip("/").rpartition("/")[2]
    name = check_name(_ENDINGS.sub("", plain) if name is None else name)

    def checked(done: int, total: int | None) -> None:
        # Before the first block: what cannot be used is not fetched.
        if not done and total:
            check_memory(total // 2, f"{address} ({total / 1e6:.0f} MB)")
            _check_room(models, 2 * total)
        progress(done, total)

    with _workspace(models / FOLDER, 0) as workspace:
        archive = Path(address)
        if "://" in address:
            archive = workspace / "archive"
            download(address, archive, opener=opener, progress=checked, limits=_LIMITS)
        found = sha256_of(archive)
        if found != sha256.lower():
            raise ModelError(
                f"{address}: has sha256 {found}, not {sha256.lower()}; it was not used"
            )
        unpacked = workspace / "unpacked"
        _unpack(archive, unpacked, address)
        with _named(unpacked, address):
            return import_folder(
                unpacked, models, name=name, license_name=license_name, address=address
            )


@contextmanager
def _workspace(parent: Path, size: int) -> Iterator[Path]:
    """Provide a folder beside the encoders, removed at the end."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _check_room(parent, size)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=parent) as place:
            yield Path(place)
    except OSError as error:
        raise ModelError(f"{parent}: cannot write ({error.strerror or error})") from error


@contextmanager
def _named(place: Path, name: str) -> Iterator[None]:
    """Name in errors what the user gave, in place of a folder that is removed."""
    try:
        yield
    except ModelError as error:
        raise ModelError(str(error).replace(str(place), name)) from error


def _check_room(place: Path, size: int) -> None:
    free = shutil.disk_usage(place).free
    if size > free:
        raise ModelError(f"{place}: {size / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")


def _unpack(archive: Path, out: Path, address: str) -> None:
    """Write the files of a dual encoder, and no others, from an archive."""
    try:
        opened = _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive)
        left = MOST_BYTES
        root = None
        for member, file in opened:
            place = _place_of(member)
            if place is None:
                continue
            inside, prefix = place
            if prefix != (prefix if root is None else root):
                if inside in FILES:
                    raise ModelError(f"{address}: there is more than one model inside")
                continue
            root = prefix if inside in FILES else root
            target = out / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as written:
                while block := file.read(_BLOCK_BYTES):
                    left -= len(block)
                    if left < 0:
                        raise ModelError(f"{address}: unpacks to more than {MOST_BYTES >> 30} GiB")
                    written.write(block)
    except _DAMAGE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise ModelError(f"{address}: not a whole .tgz, .tar or .zip archive ({reason})") from error
    if root is None:
        raise ModelError(f"{address}: there is no {VISUAL} inside, nor the files beside it")


def _place_of(member: str) -> tuple[str, str] | None:
    """Return the file that a member of an archive is, and its folder there; None for others."""
    parts = PurePosixPath(member).parts
    for length in (2, 1):
        inside = "/".join(parts[-length:])
        if len(parts) >= length and inside in (*FILES, *LICENSE_FILES):
            return inside, "/".join(parts[:-length])
    return None


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive, "r:*") as opened:
        for member in opened:
            file = opened.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if not member.is_dir():
                with opened.open(member) as file:
                    yield member.filename, file
