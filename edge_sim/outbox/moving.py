"""Taking over what waits in the outbox of before, when the configuration names another file."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from edge_sim.errors import SinkError
from edge_sim.outbox.store import Outbox
from edge_sim.private_file import write_whole

logger = logging.getLogger(__name__)

_LONGEST_BYTES = 4096


def take_over_previous(outbox: Outbox, path: Path, state: Path) -> None:
    """Take over the events of the outbox that this device had before, and note the present one.

    What cannot be taken over is logged, and tried again at the next start.

    Args:
        outbox: Open.
        path: Its file.
        state: State file of the device; the note lies beside it.
    """
    note = state.with_name(f"{state.name}.outbox")
    previous = _noted(note)
    if previous == path.absolute():
        return
    if previous is not None and previous.is_file():
        try:
            count = outbox.adopt(previous)
        except SinkError as error:
            logger.error("events that wait in %s stay there: %s", previous, error)
            return
        logger.warning("outbox: %d events taken over from %s", count, previous)
    try:
        write_whole(note, os.fsencode(path.absolute()))
    except OSError as error:
        logger.warning("%s: cannot be written (%s)", note, error.strerror)


def _noted(note: Path) -> Path | None:
    with suppress(OSError), note.open("rb") as stream:
        text = stream.read(_LONGEST_BYTES)
        return Path(os.fsdecode(text)) if text and b"\0" not in text else None
    return None
