"""Other embedding models and runtimes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench_peers import Peer, Workbench
from bench_peers.uint8_outputs import with_uint8_outputs
from edge_sim.analysis.benchmark import Case, SpeedRatio
from edge_sim.core.protocols import Embedder
from edge_sim.vision.embedders import open_embedder

OFFICIAL = "the official model"


def official(workbench: Workbench) -> Peer:
    """Google's own quantized MobileNetV3-Small, bare invoke on the same runtime."""
    if workbench.official is None:
        raise FileNotFoundError("give its path with --official")
    embedder = open_embedder(workbench.official, verified_only=False)
    invoke = embedder.interpreter.invoke  # type: ignore[attr-defined]
    return Peer(
        {"official invoke": invoke},
        (
            SpeedRatio("our invoke / official invoke", "invoke", "official invoke", 0.25),
            SpeedRatio("embed one picture / official invoke", "embed", "official invoke", 0.3),
        ),
    )


def mediapipe(workbench: Workbench) -> Peer:
    """MediaPipe's ImageEmbedder, beside ours on the same model and the same 640x480 picture.

    It takes no int8 outputs, so both get our model with uint8 ones. And both the official one.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    cases: dict[str, Case] = {}
    opened = ExitStack()  # left open, they complain when the interpreter ends
    ratios = []
    for name, data in _models(workbench):
        own, embedder = _opened(data, name), opened.enter_context(_image_embedder(data))
        ours, theirs = f"embed, {name}", f"mediapipe embed, {name}"
        cases[ours] = partial(own.embed, pixels)
        cases[theirs] = partial(_embed, embedder, pixels)
        goal = None if name == OFFICIAL else 0.55
        ratios.append(SpeedRatio(f"embed / MediaPipe, both {name}", ours, theirs, goal))
    return Peer(cases, tuple(ratios), opened.close)


def _models(workbench: Workbench) -> Iterator[tuple[str, bytes]]:
    model = getattr(workbench.embedder, "model", None)
    if model is not None:
        yield f"{model.path.stem} with uint8 outputs", with_uint8_outputs(model)
    if workbench.official is not None:
        yield OFFICIAL, workbench.official.read_bytes()


def _opened(data: bytes, name: str) -> Embedder:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.tflite"
        path.write_bytes(data)
        return open_embedder(path, verified_only=False)


def _image_embedder(data: bytes) -> Any:
    """Return MediaPipe's embedder; it refuses a model with ValueError."""
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageEmbedder, ImageEmbedderOptions

    base = BaseOptions(model_asset_buffer=data)
    return ImageEmbedder.create_from_options(
        ImageEmbedderOptions(base_options=base, l2_normalize=True)
    )


def _embed(embedder: Any, pixels: NDArray[np.uint8]) -> object:
    from mediapipe import Image, ImageFormat

    return embedder.embed(Image(image_format=ImageFormat.SRGB, data=pixels))


def imagededup(workbench: Workbench) -> Peer:  # noqa: ARG001
    """Work of imagededup per picture: float MobileNetV3-Small at 224 px in PyTorch, pooled."""
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
    return Peer({name: run}, (SpeedRatio(f"embed one picture / {name}", "embed", name),))
