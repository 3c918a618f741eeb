"""Changes of the configuration of a running device: written, taken over, or taken back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from starlette.exceptions import HTTPException

from edge_sim.errors import EdgeSimError
from edge_sim.runtime.daemon.access import DeviceAccess
from edge_sim.web.config_file import ConfigEdit, ConfigFile, Written
from edge_sim.web.context import WebContext

logger = logging.getLogger(__name__)

RELOAD_S = 60.0
_REPLY_S = 0.5
"""Time for the answer to leave before a server that restarts closes its connections, seconds."""


def config_file(context: WebContext) -> ConfigFile:
    """Return the configuration file of the device.

    Raises:
        HTTPException: It has none.
    """
    path = context.device.config_path
    if path is None:
        raise HTTPException(409, "this device has no configuration file that could be changed")
    found = context.shared.setdefault("config_file", ConfigFile(path))
    assert isinstance(found, ConfigFile)
    return found


def change_config(context: WebContext, edit: ConfigEdit) -> Written:
    """Change the configuration file and let the device take it over; all or nothing.

    Raises:
        ConfigError: The change cannot be written.
        EdgeSimError: The device cannot use it; the file is as it was.
    """
    file = config_file(context)
    written = file.edit(edit)
    take_over(context.device, file, written)
    return written


def take_over(
    device: DeviceAccess,
    file: ConfigFile,
    written: Written,
    take_back: Callable[[], object] = lambda: None,
) -> bool:
    """Let the device read its configuration again; return whether its web server restarts for it.

    With other settings of the web server the change is taken over a moment later, so that the
    answer leaves before.

    Args:
        device: Access to the daemon.
        file: Its configuration file.
        written: Change of the file.
        take_back: Function that takes back what else belongs to the change, called after the file
            was restored.

    Raises:
        EdgeSimError: The device cannot use it; the file is as it was.
    """
    if written.config.web != device.config.web:
        timer = threading.Timer(_REPLY_S, _take_over_later, (device, file, written, take_back))
        timer.daemon = True
        timer.start()
        return True
    _take_over_now(device, file, written, take_back)
    return False


def _take_over_later(
    device: DeviceAccess, file: ConfigFile, written: Written, take_back: Callable[[], object]
) -> None:
    try:
        _take_over_now(device, file, written, take_back)
    except Exception as error:  # the edge of the thread
        trace = None if isinstance(error, EdgeSimError) else error
        logger.error("the new configuration is taken back: %s", error, exc_info=trace)


def _take_over_now(
    device: DeviceAccess, file: ConfigFile, written: Written, take_back: Callable[[], object]
) -> None:
    try:
        device.reload(RELOAD_S)
    except Exception:
        if file.restore(written):  # a later change may need what belongs to this one
            take_back()
        raise
