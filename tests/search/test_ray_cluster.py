"""A real Ray cluster of two nodes on this machine, one of which is killed in the middle.

Needs the extra `ray`, and a minute: `pytest -m slow tests/search/test_ray_cluster.py`.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from edge_sim.search.build import update
from edge_sim.search.rows import IndexPlan
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.pictures import picture, write
from tests.search.test_shards import held

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
pytestmark = pytest.mark.slow
PICTURES = 3000
TIMEOUT_S = 300
STARTS = 3
"""Ray gives up a start after 15 s of its own, which a busy machine exceeds now and then."""
REPOSITORY = Path(__file__).resolve().parent.parent.parent
CLUSTER = """
import json, sys
from ray.cluster_utils import Cluster
cluster = Cluster(
    initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
)
node = cluster.add_node(num_cpus=1)
raylet = node.all_processes["raylet"][0].process.pid
print(json.dumps({"address": cluster.address, "raylet": raylet}), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "photos"
    originals = [picture(number, width=320, height=240) for number in range(30)]
    for number in range(PICTURES):
        pixels = originals[number % 30].copy()
        pixels[:8, :8] = (number % 251, number // 251, 7)
        write(folder / str(number % 10) / f"{number}.jpg", pixels)
    (folder / "broken.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "60",
    }


@pytest.fixture(scope="module")
def cluster(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """Cluster of two nodes with a core each; the last test kills one."""
    place = tmp_path_factory.mktemp("cluster") / "log"
    command = [sys.executable, "-c", CLUSTER]
    for _ in range(STARTS):
        with place.open("w") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=-1, stdout=-1, stderr=log, text=True
            )
        with process:
            assert process.stdout is not None
            started = next((line for line in process.stdout if line.startswith("{")), None)
            if started is not None:
                yield json.loads(started)
                process.communicate()
                return
    pytest.fail(f"Ray did not start: {place.read_text()[-300:]}")


def build(photos: Path, out: Path, address: str, *options: str) -> list[str]:
    command = (sys.executable, "-m", "edge_sim", "index", "build", photos, "--out", out)
    return [*map(str, command), "--ray", address, "--json", *options]


def files_in(place: Path) -> int:
    with suppress(sqlite3.Error), closing(sqlite3.connect(place / "index.db")) as raw:
        return int(raw.execute("SELECT count(*) FROM files").fetchone()[0])
    return 0


def kill_node(raylet: int) -> None:
    """Kill a node with its workers, as a machine that loses its power."""
    workers: list[int] = []
    for task in Path(f"/proc/{raylet}/task").iterdir():
        workers += map(int, (task / "children").read_text().split())
    for process in (raylet, *workers):
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)


def test_a_cluster_that_is_not_there_is_one_line(
    photos: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    command = build(photos, tmp_path / "index", "127.0.0.1:1")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "edge-sim: no Ray cluster at 127.0.0.1:1 (Connection refused)" in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_come_back_as_parquet(
    photos: Path, tmp_path: Path, cluster: dict[str, Any], environment: dict[str, str]
) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    command = build(photos, tmp_path / "rows", cluster["address"], "--parquet", "--workers", "1")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == PICTURES + 1
    names = parquet.read_table(tmp_path / "rows")["path"].to_pylist()
    assert len(set(names)) == len(names) == PICTURES + 1


def test_a_node_killed_in_the_middle_costs_no_picture_and_doubles_none(
    photos: Path, tmp_path: Path, cluster: dict[str, Any], environment: dict[str, str]
) -> None:
    place = tmp_path / "index"
    command = build(photos, place, cluster["address"])
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) as process:
        deadline_s = time.monotonic() + TIMEOUT_S
        while files_in(place) < PICTURES // 4:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline_s, "nothing is embedded"
        kill_node(cluster["raylet"])
        assert files_in(place) < PICTURES
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert (report["new"], len(report["unread"])) == (PICTURES, 1)
    embedder = open_embedder("default")
    with IndexStore.open(tmp_path / "whole", create=IndexPlan(photos, embedder.model_id)) as store:
        update(store, embedder)
    assert held(place) == held(tmp_path / "whole")
