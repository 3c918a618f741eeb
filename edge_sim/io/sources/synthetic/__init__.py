"""Scenes drawn by the package's own code, with known truth: `synthetic:bowl?seed=3&frames=600`.

Settings after the `?`: `seed` (default 0), `frames` (600), `fps` (5, scene time), `dwell_s` (20,
mean stay in a state) and `nuisances`, a list with commas. The same uri gives the same bytes.
"""
