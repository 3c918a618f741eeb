"""`edge-sim check`: try a configuration without running it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.output import print_json, print_table

if TYPE_CHECKING:
    from edge_sim.runtime.checks import Finding
    from edge_sim.runtime.config import Config


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "check",
        help="try configuration, model, gallery, sources and sinks without running",
        description="Read the configuration, load the model, open the gallery, take one frame "
        "from every source and cut every region, log in at every broker, ask every web address, "
        "look at the packs that are offered, and see that files can be written; no event is sent. "
        "Exit code 0 if all is well, 78 if the configuration is wrong, 1 otherwise.",
    )
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--offline", action="store_true", help="leave out sinks and packs that need the network"
    )
    parser.add_argument(
        "--masks",
        type=Path,
        metavar="DIR",
        help="write one picture per watch with a mask: its region, red where it does not count",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=_check)


def _check(args: argparse.Namespace) -> int:
    from edge_sim.cli.options import load
    from edge_sim.runtime.checks import CheckReport, device_findings, sink_findings

    config = load(args.config)
    findings = (
        *device_findings(config, masks=args.masks),
        *_web_findings(config),
        *_update_findings(config, offline=args.offline),
        *sink_findings(config, offline=args.offline),
    )
    report = CheckReport(str(args.config), all(item.ok for item in findings), findings)
    if args.json:
        print_json(report)
    else:
        rows = [("ok" if item.ok else "FAIL", item.part, item.detail) for item in findings]
        print_table(["", "part", "detail"], rows)
        for item in findings:
            _print_coverage(item)
    return 0 if report.ok else 1


def _update_findings(config: Config, *, offline: bool) -> Iterator[Finding]:
    from edge_sim.runtime.checks import Finding, tried

    uri = config.updates.uri
    if uri is None:
        return
    if offline and uri.startswith(("http://", "https://")):
        yield Finding("updates", True, "not tried (--offline)")
        return
    yield tried("updates", partial(_updates_text, config))


def _updates_text(config: Config) -> str:
    """Return what is offered; raise `PackError` if a daemon would reject it."""
    from edge_sim.fleet.updater import offer_text

    return offer_text(config)


def _web_findings(config: Config) -> Iterator[Finding]:
    from edge_sim.runtime.checks import tried

    if config.web.address is not None:
        yield tried("web", partial(_web_text, config))


def _web_text(config: Config) -> str:
    """Return where the page is and who may see it; raise `ConfigError` if it cannot start."""
    from edge_sim.cli.daemon import web_server_module

    server = web_server_module()
    server.check_reach(config)
    encrypted = server.tls_context(config) is not None
    from edge_sim.web.accounts import Accounts, accounts_path

    number = len(Accounts(accounts_path(config)).roles)
    accounts = f"{number} account{'' if number == 1 else 's'}"
    scheme = "https" if encrypted else "http"
    return f"{scheme}://{config.web.listen}/, {accounts if number else 'no account'}"


def _print_coverage(item: Finding) -> None:
    """Print which lights the references of a watch cover, where there are several."""
    rows = [(state, *lights.values()) for state, lights in (item.coverage or {}).items()]
    if rows and len(rows[0]) > 2:
        (first, *_) = (item.coverage or {}).values()
        print()
        print_table([item.part, *first], rows)
