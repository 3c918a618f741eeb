"""Draw the picture in the README: the timeline of `edge-sim demo`, small enough for a repository.

    python tools/draw_readme_picture.py

Shrinks the report and reduces its colours with Pillow, which scikit-image and matplotlib bring.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "timeline.png"
_WIDTH = 1000
_COLOURS = 200


def main() -> None:
    """Draw the report and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "timeline.png"
        command = (sys.executable, "-m", "edge_sim", "demo", "--frames", "260", "--report", report)
        subprocess.run(command, cwd=PICTURE.parent.parent, check=True, stdout=subprocess.DEVNULL)
        drawn = Image.open(report).convert("RGB")
    height = round(drawn.height * _WIDTH / drawn.width)
    small = drawn.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    small.quantize(_COLOURS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size} bytes, {small.width}x{small.height}")


if __name__ == "__main__":
    main()
