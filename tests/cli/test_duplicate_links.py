"""`edge-sim duplicates` lists the other names of a file, and advises to delete none of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.gallery.enrolment import encoded_crop
from tests.pictures import picture


def test_links_are_listed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "original.png").write_bytes(encoded_crop(picture(1)))
    (folder / "original copy.png").write_bytes(encoded_crop(picture(1)))
    (folder / "a-symbolic.png").symlink_to("original.png")
    (folder / "b-hard.png").hardlink_to(folder / "original copy.png")
    listed = tmp_path / "list"
    assert main(["duplicates", str(folder), "--json", "--delete-list", str(listed)]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["links"] == {"a-symbolic.png": "original.png", "original copy.png": "b-hard.png"}
    assert found["pictures"] == 2
    assert "2 links to listed pictures are left alone" in printed.err
    assert "original.png" not in listed.read_text()
    assert "a-symbolic.png" not in listed.read_text()
