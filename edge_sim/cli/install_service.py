"""`edge-sim install-service`: from an installation to a running service of systemd, and back."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.output import note, say
from edge_sim.core.files import exists
from edge_sim.errors import ConfigError

if TYPE_CHECKING:
    from edge_sim.runtime.service_environment import Installation
    from edge_sim.runtime.service_files import ServiceConfig
    from edge_sim.runtime.systemd import UnitPlan

ETC = Path("/etc/edge_sim")
STATE = Path("/var/lib/edge_sim")
SECRETS = ETC / "secrets.env"
_UNITS = Path("/etc/systemd/system")
_USER_FILE = Path("/etc/sysusers.d/edge_sim.conf")
_START_S = 15.0
DEFAULT_USER = "edge_sim"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "install-service",
        help="install the daemon as a service of systemd, and start it",
        description="Make a system user, the folders /etc/edge_sim and /var/lib/edge_sim and the "
        "unit, start the service and show its state. An installation in a home folder, which the "
        "sandbox of the service cannot read, is copied. With --from a configuration is copied "
        "with its gallery, masks and model; without it and where there is none, one that serves "
        "the page is made. No configuration or gallery is ever written over. Repeat it after an "
        "upgrade.",
    )
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help="configuration to copy"
    )
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE",
        help=f"configuration of the service ({STATE}/config.yaml, which the page can change; "
        f"{ETC}/config.yaml if that exists)",
    )  # fmt: skip
    parser.add_argument(
        "--user", default=DEFAULT_USER, help=f"user of the service ({DEFAULT_USER})"
    )
    parser.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="/dev/...",
        help="another device that it may use; /dev/video* is always allowed",
    )
    parser.add_argument("--program", type=Path, metavar="FILE", help="edge-sim program to run")
    parser.add_argument("--no-start", action="store_true", help="install it, and start nothing")
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="write below DIR, as for an image of a system; nothing is run or copied",
    )
    parser.add_argument(
        "--uninstall",
        action="store_true",
        help="stop and remove the service; configuration, gallery and events stay",
    )
    parser.add_argument(
        "--purge", action="store_true", help="with --uninstall: delete these and the user, too"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be done")
    parser.set_defaults(handler=_install_or_remove, usage_error=parser.error)


@dataclass(frozen=True, slots=True)
class InstallationStep:
    """One step of the installation.

    Args:
        text: Imperative sentence, printed before it is done.
        apply: Function that does it.
        detail: Content that a dry run prints as well.
    """

    text: str
    apply: Callable[[], object]
    detail: str = ""


def _install_or_remove(args: argparse.Namespace) -> int:
    if args.purge and not args.uninstall:
        args.usage_error("--purge goes with --uninstall")
    if args.uninstall and args.source is not None:
        args.usage_error("--uninstall takes no --from")
    is_here = args.root == Path("/")
    steps = list(_removal(args) if args.uninstall else _installation(args))
    if is_here and not args.dry_run and os.geteuid() != 0:
        line = shlex.join([os.path.abspath(sys.argv[0]), *sys.argv[1:]])  # noqa: PTH100 - a link stays
        raise ConfigError(f"install-service changes the system and needs root: sudo {line}")
    for step in steps:
        if args.dry_run:
            say(f"would {step.text}")
            if step.detail:
                print(step.detail)
            continue
        say(step.text)
        try:
            step.apply()
        except OSError as error:
            place = f"{error.filename}: " if isinstance(error.filename, str) else ""
            raise ConfigError(f"{place}cannot {step.text} ({error.strerror or error})") from error
    if args.uninstall or args.dry_run:
        return 0
    return _finish(args, is_here=is_here)


def _installation(args: argparse.Namespace) -> Iterator[InstallationStep]:
    from edge_sim.runtime.systemd import UNIT_NAME, UnitPlan, unit_text, user_text

    is_here = args.root == Path("/")
    target = args.config or _default_config(args.root)
    copied = None if args.source is None else _service_config(args.source, target)
    program, environment = _program(args, is_here=is_here)
    plan = UnitPlan(program, target, args.user, tuple(args.device))
    if copied is None and is_here and not exists(target):
        _check_page()
    if environment is not None:
        yield from _environment_steps(environment)
    yield _write(args.root, _USER_FILE, user_text(plan))
    if is_here:
        yield InstallationStep(f"make the user {plan.user}", lambda: _make_user(plan.user))
    for folder, mode in ((ETC, 0o755), (STATE, 0o750)):
        yield InstallationStep(
            f"make the folder {_below(args.root, folder)}", _folder(args, folder, mode)
        )
    if not exists(_below(args.root, SECRETS)):
        yield _write(args.root, SECRETS, SECRETS_TEXT, mode=0o600)
    yield from _config_steps(args, plan, copied)
    yield _write(args.root, _UNITS / UNIT_NAME, unit_text(plan))
    if is_here and _has_systemd():
        yield InstallationStep("read the units again", lambda: _run("systemctl", "daemon-reload"))
        if not args.no_start:
            yield InstallationStep("start it now and at every boot", _start)


def _default_config(root: Path) -> Path:
    earlier = ETC / "config.yaml"
    return earlier if exists(_below(root, earlier)) else STATE / "config.yaml"


def _service_config(source: Path, target: Path) -> ServiceConfig:
    from edge_sim.runtime.service_files import read_service_config

    found = read_service_config(source)
    if target.parent != STATE and any(file.key == "gallery.path" for file in found.files):
        raise ConfigError(
            f"{target}: the service writes below {STATE} only, and the gallery of {source} lies "
            f"beside its configuration; leave out -c"
        )
    return found


def _program(args: argparse.Namespace, *, is_here: bool) -> tuple[Path, Installation | None]:
    """Return the program of the unit, and the installation to copy for it, if one is."""
    from edge_sim.runtime.service_environment import PLACE, Installation, hidden_part

    if args.program is not None:
        hiding = hidden_part(args.program.absolute()) if is_here else None
        if hiding is not None:
            raise ConfigError(
                f"--program {args.program}: the service cannot read it, because {hiding} is "
                f"hidden from it; leave out --program, and this installation is copied"
            )
        return args.program, None
    here = Path(sys.argv[0]).resolve()
    if not is_here:
        raise ConfigError("--root needs --program FILE: the path of edge-sim in that system")
    installation = Installation.of_this_process()
    hidden = installation.hidden_from_service()
    if hidden is None and here.name == "edge-sim":
        return here, None
    if hidden is not None:
        note(f"{hidden} lies in a folder that the service cannot read, as home folders are")
    kind = "this clone" if installation.is_checkout else "this installation"
    note(f"{kind} is copied to {PLACE}; repeat install-service after each change of it")
    return PLACE / "bin" / "edge-sim", installation


def _check_page() -> None:
    """Check that the page is there, on which the watches of a new device are made."""
    from edge_sim.cli.daemon import web_server_module

    try:
        web_server_module()
    except ConfigError as error:
        raise ConfigError(f"{error}; or name a configuration with --from FILE") from error


def _environment_steps(installation: Installation) -> Iterator[InstallationStep]:
    from edge_sim.runtime.service_environment import PLACE, check_place, copy_environment

    check_place(PLACE)
    yield InstallationStep(
        f"copy {installation.prefix} to {PLACE}", lambda: copy_environment(installation, PLACE)
    )


def _config_steps(
    args: argparse.Namespace, plan: UnitPlan, copied: ServiceConfig | None
) -> Iterator[InstallationStep]:
    from edge_sim.runtime.service_files import copy_file

    target = _below(args.root, plan.config)
    if exists(target):
        if copied is not None:
            raise ConfigError(
                f"{target} is there already; move it away to take that of {copied.path}, or "
                f"leave out --from"
            )
        yield _keep(target)
        return
    text = CONFIG_TEXT if copied is None else copied.path.read_text(encoding="utf-8")
    yield _write(args.root, plan.config, text)
    for file in () if copied is None else copied.files:
        if exists(target.parent / file.text):
            yield _keep(target.parent / file.text)
            continue
        yield InstallationStep(
            f"copy {file.path} to {target.parent / file.text}",
            partial(copy_file, file, target.parent),
        )
    if args.root == Path("/") and plan.config.parent == STATE:
        yield InstallationStep(f"give {STATE} to {plan.user}", lambda: _give(STATE, plan.user))


def _keep(path: Path, hint: str = "") -> InstallationStep:
    return InstallationStep(f"keep {path}{hint}", lambda: None)


def _write(root: Path, path: Path, text: str, *, mode: int = 0o644) -> InstallationStep:
    target = _below(root, path)
    return InstallationStep(f"write {target}", lambda: _put(target, text, mode), text)


def _put(target: Path, text: str, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new")
    # The folder may belong to the service: root neither follows nor keeps what lies there.
    fresh.unlink(missing_ok=True)
    with fresh.open("x", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(text)
    fresh.replace(target)


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/") if path.is_absolute() else path


def _folder(args: argparse.Namespace, folder: Path, mode: int) -> Callable[[], None]:
    def make() -> None:
        place = _below(args.root, folder)
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(mode)
        if folder == STATE and args.root == Path("/"):
            shutil.chown(place, args.user, args.user)

    return make


def _give(folder: Path, user: str) -> None:
    import pwd

    owner = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def _make_user(user: str) -> None:
    """Make the system user, where there is none."""
    import pwd

    try:
        pwd.getpwnam(user)
    except KeyError:
        if shutil.which("systemd-sysusers"):
            _run("systemd-sysusers", str(_USER_FILE))
        else:
            _run("useradd", "--system", "--home-dir", str(STATE), "--shell", "/bin/false", user)


def _own_program() -> str:
    """Return the path of edge-sim as it was called, or its name."""
    return str(Path(sys.argv[0]).absolute()) if exists(Path(sys.argv[0])) else "edge-sim"


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def _start() -> None:
    _run("systemctl", "enable", "--quiet", "edge_sim.service")
    # Not waiting: it is ready only after the first good picture of a camera.
    _run("systemctl", "restart", "--no-block", "edge_sim.service")


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{command[0]}: {getattr(error, 'strerror', None) or error}") from error
    if done.returncode != 0:
        raise ConfigError(
            f"`{shlex.join(command)}` failed: {(done.stderr or done.stdout).strip() or 'no output'}"
        )
    return done.stdout.strip()


def _finish(args: argparse.Namespace, *, is_here: bool) -> int:
    """Show the state of the service and what is left to do; return the exit code."""
    state = ""
    if not is_here:
        note("written; nothing was started in this system")
    elif not _has_systemd():
        note("systemd does not run here: everything is written, nothing was started")
    elif not args.no_start:
        state = _state_of_service()
        say(state)
    target = args.config or _default_config(args.root)
    if args.source is not None:
        from edge_sim.runtime.service_files import read_service_config

        if names := read_service_config(args.source).variables:
            note(f"write {', '.join(f'{name}=...' for name in names)} into {SECRETS}")
    if is_here and (page := _page_of(target)):
        note(f"the page, where watches are made: {page}")
        # By its path: `sudo` does not find a program of a virtual environment.
        passwd = f"sudo {_own_program()} web passwd NAME -c {target} --state-dir {STATE}"
        note(f"an account for it: {passwd}")
    note(f"after a change of {target}: sudo systemctl reload edge_sim")
    note("the log: journalctl -u edge_sim -f")
    return 1 if state.startswith("failed") else 0


def _page_of(path: Path) -> str | None:
    from edge_sim.cli.setup import page_of
    from edge_sim.runtime.service_files import read_service_config

    config = read_service_config(path).config
    return f"{page_of(config)}#/new" if config.is_served else None


def _state_of_service() -> str:
    """Return the state of the service with its status line, once it is not starting any more."""
    until_s = time.monotonic() + _START_S
    while True:
        shown = _run("systemctl", "show", "-P", "ActiveState", "-P", "StatusText", "edge_sim")
        state, _, status = shown.partition("\n")
        if state in ("active", "failed") or time.monotonic() > until_s:
            hint = "" if state == "active" else "; see: journalctl -u edge_sim -e"
            return f"{state}: {status.strip() or 'no status yet'}{hint}"
        time.sleep(0.5)


def _removal(args: argparse.Namespace) -> Iterator[InstallationStep]:
    from edge_sim.runtime.service_environment import PLACE, remove_environment
    from edge_sim.runtime.systemd import UNIT_NAME

    is_here = args.root == Path("/")
    unit = _below(args.root, _UNITS / UNIT_NAME)
    if exists(unit):
        if is_here and _has_systemd():
            yield InstallationStep(
                "stop it", lambda: _run("systemctl", "disable", "--now", "--quiet", UNIT_NAME)
            )
        yield InstallationStep(f"delete {unit}", unit.unlink)
    else:
        note(f"no service is installed: {unit} is not there")
    if is_here and _has_systemd():
        yield InstallationStep("read the units again", lambda: _run("systemctl", "daemon-reload"))
    if exists(user_file := _below(args.root, _USER_FILE)):
        yield InstallationStep(f"delete {user_file}", user_file.unlink)
    if is_here and exists(PLACE):
        yield InstallationStep(f"delete {PLACE}", lambda: remove_environment(PLACE))
    folders = [_below(args.root, folder) for folder in (ETC, STATE)]
    for folder in filter(exists, folders):
        if args.purge:
            yield InstallationStep(f"delete {folder}", partial(shutil.rmtree, folder))
        else:
            yield _keep(folder, ", which --purge deletes")
    if args.purge and is_here and args.user == DEFAULT_USER:
        yield InstallationStep(f"delete the user {args.user}", lambda: _delete_user(args.user))


def _delete_user(user: str) -> None:
    import pwd

    with suppress(KeyError):
        pwd.getpwnam(user)
        _run("userdel", user)


CONFIG_TEXT = """\
# edge_sim as a service. The page adds watches here, and keeps your comments; every key with its
# default is in default.yaml of edge_sim.
# Passwords: write NAME=value into /etc/edge_sim/secrets.env (mode 600) and use ${NAME} here.

gallery:
  path: /var/lib/edge_sim/gallery.db

# Standard output of a service is the journal.
sinks:
  - kind: stdout

# Only this machine reaches the page. For others: `listen: 0.0.0.0:9713` and an account.
web:
  listen: 127.0.0.1:9713
"""

SECRETS_TEXT = "# Passwords of cameras and brokers for edge_sim, NAME=value a line.\n"
