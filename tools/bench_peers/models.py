"""Other embedding models and runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench_peers import Peer, Workbench
from edge_sim.benchmark import Comparison
from edge_sim.embedders import open_embedder


def official(workbench: Workbench) -> Peer:
    """Google's own quantized MobileNetV3-Small, bare invoke on the same runtime."""
    if workbench.official is None:
        raise FileNotFoundError("give its path with --official")
    embedder = open_embedder(workbench.official)
    invoke = embedder.interpreter.invoke  # type: ignore[attr-defined]
    return Peer(
        {"official invoke": invoke},
        (
            Comparison("our invoke / official invoke", "invoke", "official invoke", 0.25),
            Comparison("embed one picture / official invoke", "embed", "official invoke", 0.3),
        ),
    )


def mediapipe(workbench: Workbench) -> Peer:
    """MediaPipe's ImageEmbedder, beside ours on the same model and the same 640x480 picture.

    It takes our model only if its outputs are uint8 or float32; else both take the official one.
    """
    from mediapipe import Image, ImageFormat

    model = getattr(workbench.embedder, "model", None)
    paths = [path for path in (getattr(model, "path", None), workbench.official) if path]
    embedder, path = _image_embedder(paths)
    own = workbench.embedder if path == getattr(model, "path", None) else open_embedder(path)
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    ours, theirs = f"embed, {path.stem}", f"mediapipe embed, {path.stem}"
    ratio = Comparison(f"embed / MediaPipe, both {path.stem}", ours, theirs, 0.55)
    return Peer(
        {
            ours: lambda: own.embed(pixels),
            theirs: lambda: embedder.embed(Image(image_format=ImageFormat.SRGB, data=pixels)),
        },
        (ratio,),
    )


def _image_embedder(paths: Sequence[Path]) -> tuple[Any, Path]:
    """Return MediaPipe's embedder on the first model that it takes, and which that is."""
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageEmbedder, ImageEmbedderOptions

    refused = "no model file"
    for path in paths:
        options = ImageEmbedderOptions(
            base_options=BaseOptions(model_asset_path=str(path)), l2_normalize=True
        )
        try:
            return ImageEmbedder.create_from_options(options), path
        except ValueError as error:
            refused = f"{path.name}: {error}"
    raise FileNotFoundError(f"MediaPipe takes none of the models ({refused})")


def imagededup(workbench: Workbench) -> Peer:  # noqa: ARG001
    """What imagededup does per picture: float MobileNetV3-Small at 224 px in PyTorch, pooled."""
    import torch
    from torchvision.models import mobilenet_v3_small

    torch.set_num_threads(1)
    # The time does not depend on the weights; imagededup's would have to be downloaded.
    network = mobilenet_v3_small(weights=None).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def run() -> object:
        small = cv2.resize(pixels, (224, 224), interpolation=cv2.INTER_LINEAR)
        with torch.inference_mode():
            planes = torch.from_numpy(small).permute(2, 0, 1).float() / 255.0
            features = network.features(((planes - mean) / deviation)[None])
            return network.avgpool(features).flatten()

    name = "float MobileNetV3-Small 224 px, PyTorch"
    return Peer({name: run}, (Comparison(f"embed one picture / {name}", "embed", name),))
