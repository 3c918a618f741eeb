"""Put a site or a fleet under load on this machine, and check that nothing is lost.

    python tools/soak_fleet.py site --devices 1000 --rate 20 --minutes 10 --out site
    python tools/soak_fleet.py rollout --devices 200 --out rollout

`site`: devices on one real mosquitto over TLS, each with its certificate, report to two collectors
and a PostgreSQL; one of them is killed now and then and started again. Every event must be stored
once. `rollout`: devices take a pack in stages; one that fails on too many is stopped. Both write a
report; the exit code is 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]


def _site(args: argparse.Namespace) -> bool:
    from soaking import site

    report = site.run(
        args.out,
        devices=args.devices,
        rate=args.rate,
        minutes=args.minutes,
        every_s=args.kill_every,
        seed=args.seed,
    )
    print(json.dumps(report, indent=1))
    return not (report["lost"] or report["twice"] or report["unknown"])


def _rollout(args: argparse.Namespace) -> bool:
    from soaking import rollout

    report = rollout.run(args.out, devices=args.devices)
    print(json.dumps(report, indent=1))
    return not report["problems"]


def main() -> int:
    """Run what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    trials = parser.add_subparsers(required=True)
    site = trials.add_parser("site", help="events of many devices through kills")
    site.add_argument("--rate", type=float, default=20.0, help="events a second, of all devices")
    site.add_argument("--minutes", type=float, default=10.0)
    site.add_argument("--kill-every", type=float, default=20.0, help="seconds, on average; 0 none")
    site.add_argument("--seed", type=int, default=1)
    site.set_defaults(trial=_site, devices=1000)
    rollout = trials.add_parser("rollout", help="a pack in stages")
    rollout.set_defaults(trial=_rollout, devices=200)
    for each in (site, rollout):
        each.add_argument("--devices", type=int, default=each.get_default("devices"))
        each.add_argument("--out", type=Path, required=True, help="folder, new")
    args = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    return 0 if args.trial(args) else 1


if __name__ == "__main__":
    raise SystemExit(main())
