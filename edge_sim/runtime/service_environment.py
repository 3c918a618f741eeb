"""Python environment of the service, in a place that its sandbox can read.

The unit has `ProtectHome=yes` and `PrivateTmp=yes`: whatever lies in a home or a temporary folder,
as most virtual environments and clones do, does not exist for the service. Such an installation is
copied to one folder, without the network, so that the service runs what was tried.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_sim.core.resources import config_path, default_model_path
from edge_sim.errors import ConfigError

HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""Folders that `ProtectHome=yes` and `PrivateTmp=yes` hide from the service."""

PLACE = Path("/usr/local/lib/edge_sim")
"""Folder of the copied environment."""

_MARK = "edge_sim-service.txt"
_MARK_TEXT = "Made by `edge-sim install-service`, which replaces or deletes this folder.\n"
_SITE = ("site-packages", "dist-packages")
_SKIPPED = shutil.ignore_patterns("*.tmp", ".git", ".mypy_cache", "pip")


def hidden_part(path: Path, hidden: Iterable[str] = HIDDEN) -> Path | None:
    """Return the folder that keeps the service from a path; None if it can read the path.

    Args:
        path: Absolute path, which is followed where it is a link.
        hidden: Folders that do not exist for the service.
    """
    real = path.resolve()
    for folder in hidden:
        place = Path(folder).resolve()
        if real == place or place in real.parents:
            return place
    return next((parent for parent in reversed(real.parents) if _is_closed(parent)), None)


def _is_closed(folder: Path) -> bool:
    """Return True if users other than the owner may not enter a folder."""
    try:
        return not folder.stat().st_mode & 0o001
    except FileNotFoundError:
        return False
    except OSError:
        return True


@dataclass(frozen=True, slots=True)
class Installation:
    """An edge_sim that is installed on this machine.

    Args:
        prefix: Root of its Python environment.
        base: Root of the Python that the environment was made from.
        version: Version of that Python, as in `3.11`.
        site: Folders of packages, in the order in which they are searched.
        package: Folder of the package `edge_sim`.
        system_site: True if packages of the system are searched as well.
    """

    prefix: Path
    base: Path
    version: str
    site: tuple[Path, ...]
    package: Path
    system_site: bool

    @classmethod
    def of_this_process(cls) -> Installation:
        """Return the installation that this process runs."""
        prefix, base = Path(sys.prefix), Path(sys.base_prefix)
        settings = prefix / "pyvenv.cfg"
        shares = not settings.is_file() or "include-system-site-packages = true" in (
            settings.read_text(encoding="utf-8").lower()
        )
        site = tuple(
            Path(entry) for entry in sys.path if Path(entry).name in _SITE and Path(entry).is_dir()
        )
        import edge_sim

        package = Path(str(edge_sim.__file__)).resolve().parent
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return cls(prefix, base, version, site, package, shares)

    @property
    def is_checkout(self) -> bool:
        """True if the package is not among installed ones, as in a clone."""
        return not any(folder.resolve() in self.package.parents for folder in self.site)

    def hidden_from_service(self, hidden: Iterable[str] = HIDDEN) -> Path | None:
        """Return what the service cannot read of it; None if it can read everything."""
        hidden = tuple(hidden)
        for path in (self.package, self.prefix, self.base, *self.site):
            if hidden_part(path, hidden) is not None:
                return path
        return None


def check_place(place: Path) -> None:
    """Check that a folder is free, or was made by `copy_environment`.

    Raises:
        ConfigError: It holds something else, which is not touched.
    """
    if place.exists() and not (place / _MARK).is_file():
        raise ConfigError(
            f"{place} is there and was not made by install-service; move it away, or name the "
            f"edge-sim to run with --program FILE"
        )


def remove_environment(place: Path) -> bool:
    """Delete a copied environment; return False if there is none."""
    check_place(place)
    if not place.exists():
        return False
    shutil.rmtree(place)
    return True


def copy_environment(
    installation: Installation, place: Path, hidden: Iterable[str] = HIDDEN
) -> Path:
    """Copy an installation to a folder; return the path of its `edge-sim`.

    A copy that is there is replaced as a whole, once the new one has run the model.

    Raises:
        ConfigError: The folder holds something else, cannot be written, or the copy does not run.
    """
    hidden = tuple(hidden)
    check_place(place)
    fresh = place.with_name(f"{place.name}.new")
    before = place.with_name(f"{place.name}.before")
    try:
        for left in (fresh, before):
            if left.exists():
                remove_environment(left)
        _fill(installation, fresh, place, hidden)
        if place.exists():
            place.rename(before)
        fresh.rename(place)
        fault = _fault_of(place, hidden)
        if fault is not None:
            place.rename(fresh)
            remove_environment(fresh)
            if before.exists():
                before.rename(place)
            raise ConfigError(
                f"the copy of {installation.prefix} does not run as a service: {fault}; make "
                f"one with the system's Python: /usr/bin/python3 -m venv /opt/edge_sim && "
                f"/opt/edge_sim/bin/pip install 'edge_sim[web]', and install the service from it"
            )
        remove_environment(before)
    except (OSError, shutil.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{place}: cannot copy the environment ({reason})") from error
    return place / "bin" / "edge-sim"


def _fill(installation: Installation, fresh: Path, place: Path, hidden: tuple[str, ...]) -> None:
    (fresh / "bin").mkdir(parents=True)
    (fresh / _MARK).write_text(_MARK_TEXT, encoding="utf-8")
    base, home = installation.base, installation.base
    program = f"python{installation.version}"
    of_system = Path("/usr/bin", program)
    if hidden_part(base, hidden) is not None and of_system.is_file():
        home = of_system.parent.parent
    elif hidden_part(base, hidden) is not None:
        shutil.copytree(base, fresh / "python", symlinks=True, ignore=_SKIPPED)
        home = place / "python"
    shares = "true" if installation.system_site else "false"
    (fresh / "pyvenv.cfg").write_text(
        f"home = {home / 'bin'}\ninclude-system-site-packages = {shares}\n", encoding="utf-8"
    )
    (fresh / "bin" / "python").symlink_to(home / "bin" / program)
    site = fresh / "lib" / program / "site-packages"
    site.mkdir(parents=True)
    for folder in reversed(installation.site):  # what is searched first wins
        is_of_base = base in folder.parents
        if not is_of_base and hidden_part(folder, hidden) is not None:
            shutil.copytree(folder, site, symlinks=False, ignore=_SKIPPED, dirs_exist_ok=True)
    if not (site / "edge_sim").is_dir():
        _copy_package(installation.package, site / "edge_sim")
    script = fresh / "bin" / "edge-sim"
    script.write_text(_SCRIPT.format(python=place / "bin" / "python"), encoding="utf-8")
    for each in (fresh, *fresh.rglob("*")):  # whatever the mask of the one who installs
        if not each.is_symlink():
            each.chmod(each.stat().st_mode & 0o755 | (0o755 if each.is_dir() else 0o444))
    script.chmod(0o755)


def _copy_package(package: Path, target: Path) -> None:
    """Copy a package of a checkout, whose model and configurations lie beside it."""
    shutil.copytree(package, target, ignore=_SKIPPED)
    for folder in (default_model_path().parent, config_path("default.yaml").parent):
        shutil.copytree(folder, target / folder.name, ignore=_SKIPPED, dirs_exist_ok=True)


def _fault_of(place: Path, hidden: tuple[str, ...]) -> str | None:
    """Return why an environment would not run in the sandbox; None if it does."""
    try:
        done = subprocess.run(
            [place / "bin" / "python", "-I", "-c", _TRIAL],
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode != 0:
        return (done.stderr.strip() or "no output").splitlines()[-1]
    for name in done.stdout.splitlines():
        path = Path(name)
        if path.is_file() and (place not in path.parents) and hidden_part(path, hidden):
            return f"it loads {path}, which the service cannot read"
    return None


# A Python that was built for its place loads its library from there, wherever it is copied to.
_TRIAL = """\
import pathlib
import edge_sim
edge_sim.open_embedder()
maps = pathlib.Path("/proc/self/maps").read_text().splitlines()
print(*sorted({line[line.index("/"):] for line in maps if "/" in line}), sep="\\n")
"""
_SCRIPT = """\
#!{python} -I
import sys

from edge_sim.__main__ import main

sys.exit(main())
"""
