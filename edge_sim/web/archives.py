"""Export of a device as one archive, and import of it: configuration, masks, gallery, model card.

manifest.json   kind, schema, version, device, and the SHA-256 of every other file
config.yaml     text of the configuration, secrets included as they stand in it
gallery.db      copy of the gallery at one revision, with its history
masks/...       masks of watches that lie beside the configuration
model.json      card of the model; the model itself is not in it
"""

from __future__ import annotations

import errno
import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import msgspec

from edge_sim.core.archives import ZIP_FAULTS, EntryTooLargeError, copy_entry
from edge_sim.core.events import utc_text
from edge_sim.core.files import exists, is_file, read_bounded
from edge_sim.core.resources import default_model_path
from edge_sim.errors import ConfigError, DataError, EdgeSimError
from edge_sim.gallery.copies import back_up, restore
from edge_sim.runtime.config import Config
from edge_sim.runtime.config.yaml_reader import MAX_TEXT
from edge_sim.version import __version__
from edge_sim.vision.embedders.card import card_path
from edge_sim.web.config_file import ConfigFile, Written, write_with_mode

KIND, SCHEMA = "edge_sim-export", 1
CONFIG, GALLERY, MANIFEST, CARD = "config.yaml", "gallery.db", "manifest.json", "model.json"
MAX_ARCHIVE_BYTES = 512_000_000
MAX_GALLERY_BYTES = 2_000_000_000
MAX_MASK_BYTES = 8_000_000
MAX_ENTRIES = 300
_CHUNK = 1 << 20


class Manifest(msgspec.Struct, frozen=True):
    """Contents of an archive: SHA-256 by name."""

    kind: str
    schema: int
    version: str
    device: str
    created_at: str
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Imported:
    """Result of an import.

    Args:
        written: Change of the configuration file.
        revision: Revision of the gallery now; None if the archive has none.
        undoing: Closing it brings back the gallery and the masks, not the configuration.
    """

    written: Written
    revision: int | None
    undoing: ExitStack


def export_to(target: Path, config: Config, file: ConfigFile, *, now_s: float) -> None:
    """Write the archive of a device.

    Args:
        target: Place of the archive, which is written over.
        config: Configuration in force.
        file: Its file.
        now_s: Seconds since 1970 UTC.

    Raises:
        EdgeSimError: The configuration or the gallery cannot be read.
        OSError: The disk is full.
    """
    sums: dict[str, str] = {}
    with (
        TemporaryDirectory(dir=target.parent, prefix=".export-") as folder,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, path in _files(config, file, Path(folder)):
            is_packed = name == GALLERY  # pictures do not shrink
            kind = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            archive.write(path, name, kind)
            sums[name] = _digest(path)
        manifest = Manifest(KIND, SCHEMA, __version__, config.device, utc_text(now_s), sums)
        archive.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))


def import_from(archive: Path, config: Config, file: ConfigFile) -> Imported:
    """Take an archive over; configuration, masks and gallery, or nothing of it.

    Args:
        archive: Archive of `export_to`.
        config: Configuration in force.
        file: Its file.

    Raises:
        DataError: It is no archive of a device, damaged, or too large.
        ConfigError: Its configuration cannot be used here.
        GalleryError: Its gallery cannot be used.
    """
    place = config.path(config.gallery.path).parent
    with TemporaryDirectory(dir=place, prefix=".import-") as folder:
        unpacked = Path(folder)
        names = set(_unpack(archive, unpacked))
        if CONFIG not in names:
            raise DataError("the archive has no config.yaml")
        try:
            text = (unpacked / CONFIG).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"the {CONFIG} of the archive is not UTF-8 text") from error
        wanted = file.checked(text)
        check_programs(config, wanted)
        gallery = wanted.path(wanted.gallery.path)
        masks = {
            file.path.parent / name: (unpacked / name).read_bytes()
            for name in sorted(names)
            if name.startswith("masks/")
        }
        with ExitStack() as undoing:
            revision = None
            if GALLERY in names:
                restored = restore(gallery, unpacked / GALLERY)
                revision = restored.revision
                undoing.callback(_bring_back_gallery, gallery, restored.kept)
            for path, content in masks.items():
                undoing.callback(_bring_back_mask, path, _content_of(path))
                _keep_mask(path, content)
            written = file.replace(text)
            return Imported(written, revision, undoing.pop_all())


def _content_of(path: Path) -> bytes | None:
    try:
        return read_bounded(path, MAX_MASK_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the mask ({error.strerror})") from error


def _bring_back_mask(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        _keep_mask(path, content)


def _bring_back_gallery(gallery: Path, kept: Path | None) -> None:
    if kept is not None:
        restore(gallery, kept)
    else:  # there was none
        for suffix in ("-wal", "-shm", ""):
            Path(f"{gallery}{suffix}").unlink(missing_ok=True)


def check_programs(present: Config, wanted: Config) -> None:
    """Check that a change from a page runs no program that is not configured already.

    Who can use the page may see and teach, and not run programs as the user of the service.

    Raises:
        ConfigError: It does.
    """
    known = [sink for sink in present.sinks if sink.__struct_config__.tag == "command"]
    for at, sink in enumerate(wanted.sinks):
        if sink.__struct_config__.tag == "command" and sink not in known:
            raise ConfigError(
                f"sinks[{at}]: a program to run is configured in the file on the device, not from "
                "the page"
            )


def _files(config: Config, file: ConfigFile, folder: Path) -> Iterator[tuple[str, Path]]:
    text = folder / CONFIG
    text.write_text(file.text(), encoding="utf-8")
    yield CONFIG, text
    gallery = config.path(config.gallery.path)
    if exists(gallery):
        back_up(gallery, folder / GALLERY)
        yield GALLERY, folder / GALLERY
    masks = (watch.mask for watch in config.watches.values() if watch.mask is not None)
    for name in dict.fromkeys(str(PurePosixPath(mask)) for mask in masks):  # watches may share one
        if _is_own_mask(name) and is_file(config.path(name)):
            yield name, config.path(name)
    spec = config.model.path
    if spec != "thumbnail":
        card = card_path(default_model_path() if spec == "default" else config.path(spec))
        if is_file(card):
            yield CARD, card


def _is_own_mask(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return (
        len(parts) == 2
        and parts[0] == "masks"
        and parts[1].endswith(".png")
        and (not parts[1].startswith(".") and "\\" not in name and parts[1].isprintable())
    )


def _unpack(archive: Path, folder: Path) -> Iterator[str]:
    """Yield the names of the files of an archive, each written after a check of name and size."""
    try:
        with zipfile.ZipFile(archive) as opened:
            infos = opened.infolist()
            if len(infos) > MAX_ENTRIES:
                raise DataError(f"the archive has more than {MAX_ENTRIES} files")
            if len({info.filename for info in infos}) != len(infos):
                raise DataError("the archive has two files of one name")
            manifest = _manifest(opened)
            for info in infos:
                if info.filename == MANIFEST:
                    continue
                limit = _limit_of(info.filename)
                if limit is None or info.filename not in manifest.files:
                    raise DataError(f"the archive has a file too many: {info.filename[:60]!r}")
                _extract(opened, info, folder / info.filename, limit)
                if _digest(folder / info.filename) != manifest.files[info.filename]:
                    raise DataError(f"the archive is damaged: {info.filename}")
                yield info.filename
    except EdgeSimError:
        raise
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # a place before the start, or no bzip2
            raise
        raise DataError("this archive is damaged") from error
    except ZIP_FAULTS as error:
        raise DataError(f"this is no archive of a device ({error})") from error


def _manifest(opened: zipfile.ZipFile) -> Manifest:
    try:
        info = opened.getinfo(MANIFEST)
        if info.file_size > _CHUNK:
            raise DataError("the manifest of the archive is too large")
        with opened.open(info) as stream:
            manifest = msgspec.json.decode(stream.read(_CHUNK), type=Manifest)
    except (KeyError, msgspec.DecodeError) as error:
        raise DataError("this is no archive of a device: it has no manifest") from error
    if manifest.kind != KIND or manifest.schema > SCHEMA:
        raise DataError(
            f"this archive ({manifest.kind[:40]} {manifest.schema}) is of a newer edge_sim or of "
            "another program"
        )
    return manifest


def _limit_of(name: str) -> int | None:
    """Return the most bytes of a file of an archive; None for a name that none has."""
    limits: Mapping[str, int] = {
        CONFIG: 4 * MAX_TEXT,
        GALLERY: MAX_GALLERY_BYTES,
        CARD: _CHUNK,
    }
    return limits.get(name, MAX_MASK_BYTES if _is_own_mask(name) else None)


def _extract(opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, limit: int) -> None:
    target.parent.mkdir(exist_ok=True)
    try:
        with target.open("wb") as written:
            copy_entry(opened, info, written, limit)
    except EntryTooLargeError as error:
        raise DataError(f"the archive is too large: {info.filename}") from error


def _keep_mask(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o750, exist_ok=True)
        write_with_mode(path, content, like=path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot write the mask ({error.strerror})") from error


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while part := stream.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()
