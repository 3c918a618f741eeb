"""Other embedding models and runtimes."""

from __future__ import annotations

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
    """MediaPipe's ImageEmbedder: on the official model, which it takes without metadata."""
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageEmbedder, ImageEmbedderOptions

    model = getattr(workbench.embedder, "model", None)
    if model is None:
        raise FileNotFoundError("needs a model file of ours")
    options = ImageEmbedderOptions(
        base_options=BaseOptions(model_asset_path=str(model.path)), l2_normalize=True
    )
    embedder = ImageEmbedder.create_from_options(options)
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)

    def run() -> object:
        return embedder.embed(Image(image_format=ImageFormat.SRGB, data=pixels))

    run()
    return Peer(
        {"mediapipe embed": run},
        (
            Comparison(
                "embed one picture / MediaPipe, same model", "embed", "mediapipe embed", 0.55
            ),
        ),
    )
