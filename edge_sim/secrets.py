"""Registry of secret values, so that no error and no log line shows them.

The configuration registers the values that it takes from `${NAME}` and those of keys such as
`password`; every error of edge_sim and every line of its log is masked with them.
"""

from __future__ import annotations

import logging
from urllib.parse import parse_qsl, quote, unquote, urlsplit

MASK = "***"
SHORTEST = 4
"""Letters below which a value is not registered: it would hide parts of ordinary words."""

_values: set[str] = set()


def register_secret(value: str) -> None:
    """Register a value to be masked from now on, with its forms in addresses.

    Of an address, the password and the values of the query are registered as well.
    """
    parts = {value}
    if "://" in value:
        try:
            address = urlsplit(value)
            parts.update((address.password or "", *(text for _, text in parse_qsl(address.query))))
        except ValueError:  # no address after all: the whole value is masked
            pass
    for part in parts:
        forms = (part, unquote(part), quote(part, safe=""), quote(part))
        _values.update(form for form in forms if len(form) >= SHORTEST)


def mask_secrets(text: str) -> str:
    """Return `text` with every registered value replaced by `***`."""
    # The longest first: one value may be part of another.
    for value in sorted(_values, key=len, reverse=True):
        if value in text:
            text = text.replace(value, MASK)
    return text


def forget_secrets() -> None:
    """Empty the registry."""
    _values.clear()


class MaskingFormatter(logging.Formatter):
    """Formatter of log lines without registered secrets, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return mask_secrets(super().format(record))
