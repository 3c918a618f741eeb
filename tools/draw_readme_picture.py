"""Draw the picture in the README: the timeline of `edge-sim demo` with its first events.

    python tools/draw_readme_picture.py

A screenshot of the page that `--report` writes; needs playwright (extra `test`) and chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "timeline.png"
_WIDTH_PX, _EVENTS = 1000, 4


def main() -> None:
    """Run the demo and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "timeline.html"
        command = (sys.executable, "-m", "edge_sim", "demo", "--report", str(report))
        subprocess.run(command, cwd=PICTURE.parent.parent, check=True, stdout=subprocess.DEVNULL)
        shoot(report.as_uri(), PICTURE)
    _reduce(PICTURE)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size} bytes")


def shoot(address: str, path: Path) -> None:
    """Write the part of a timeline page from its chart to its first events."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH_PX, "height": 800})
        page.goto(address)
        page.locator(".marker").first.wait_for()
        top = page.locator(".figures").bounding_box()
        row = page.locator(f".events tbody tr:nth-child({_EVENTS})").bounding_box()
        if top is None or row is None:
            raise RuntimeError("the page shows no events")
        height = row["y"] + row["height"] - top["y"]
        clip = {"x": 0.0, "y": top["y"], "width": float(_WIDTH_PX), "height": height}
        page.screenshot(path=path, full_page=True, clip=clip)  # type: ignore[arg-type]
        browser.close()


def _reduce(path: Path) -> None:
    """Write a PNG again, compressed as far as it goes."""
    pixels = cv2.imread(str(path))
    if pixels is None:
        raise RuntimeError(f"{path}: no picture was written")
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
