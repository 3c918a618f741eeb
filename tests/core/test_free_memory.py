"""Calls to the C library take effect; with another library nothing happens."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_sim.core import resources

HEAPS_OF_FIVE_THREADS = """
import ctypes, sys, threading
from edge_sim.core import resources as heap
if sys.argv[1] == "shared":
    heap.use_one_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(5)
def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


def heaps(manner: str, repository: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", HEAPS_OF_FIVE_THREADS, manner],
        capture_output=True,
        text=True,
        check=True,
        cwd=repository,
        env={name: value for name, value in os.environ.items() if "MALLOC" not in name},
    )
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has one heap")
def test_threads_share_one_heap(repository: Path) -> None:
    assert heaps("shared", repository) == 1
    assert heaps("as it is", repository) > 1


def test_where_the_c_library_cannot_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        """A C library without these functions."""

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Other())
    resources.use_one_heap()
    resources.release_free_memory()
