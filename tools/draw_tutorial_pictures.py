"""Draw the pictures of docs/tutorial.md by running its commands.

    python tools/draw_tutorial_pictures.py

References as they were enrolled, the page of the run, and that of an explanation; needs playwright
(extra `test`) and chromium.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = ROOT / "docs" / "tutorial.md"
PICTURES = ROOT / "docs" / "pictures"
_WIDTH_PX, _QUALITY = 1000, 70


def main() -> None:
    """Run the tutorial in a folder of its own and write its pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "configs" / "bowl.yaml", folder)
        for words in commands():
            _run(folder, *words)
            if words[0] == "explain":
                break
        _run(folder, "gallery", "export", "--watch", "bowl", "-c", "bowl.yaml", "pictures")
        _references(folder / "pictures")
        _screenshot(folder / "timeline.html", "tutorial-timeline", 760)
        _screenshot(folder / "event.html", "tutorial-explain", 900)


def commands() -> Iterator[list[str]]:
    """Yield the arguments of each command of edge-sim in the folder `bowl`, in order."""
    text = TUTORIAL.read_text(encoding="utf-8").partition("cd bowl")[2]
    for line in re.findall(r"^edge-sim (.+)$", text, re.MULTILINE):
        yield shlex.split(line)


def _run(folder: Path, *words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-m", "edge_sim", *words)
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def _references(folder: Path) -> None:
    rows = []
    for state in ("food", "empty"):
        read = [cv2.imread(str(path)) for path in sorted((folder / state).iterdir())]
        rows.append(np.hstack([cv2.resize(each, (256, 192)) for each in read if each is not None]))
    _write("tutorial-references", np.vstack(rows))


def _screenshot(page_file: Path, name: str, height_px: int) -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    shot = page_file.with_suffix(".png")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH_PX, "height": height_px})
        page.goto(page_file.as_uri())
        page.wait_for_load_state("load")
        page.screenshot(path=shot)
        browser.close()
    pixels = cv2.imread(str(shot))
    if pixels is None:
        raise RuntimeError(f"{shot}: no picture was written")
    _write(name, pixels)


def _write(name: str, pixels: object) -> None:
    path = PICTURES / f"{name}.webp"
    cv2.imwrite(str(path), np.asarray(pixels), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
