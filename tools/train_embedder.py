"""Train the default embedder from random weights, taught by two public classifiers.

    python tools/train_embedder.py --work WORK --run RUN --workers 2

WORK keeps what can be reused (views, targets), RUN the checkpoint and the curves. The data is found
under EDGE_SIM_DATA (default ../shared). Started again, a run continues; with a smaller --samples
its learning rate starts to fall at once. With --start MODEL a new run begins with the weights of a
model that export_model.py wrote, where its checkpoint was not kept.
"""

import argparse
import sys
from pathlib import Path

EXIT_OK, EXIT_USAGE = 0, 2


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for views and targets")
    parser.add_argument("--run", type=Path, required=True, help="folder for this run")
    parser.add_argument("--samples", type=int, default=1_350_000, help="pictures to see in all")
    parser.add_argument("--views", type=int, default=2, help="crops per photo, the whole one first")
    parser.add_argument("--batch", type=int, default=64, help="pictures per worker and step")
    parser.add_argument("--workers", type=int, default=1, help="processes of one step (CPU)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--sides", default="0:96,750000:128", help="input sides by samples seen, multiples of 32"
    )
    parser.add_argument("--rate", type=float, default=2.5e-3, help="AdamW's peak rate")
    parser.add_argument(
        "--matrix-rate",
        type=float,
        default=0.02,
        help="peak rate of orthogonalised momentum; 0 leaves all to AdamW",
    )
    parser.add_argument("--start", type=Path, help="exported model of ours to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure-every", type=int, default=150_000, metavar="SAMPLES")
    parser.add_argument("--min-photos", type=int, default=None, help="refuse below this many")
    parser.add_argument(
        "--ready-views-only",
        action="store_true",
        help="make no views, use the finished ones of WORK (others may be added)",
    )
    return parser.parse_args(arguments)


def parse_sides(text: str) -> tuple[tuple[int, int], ...]:
    """Return ((samples, side), ...) from '0:96,750000:128'.

    Raises:
        ValueError: not of that form, not from 0 on, or a side is no multiple of 32.
    """
    pairs = [part.split(":") for part in text.split(",")]
    sides = tuple(sorted((int(start), int(side)) for start, side in pairs))
    if sides[0][0] != 0 or any(side % 32 or side < 64 for _, side in sides):
        raise ValueError(f"--sides {text}: must start at 0, sides are multiples of 32 from 64")
    return sides


def command_of(options: argparse.Namespace) -> str:
    """Return the command for the card, without this machine's folders."""
    named = (
        "samples",
        "views",
        "batch",
        "workers",
        "device",
        "sides",
        "rate",
        "matrix_rate",
        "seed",
    )
    values = " ".join(f"--{name.replace('_', '-')} {getattr(options, name)}" for name in named)
    start = "" if options.start is None else f" --start {options.start.name}"
    return f"python tools/train_embedder.py --work WORK --run RUN {values}{start}"


def make_views(options: argparse.Namespace, root: Path) -> None:
    """Make the views and targets that are missing in the work folder."""
    from embedder_training import pack, teachers

    found = teachers.find_teachers(root / "models")
    enough = pack.MIN_PHOTOS if options.min_photos is None else options.min_photos
    photos = pack.read_photos(root / "data" / "train", enough)
    from embedder_training import targets

    targets.prepare(
        photos,
        found,
        options.work,
        views=options.views,
        seed=options.seed,
        processes=max(1, options.workers),
    )


def run(options: argparse.Namespace) -> None:
    """Prepare what is missing and train."""
    from embedder_training import pack

    root = pack.data_root()
    sides = parse_sides(options.sides)
    if not options.ready_views_only:
        make_views(options, root)
    elif not list(options.work.glob("view*.done")):
        raise pack.PackError(f"no finished view in {options.work}")
    from embedder_training.trainer import Plan, begin_from, train

    plan = Plan(
        options.work,
        options.run,
        root / "data",
        options.samples,
        batch=options.batch,
        workers=options.workers,
        device=options.device,
        sides=sides,
        seed=options.seed,
        rate=options.rate,
        matrix_rate=options.matrix_rate,
        measure_every=options.measure_every,
        command=command_of(options),
    )
    if options.start is not None:
        begin_from(options.start, plan)
    train(plan)


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code."""
    options = parse(arguments)
    try:
        from embedder_training.pack import PackError

        run(options)
    except ModuleNotFoundError as error:
        print(
            f"train_embedder: {error.name} is not installed; install the extra 'train'",
            file=sys.stderr,
        )
        return EXIT_USAGE
    except (PackError, ValueError) as error:
        print(f"train_embedder: {error}", file=sys.stderr)
        return EXIT_USAGE
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
