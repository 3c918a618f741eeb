"""A name that is not there is an error with the nearest one, and never an empty answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.gallery.store import GalleryStore
from tests.devices import make_gallery


@pytest.fixture
def gallery(tmp_path: Path) -> str:
    path = tmp_path / "gallery.db"
    make_gallery(path, "lamp", watch="lamp")
    with GalleryStore.open(path) as store:
        store.tag(["r1"], add=["night"])
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--watch", "lamb"], "no watch 'lamb' (did you mean 'lamp'?)"),
        (["list", "--state", "onn"], "no state 'onn' (did you mean 'on'?)"),
        (["list", "--tag", "nigth"], "no tag 'nigth' (did you mean 'night'?)"),
        (["dedupe", "--watch", "lamb"], "no watch 'lamb' (did you mean 'lamp'?)"),
        (["audit", "--watch", "lamb"], "no watch 'lamb' (did you mean 'lamp'?)"),
        (["reembed", "--watch", "lamb", "--model", "thumbnail"], "no watch 'lamb'"),
        (["export", "out", "--watch", "lamb"], "'lamb' has no references"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_name_that_the_gallery_lacks_is_an_error(
    gallery: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, *rest = arguments
    assert main(["gallery", verb, *rest, "--gallery", gallery]) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--nuisances", "rain"], "no nuisance 'rain'"),
        (["demo", "--nuisances", "noise,hnad"], "did you mean 'hand'?"),
    ],
)
def test_a_wrong_value_of_an_option_is_wrong_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
