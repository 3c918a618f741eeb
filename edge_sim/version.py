"""Version of the package, importable from every wing."""

__version__ = "0.1.0"
