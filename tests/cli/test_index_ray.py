"""`index build --ray` without a cluster: what cannot work is one line, and nothing is spoilt."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_sim.cli.main import main
from edge_sim.search import ray_pool
from edge_sim.search.cluster import EmbeddingOrder
from edge_sim.secrets import forget_secrets
from tests.pictures import picture, write
from tests.search.test_cluster import UnreliablePool

Run = Any


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(8):
        write(tmp_path / "photos" / f"{number}.png", picture(number, width=48, height=48))
    (tmp_path / "photos" / "attributes.csv").write_text("file,place\n3.png,yard\nno.png,gate\n")
    return tmp_path / "photos"


class LocalPool(UnreliablePool):
    """Pool without Ray, in its place."""

    wanted, lost = 2, 1

    def __init__(self, address: str, order: EmbeddingOrder, workers: int | None) -> None:
        super().__init__(order, ["lost"])

    def __enter__(self) -> LocalPool:
        sys.stdout.write("Ray prints on stdout")
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ray_pool, "RayPool", LocalPool)
    yield
    forget_secrets()


def command(photos: object, place: Path, *options: str) -> Sequence[object]:
    model = ("--model", "thumbnail", "--ray", "local")
    return ("index", "build", photos, "--out", place, *model, *options)


def test_a_folder_is_indexed_and_brought_up_to_date(
    photos: Path, tmp_path: Path, run: Run, local: None
) -> None:
    place = tmp_path / "index"
    code, out, err = run(*command(photos, place))
    assert code == 0
    assert "ready, 8 pictures (8 new, 0 changed, 0 gone, 0 not read)" in out
    assert "Ray prints" not in out
    assert "ray: 2 workers\n" in err
    assert "ray: 1 worker was lost; their pictures went to others\n" in err
    assert "attributes: 1 names are no picture here: no.png" in err
    assert run("index", "list", place, "--where", "place = yard")[1].count(".png") == 1
    code, out, err = run(*command(photos, place))
    assert (code, "8 pictures (0 new" in out, "ray:" in err) == (0, True, False)
    # The same index, by one process.
    code, out, _ = run("index", "build", photos, "--out", place, "--model", "thumbnail")
    assert (code, "8 pictures (0 new, 0 changed, 0 gone" in out) == (0, True)


def test_a_tar_is_indexed(photos: Path, tmp_path: Path, run: Run, local: None) -> None:
    with tarfile.open(tmp_path / "p.tar", "w") as archive:
        archive.add(photos, ".")
    code, out, _ = run(*command(tmp_path / "p.tar", tmp_path / "index"))
    assert (code, "8 pictures (8 new" in out) == (0, True)
    assert str(tmp_path / "p.tar") in run("index", "info", tmp_path / "index")[1]
    code, out, _ = run("index", "list", tmp_path / "index")
    assert (code, out.count(".png")) == (0, 8)


def test_an_empty_storage_empties_no_index(
    photos: Path, tmp_path: Path, run: Run, local: None
) -> None:
    place = tmp_path / "index"
    assert run(*command(photos, place))[0] == 0
    for path in photos.iterdir():
        path.unlink()
    code, _, err = run(*command(photos, place))
    assert (code, err.count("\n"), "no picture there" in err) == (1, 1, True)
    assert "8 pictures" in run("index", "info", place)[1]


def test_rows_become_parquet(photos: Path, tmp_path: Path, run: Run, local: None) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[ray]'")
    code, out, _ = run(*command(photos, tmp_path / "rows", "--parquet"))
    assert (code, "8 rows (8 new, 0 changed, 0 gone, 0 not read)" in out) == (0, True)
    code, out, err = run(*command(photos, photos, "--parquet"))
    assert (code, "give a new or empty folder" in err) == (1, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "2"], "--workers goes with --ray"),
        (["--parquet"], "--parquet goes with --ray"),
        (["--ray", "auto", "--shard", "1/2"], "--shard goes without --ray"),
        (["--ray", "auto", "--parquet", "--kind", "hnsw"], "go without --parquet"),
        (["--ray", "auto", "--parquet", "--attributes", "a.csv"], "go without --parquet"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(
    photos: Path, tmp_path: Path, run: Run, options: list[str], words: str
) -> None:
    code, _, err = run("index", "build", photos, "--out", tmp_path / "index", *options)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("missing", "options", "place"),
    [
        ("ray", [], "photos"),
        ("pyarrow", ["--parquet"], "photos"),
        ("fsspec.core", [], "s3://bucket/photos"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(
    photos: Path,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
    options: list[str],
    place: str,
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    spec = photos if place == "photos" else place
    code, _, err = run(*command(spec, tmp_path / "index", *options))
    assert (code, err.count("\n")) == (1, 1)
    assert "is not installed: pip install 'edge_sim[ray]'" in err


def test_a_shard_takes_no_rows_of_a_cluster(photos: Path, tmp_path: Path, run: Run) -> None:
    shard = ("--shard", "1/2", "--model", "thumbnail")
    assert run("index", "build", photos, "--out", tmp_path / "s", *shard)[0] == 0
    code, _, err = run(*command(photos, tmp_path / "s"))
    assert (code, "is shard 1/2" in err) == (1, True)
