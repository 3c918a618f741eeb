"""Packs, collections: beyond one device."""
