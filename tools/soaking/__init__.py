"""The parts of `tools/soak.py`, one noun a module."""
