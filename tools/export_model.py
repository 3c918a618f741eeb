"""Turn a training checkpoint into models/: the int8 file, its card and the golden vectors.

    python tools/export_model.py --run RUN --side 160 [--legacy-python PATH]

The data is found under EDGE_SIM_DATA (default ../shared). Every number of the card is measured
here.
--legacy-python names the interpreter of an environment with tflite-runtime, to compare with it.
"""

import argparse
import datetime
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

EXIT_OK, EXIT_USAGE, EXIT_PARITY = 0, 2, 3
NAME = "edge_sim_small"
OFFICIAL = "v3-small_224_1.0_uint8.tflite"
REPOSITORY = Path(__file__).resolve().parents[1]
MIN_PARITY = 0.99
GOLDEN_TOLERANCE = 0.02  # of the cosine distance between runtimes; they round differently


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder with checkpoint.pt")
    parser.add_argument("--side", type=int, default=128, help="input side, a multiple of 32")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "models")
    parser.add_argument(
        "--golden", type=Path, default=REPOSITORY / "tests" / "golden" / "embedder.npz"
    )
    parser.add_argument("--legacy-python", type=Path, help="python with tflite-runtime")
    parser.add_argument("--note", default="", help="a line for the card")
    return parser.parse_args(arguments)


def check_runtimes(
    model: Path, pictures: Any, root: Path, legacy: Path | None
) -> list[dict[str, Any]]:
    """Return the numbers of this runtime and, where given, of the legacy one."""
    import numpy as np
    from embedder_training import convert, runtime_check

    official = root / "models" / OFFICIAL
    others = [official] if official.is_file() else []
    reports = [runtime_check.report(model, others)]
    if legacy is None:
        return reports
    with tempfile.TemporaryDirectory() as folder:
        shown, out = Path(folder) / "pictures.npy", Path(folder) / "out.npz"
        np.save(shown, pictures)
        command = [legacy, Path(runtime_check.__file__), model, shown, out, *others]
        done = subprocess.run(
            [str(part) for part in command], check=True, capture_output=True, text=True
        )
        found = json.loads(done.stdout.strip().splitlines()[-1])
        here, there = runtime_check.Embedder(model)(pictures), np.load(out)
        found["cosine_to_first"] = {
            "pictures": len(pictures),
            "global": convert.cosines(here[0], there["global"]),
            "spatial": convert.cosines(here[1], there["spatial"]),
        }
    return [*reports, found]


def check_quality(model: Path, root: Path) -> dict[str, Any]:
    """Return the probes of the int8 file on the evaluation sets that are there."""
    from embedder_training import probe, runtime_check

    embed = runtime_check.Embedder(model)
    folder = root / "data"
    tars = [folder / "retrieval" / f"{name}.tar" for name in ("grocery", "corel")]
    found = [probe.load_retrieval(path, embed.side) for path in tars if path.is_file()]
    states = probe.load_states(folder / "states", embed.side)
    return {
        "retrieval_map_centred": probe.retrieval_report(found, embed),
        "states_balanced_accuracy": probe.states_report(states, embed) if states else {},
    }


def describe(
    model: Path, side: int, checkpoint: dict[str, Any], photos: list[Any]
) -> dict[str, Any]:
    """Return the card without its measured parts."""
    from embedder_training import descriptor, runtime_check, teachers

    embed = runtime_check.Embedder(model)
    scale, zero = embed.input["quantization"]
    outputs = {
        name: {
            "name": str(detail["name"]),
            "shape": [int(n) for n in detail["shape"]],
            "dtype": "int8",
            "scale": float(detail["quantization"][0]),
            "zero_point": int(detail["quantization"][1]),
        }
        for name, detail in (("global", embed.global_output), ("spatial", embed.spatial_output))
    }
    plan = checkpoint["plan"]
    return {
        "schema": 1,
        "name": NAME,
        "file": model.name,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "bytes": model.stat().st_size,
        "license": "Apache-2.0",
        "input": {
            "name": str(embed.input["name"]),
            "size": side,
            "dtype": "uint8",
            "order": "RGB",
            "scale": float(scale),
            "zero_point": int(zero),
        },
        "outputs": outputs,
        "preprocessing": "crop, squash to a square, RGB, uint8 as it is",
        "architecture": {
            "family": "MobileNetV3-Small, minimalistic (ReLU, 3x3, no squeeze-excite)",
            **checkpoint["shape"],
            "global": "the student's embedding (mean of the last map, hidden ReLU layer, linear) "
            "joined with the means of earlier maps, whitened in part, PCA-256",
            "global_parts": descriptor.GLOBAL_PARTS,
            "spatial": "the student's 4x4 cells (last map joined with the stride-16 map) joined "
            "with the stride-8 map, whitened in part, PCA-64",
            "spatial_parts": descriptor.SPATIAL_PARTS,
        },
        "training": {
            "data": sorted({photo.name.split("/")[0] for photo in photos}),
            "pictures": len(photos),
            "samples": checkpoint["seen"],
            "steps": checkpoint["step"],
            "seed": plan["seed"],
            "schedule": f"warm up, stay, decay over the last {checkpoint['decay_samples']} "
            f"samples; sides {plan['sides']}",
            "optimizer": f"orthogonalised momentum {plan['matrix_rate']} on 1x1 convolutions, "
            f"AdamW {plan['rate']} on the rest, batch "
            f"{plan['batch'] * plan['workers']}",
            "teachers": list(teachers.TEACHER_MAPS),
            "minutes": round(checkpoint["minutes"]),
            "command": checkpoint["command"],
            "curve": checkpoint["points"],
            "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        },
    }


def write_golden(model: Path, path: Path) -> None:
    """Write the outputs for the golden picture."""
    import numpy as np
    from embedder_training import golden, runtime_check

    embed = runtime_check.Embedder(model)
    picture = golden.golden_picture(embed.side)
    first, second = embed(picture[None])
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    np.savez_compressed(
        path,
        picture=picture,
        tolerance=np.float32(GOLDEN_TOLERANCE),
        sha256=np.array(digest),
        **{"global": first[0], "spatial": second[0]},
    )


def export(options: argparse.Namespace) -> dict[str, Any]:
    """Write model, card and golden vectors; return the card."""
    import torch
    from embedder_training import convert, descriptor, equalise, pack
    from embedder_training.network import load_student

    source = options.run / "checkpoint.pt"
    if not source.is_file():
        raise pack.PackError(f"no checkpoint at {source}")
    root = pack.data_root()
    photos = pack.read_photos(root / "data" / "train")
    checkpoint = torch.load(source, map_location="cpu", weights_only=True)
    shown = convert.pick_photos(
        photos, options.side, unseen=False, count=convert.CALIBRATION_PHOTOS
    )
    options.out.mkdir(parents=True, exist_ok=True)
    model = options.out / f"{NAME}.tflite"
    fitting = convert.pick_photos(photos, options.side, unseen=False, count=convert.FIT_PHOTOS)
    student = load_student(checkpoint)
    equalise.equalise(student, shown)
    described = descriptor.describe(student, fitting)
    model.write_bytes(convert.convert(described, shown))
    unseen = convert.pick_photos(photos, options.side, unseen=True, count=convert.PARITY_PHOTOS)
    card = describe(model, options.side, checkpoint, photos)
    command = f"python tools/export_model.py --run RUN --side {options.side}"
    card["quality"] = {
        "command": command,
        "note": options.note,
        **check_quality(model, root),
        "parity": convert.parity(described, model, unseen),
    }
    runtimes = check_runtimes(model, unseen[:40], root, options.legacy_python)
    card["runtime"] = {
        "command": command,
        "xnnpack_partitions": runtimes[0]["models"][0]["partitions"],
        "latency_ratios": {row["runtime"]: row["latency_ratio"].get(OFFICIAL) for row in runtimes},
        "runs": runtimes,
    }
    (options.out / f"{NAME}.json").write_text(json.dumps(card, indent=2) + "\n")
    write_golden(model, options.golden)
    return card


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code."""
    options = parse(arguments)
    try:
        from embedder_training.pack import PackError

        card = export(options)
    except ModuleNotFoundError as error:
        print(
            f"export_model: {error.name} is not installed; install the extra 'train'",
            file=sys.stderr,
        )
        return EXIT_USAGE
    except PackError as error:
        print(f"export_model: {error}", file=sys.stderr)
        return EXIT_USAGE
    print(json.dumps({key: card[key] for key in ("quality", "runtime")}, indent=1))
    found = card["quality"]["parity"]["float_int8"]
    if min(found["global"]["mean"], found["spatial"]["mean"]) < MIN_PARITY:
        print(f"export_model: int8 loses too much, cosine below {MIN_PARITY}", file=sys.stderr)
        return EXIT_PARITY
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
