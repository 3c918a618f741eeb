"""`edge-sim web`: accounts of the page."""

from __future__ import annotations

import argparse
import sys
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.options import add_verb
from edge_sim.cli.output import note, print_json, print_table, say
from edge_sim.errors import ConfigError

if TYPE_CHECKING:
    from edge_sim.web.accounts import Accounts

ROLES = ("viewer", "operator", "admin")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "web",
        help="accounts of the page: add, change, list and remove them",
        description="Accounts of the people who may use the page of a device. Once there is one, "
        "everybody logs in, on the device itself too. A viewer sees states, pictures and history; "
        "an operator corrects and teaches; an admin changes the configuration.",
    )
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    passwd = verbs.add_parser(
        "passwd",
        help="add an account, or give it another password",
        description="Ask for a password twice, or read it from standard input, and keep its hash.",
    )
    passwd.add_argument("name", metavar="NAME", help="name of the account")
    passwd.add_argument(
        "--role", choices=ROLES, help="role (a new account is admin, an old one keeps its own)"
    )
    _add_place(passwd)
    passwd.set_defaults(handler=_passwd)
    users = add_verb(verbs, "users", _users, "list the accounts")
    _add_place(users)
    users.add_argument("--json", action="store_true", help="print the result as JSON")
    role = add_verb(verbs, "role", _role, "give an account another role")
    role.add_argument("name", metavar="NAME", help="name of the account")
    role.add_argument("role", choices=ROLES, metavar="ROLE", help="viewer, operator or admin")
    _add_place(role)
    remove = add_verb(verbs, "remove", _remove, "remove an account; its sessions end")
    remove.add_argument("name", metavar="NAME", help="name of the account")
    _add_place(remove)


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="as given to the daemon")


def _passwd(args: argparse.Namespace) -> int:
    from edge_sim.web.accounts import check_name, role_of

    accounts = _accounts(args)
    check_name(args.name)
    known = accounts.roles.get(args.name)
    role = role_of(args.role) if args.role else known or role_of("admin")
    accounts.put(args.name, _password(), role)
    say(f"{'changed' if known else 'added'} {args.name}, {role.name.lower()}")
    note(f"{accounts.path}: written; a running daemon knows it already")
    return 0


def _users(args: argparse.Namespace) -> int:
    accounts = _accounts(args)
    rows = [(name, role.name.lower()) for name, role in accounts.roles.items()]
    if args.json:
        print_json({"accounts": [{"name": name, "role": role} for name, role in rows]})
    elif rows:
        print_table(["account", "role"], [list(row) for row in rows])
    else:
        note(f"{accounts.path}: no account yet; make one with `edge-sim web passwd NAME`")
    return 0


def _role(args: argparse.Namespace) -> int:
    from edge_sim.web.accounts import role_of

    _accounts(args).change_role(args.name, role_of(args.role))
    say(f"changed {args.name}, {args.role}")
    return 0


def _remove(args: argparse.Namespace) -> int:
    _accounts(args).remove(args.name)
    say(f"removed {args.name}")
    return 0


def _accounts(args: argparse.Namespace) -> Accounts:
    from edge_sim.cli.daemon import configured
    from edge_sim.web.accounts import Accounts, accounts_path

    return Accounts(accounts_path(configured(args.config, args.state_dir)))


def _password() -> str:
    """Return the password that a person types twice, or the first line of standard input.

    Raises:
        ConfigError: The two differ, or there is no line.
    """
    if not sys.stdin.isatty():
        line = sys.stdin.readline(2000).rstrip("\r\n")
        if not line:
            raise ConfigError("no password on standard input: give one line")
        return line
    first = getpass("password: ")
    if first != getpass("again: "):
        raise ConfigError("the passwords differ; nothing was changed")
    return first
