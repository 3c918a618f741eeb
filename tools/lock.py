"""Lock files of a release: every package of a runtime set, with its version and its hashes.

    python tools/lock.py            # writes .ci/locked.txt and .ci/locked-legacy.txt; needs `uv`
    pip install --require-hashes -r .ci/locked.txt && pip install --no-deps edge_sim-*.whl

A file has what a device installs: the base and the extras of `EXTRAS`, for Linux and every Python
that edge_sim supports. pip takes nothing with another hash. Where the packages come from is not in
it: any registry or folder with the same files will do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("mqtt", "metrics", "web", "search", "video", "heic")
"""Extras that devices install; the others are for the work on edge_sim."""

LIMITS = ("backports-strenum<1.3; python_full_version >= '3.11'",)
"""Versions that say themselves for which newest Python they are, which uv passes over."""


@dataclass(frozen=True)
class RuntimeSet:
    """One coherent set of packages.

    Args:
        file: Lock file, relative to the checkout.
        machines: Marker of the machines that the set is for.
        extras: Extras that the file covers.
    """

    file: str
    machines: str
    extras: tuple[str, ...]


SETS = (
    RuntimeSet(
        ".ci/locked.txt", "sys_platform == 'linux' and platform_machine != 'armv7l'", EXTRAS
    ),
    RuntimeSet(
        ".ci/locked-legacy.txt",
        "sys_platform == 'linux' and python_full_version < '3.12'",
        (*EXTRAS, "legacy"),
    ),
)


@dataclass(frozen=True)
class Pin:
    """One package of a lock file.

    Args:
        requirement: Name, `==`, version, and the marker of the machines that it is for.
        hashes: SHA-256 of each of its files.
    """

    requirement: str
    hashes: tuple[str, ...]


def pins(text: str) -> Iterator[Pin]:
    """Yield the packages of a lock file.

    Raises:
        ValueError: A line is neither a package, one of its hashes, nor a comment.
    """
    for entry in text.replace("\\\n", " ").splitlines():
        if not entry.strip() or entry.startswith("#"):
            continue
        requirement, *hashes = entry.split("--hash=sha256:")
        if not hashes or not requirement[0].isalnum() or "==" not in requirement:
            raise ValueError(f"no package with hashes: {entry.strip()[:80]!r}")
        yield Pin(requirement.strip(), tuple(text.strip() for text in hashes))


def locked(project: str, wanted: RuntimeSet) -> str:
    """Return the lock file of a set.

    Args:
        project: Text of `pyproject.toml`.
        wanted: Set of packages.

    Raises:
        CalledProcessError: The requirements contradict each other, or no registry answers.
    """
    options = [f"--extra={name}" for name in wanted.extras]
    quiet = ["--quiet", "--no-header", "--no-annotate", "--no-emit-index-url"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pyproject.toml")
        path.write_text(
            f'{project}\n[tool.uv]\nenvironments = ["{wanted.machines}"]\n'
            f"constraint-dependencies = {list(LIMITS)}\n"
        )
        command = [
            *(sys.executable, "-m", "uv", "pip", "compile", "--universal", "--generate-hashes"),
            *("--python-version", "3.10", *quiet, *options, str(path)),
        ]
        # The key `environments` counts in the folder where uv runs only.
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    extras = ", ".join(wanted.extras)
    head = f"# Written by tools/lock.py: edge_sim with {extras}, {wanted.machines}.\n"
    assert list(pins(done.stdout))
    return head + done.stdout


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.parse_args(argv)
    project = (ROOT / "pyproject.toml").read_text()
    for wanted in SETS:
        text = locked(project, wanted)
        (ROOT / wanted.file).write_text(text)
        print(f"{wanted.file}: {len(list(pins(text)))} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
