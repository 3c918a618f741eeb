"""Disks that fail: the n-th write, fsync, rename and open of a short life of every file."""
