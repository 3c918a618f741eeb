"""Memory that a model needs, and that is free: checked before a model is loaded or fetched."""

from __future__ import annotations

from pathlib import Path

from edge_sim.errors import ModelError

_PER_BYTE = 2.2
"""Greatest memory of ONNX Runtime while it loads a model, per byte of the file: it holds the file
and the weights that it takes out of it. Measured: 2.12 with a file of 105 MB, 2.03 with 422."""
_BASE_BYTES = 120_000_000
"""Memory of the runtimes and of one picture besides."""
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def needed_bytes(file_bytes: int) -> int:
    """Return about how much memory loading an ONNX file takes, bytes."""
    return round(_PER_BYTE * file_bytes) + _BASE_BYTES


def free_bytes(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """Return the memory that this process can still take, bytes; None where the system is silent.

    Args:
        meminfo: Table of the kernel.
        cgroup: Folder of the limits of a container (version 2).
    """
    lines = _text(meminfo).splitlines()
    found = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    limit, used = (_text(cgroup / f"memory.{name}").strip() for name in ("max", "current"))
    if limit.isdecimal() and used.isdecimal():
        found.append(max(0, int(limit) - int(used)))
    return min(found, default=None)


def check_memory(file_bytes: int, what: str) -> None:
    """Raise `ModelError` where loading an ONNX file would take more memory than is free.

    Args:
        file_bytes: Size of the file.
        what: Name for the message.
    """
    needed, free = needed_bytes(file_bytes), free_bytes()
    if free is not None and needed > free:
        raise ModelError(
            f"{what}: loading it takes about {needed / 1e6:.0f} MB of memory, {free / 1e6:.0f} MB "
            f"are free; close other programs, take a smaller model, or index on a larger machine"
        )


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
