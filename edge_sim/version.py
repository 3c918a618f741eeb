"""Version of the package, importable from every wing."""

from __future__ import annotations

__version__ = "0.2.0"
