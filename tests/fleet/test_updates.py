"""A device takes what its keys vouch for, whole, once, and never anything older or foreign."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed: pip install '.[fleet]'")

from edge_sim.core.types import BgrImage, Embedding
from edge_sim.errors import PackError
from edge_sim.fleet import publishing, signing
from edge_sim.fleet.publishing import LISTING, Rollout
from edge_sim.fleet.updates import is_selected
from edge_sim.gallery.store import GalleryStore
from tests.fleet.depot import DAY_S, Depot, Device, depot_and_device, states_of, taken
from tests.pictured import CellsEmbedder

BEFORE, AFTER = ["empty"] * 2, ["empty"] * 4 + ["food"] * 4


def refused(device: Device, place: object, reason: str, content: list[str]) -> None:
    """Check that the device stays as it is, and says why."""
    with pytest.raises(PackError, match=reason) as caught:
        device.update(place)
    assert "\n" not in str(caught.value)
    assert states_of(device.gallery) == content
    assert not list(device.base.glob(".*"))


def test_a_pack_becomes_one_revision_which_undo_takes_back_for_good(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    (outcome,) = device.update(depot.folder)
    assert (outcome.outcome, outcome.revision, states_of(device.gallery)) == ("activated", 2, AFTER)
    (again,) = device.update(depot.folder)
    assert (again.outcome, again.revision) == ("current", None)
    with GalleryStore.open(device.gallery) as store:
        store.undo()
    assert states_of(device.gallery) == BEFORE
    assert device.update(depot.folder)[0].outcome == "current"
    assert states_of(device.gallery) == BEFORE
    depot.publish(depot.pack(2))
    assert device.update(depot.folder)[0].outcome == "activated"


def test_what_a_pack_does_not_name_stays(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    with GalleryStore.open(device.gallery) as store:
        store.add("gate", [taken("left", 3)])
    device.update(depot.folder)
    with GalleryStore.open(device.gallery, read_only=True) as store:
        assert [item.watch for item in store.records() if item.watch != "bowl"] == ["gate"]


def test_rollback_an_older_list_is_refused(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    shutil.copytree(depot.folder, tmp_path / "old")
    depot.publish(depot.pack(2))
    device.update(depot.folder)
    refused(device, tmp_path / "old", "older than version 2", AFTER)


def test_rollback_a_new_list_with_an_older_pack_is_refused(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    older = depot.folder / LISTING
    first = older.read_bytes()
    depot.publish(depot.pack(2))
    device.update(depot.folder)
    # Even who holds the key cannot bring version 1 back under a new list.
    listing = signing.listing_in(signing.read_signed(first, "x"), "x")
    listing = msgspec.structs.replace(listing, version=9)
    private = signing.read_private(depot.key("a"))
    signing.write_signed(older, signing.signed(signing.sealed("packs", listing), [private]))
    refused(device, depot.folder, "version 2 was installed; to go back", AFTER)


def test_freeze_an_expired_list_is_refused_and_so_is_an_expired_root(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    device.now_s += 11 * DAY_S
    refused(device, depot.folder, r"packs.json: expired at .* publish it again", BEFORE)
    device.now_s += 100 * DAY_S
    depot.now_s = device.now_s
    publishing.publish(
        depot.folder,
        [],
        [signing.read_private(depot.key("a"))],
        rollout=Rollout(),
        expires_s=device.now_s + DAY_S,
    )
    refused(device, depot.folder, r"root/1.json: expired", BEFORE)


def test_mix_and_match_a_pack_of_another_version_is_refused(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    depot.publish(depot.pack(2))
    (depot.folder / "bowls-2.pack").write_bytes((depot.folder / "bowls-1.pack").read_bytes())
    refused(device, depot.folder, "larger than|is not the file that was signed", BEFORE)


def test_mix_and_match_a_list_that_says_another_version_than_the_pack_is_refused(
    tmp_path: Path,
) -> None:
    depot, device = depot_and_device(tmp_path)
    place = depot.folder / LISTING
    listing = signing.listing_in(signing.read_signed(place.read_bytes(), "x"), "x")
    (entry,) = listing.packs
    listing = msgspec.structs.replace(
        listing, version=2, packs=(msgspec.structs.replace(entry, version=7, previous=6),)
    )
    private = signing.read_private(depot.key("a"))
    signing.write_signed(place, signing.signed(signing.sealed("packs", listing), [private]))
    refused(device, depot.folder, "is bowls 1, not as packs.json says", BEFORE)


@pytest.mark.parametrize("name", [LISTING, "root/2.json", "bowls-1.pack"])
def test_endless_data_from_a_folder_is_not_read_on(tmp_path: Path, name: str) -> None:
    depot, device = depot_and_device(tmp_path)
    with (depot.folder / name).open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing
    refused(device, depot.folder, r"larger than \d+ bytes", BEFORE)


class Endless(BaseHTTPRequestHandler):
    """Sends a folder, and for the name in `endless` bytes for ever."""

    folder: Path
    endless = ""

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        path = self.folder / name
        if name != self.endless and not path.is_file():
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        try:
            self.wfile.write(path.read_bytes() if name != self.endless else b"")
            while name == self.endless:
                self.wfile.write(b"x" * 65536)
        except OSError:
            pass  # the device hung up

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def served() -> Iterator[Callable[[Path, str], str]]:
    servers = []

    def serve(folder: Path, endless: str = "") -> str:
        handler = type("Handler", (Endless,), {"folder": folder, "endless": endless})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_pack_comes_over_http(tmp_path: Path, served: Callable[[Path, str], str]) -> None:
    depot, device = depot_and_device(tmp_path)
    assert device.update(served(depot.folder, ""))[0].outcome == "activated"
    assert states_of(device.gallery) == AFTER


@pytest.mark.parametrize("name", [LISTING, "root/2.json", "bowls-1.pack"])
def test_endless_data_from_a_server_is_not_read_on(
    tmp_path: Path, name: str, served: Callable[[Path, str], str]
) -> None:
    depot, device = depot_and_device(tmp_path)
    refused(device, served(depot.folder, name), "larger than .*; not downloaded", BEFORE)


def test_slow_data_is_given_up_in_time(tmp_path: Path, served: Callable[[Path, str], str]) -> None:
    depot, device = depot_and_device(tmp_path)
    ticks = iter(range(0, 10**9, 700))
    with pytest.raises(PackError, match="given up"):
        device.update(served(depot.folder, ""), whole_s=600.0, clock=lambda: float(next(ticks)))
    assert states_of(device.gallery) == BEFORE


def test_wrong_software_a_pack_for_another_product_is_refused(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    device.target = "parking"
    refused(device, depot.folder, "no pack for 'parking', only for feeder", BEFORE)


def test_wrong_software_a_pack_for_another_model_is_refused(tmp_path: Path) -> None:
    class Other(CellsEmbedder):
        model_id = "other@1"

    depot, device = depot_and_device(tmp_path)
    device.embedder = Other()
    refused(device, depot.folder, r"made for the model cells@1, this device uses other@1", BEFORE)


def test_wrong_software_a_pack_that_sees_other_states_here_is_refused(tmp_path: Path) -> None:
    class Blind(CellsEmbedder):
        """Sees the picture upside down: the same model, broken on this device."""

        def embed(self, pixels: BgrImage) -> Embedding:
            return super().embed(255 - pixels[::-1, ::-1])

    depot, device = depot_and_device(tmp_path)
    device.embedder = Blind()
    refused(device, depot.folder, "pinned picture of bowl/.* shows .* fail on this device", BEFORE)


def test_one_stolen_key_of_two_that_must_sign_signs_nothing(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path, threshold=2, packs_keys=("a", "b", "c"))
    shutil.copytree(depot.folder, tmp_path / "forged")
    thief = Depot(tmp_path, threshold=2, packs_keys=("a", "b", "c"))
    forged = depot.pack(5, {"empty": "left", "food": "empty"}, mark="x")
    thief.publish(forged, signers=("a",))
    refused(device, depot.folder, "1 valid signatures of trusted keys, 2 are needed", BEFORE)
    # Nor does the same key twice, nor one that nobody trusts.
    thief.publish(signers=("a", "a", "z"))
    refused(device, depot.folder, "1 valid signatures", BEFORE)
    publishing.add_signatures(depot.folder / LISTING, [signing.read_private(depot.key("b"))])
    assert device.update(depot.folder)[0].version == 5


def test_a_stolen_key_that_signs_alone_is_ended_by_a_new_root(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    depot.publish(depot.pack(2))  # by the thief: with a threshold of 1 nothing can tell
    stolen = (depot.folder / LISTING).read_bytes()
    assert device.update(depot.folder)[0].version == 2
    depot.root("r", packs_keys=("n",))
    refused(device, depot.folder, "0 valid signatures .* that root 2 does not trust", AFTER)
    depot.publish(depot.pack(3), signers=("n",))
    assert device.update(depot.folder)[0].version == 3
    (depot.folder / LISTING).write_bytes(stolen)
    refused(device, depot.folder, "0 valid signatures", AFTER)


def test_after_new_keys_the_versions_that_a_thief_signed_bind_nobody(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    place = depot.folder / LISTING
    listing = signing.listing_in(signing.read_signed(place.read_bytes(), "x"), "x")
    far = msgspec.structs.replace(listing, version=signing.MAX_VERSION)
    private = signing.read_private(depot.key("a"))
    signing.write_signed(place, signing.signed(signing.sealed("packs", far), [private]))
    device.update(depot.folder)
    place.unlink()
    depot.root("r", packs_keys=("n",))
    depot.publish(depot.pack(2), signers=("n",))
    assert device.update(depot.folder)[0].outcome == "activated"


def test_a_root_that_the_keys_before_did_not_sign_is_refused(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    other = Depot(tmp_path / "thief")
    other.base.mkdir()
    other.root()
    other.root()
    shutil.copy(other.folder / "root/2.json", depot.folder / "root/2.json")
    refused(device, depot.folder, "root/2.json: 0 valid signatures", BEFORE)


def test_a_list_does_not_pass_for_a_root_nor_a_root_for_a_list(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    shutil.copy(depot.folder / "root/1.json", depot.folder / LISTING)
    refused(device, depot.folder, "metadata of the role 'root', not 'packs'", BEFORE)


@pytest.mark.parametrize("name", [LISTING, "bowls-1.pack"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    depot, device = depot_and_device(tmp_path)
    whole = (depot.folder / name).read_bytes()
    for count in (0, 1, len(whole) // 2, len(whole) - 2):
        (depot.folder / name).write_bytes(whole[:count])
        refused(device, depot.folder, "cut off|is not the file|server sends", BEFORE)
    (depot.folder / name).write_bytes(whole)
    assert device.update(depot.folder)[0].outcome == "activated"


def test_swapped_packs_and_altered_bytes_are_refused(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    depot.publish(depot.pack(1, name="other"))
    first, second = depot.folder / "bowls-1.pack", depot.folder / "other-1.pack"
    mine, theirs = first.read_bytes(), second.read_bytes()
    first.write_bytes(theirs)
    second.write_bytes(mine)
    refused(device, depot.folder, "larger than|is not the file that was signed", BEFORE)
    first.write_bytes(mine[:-1] + bytes([mine[-1] ^ 1]))
    refused(device, depot.folder, "is not the file that was signed", BEFORE)


@pytest.mark.parametrize("name", ["../bowls-1.pack", "/etc/passwd", ".x", "a/b"])
def test_no_name_of_a_list_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    depot, device = depot_and_device(tmp_path)
    place = depot.folder / LISTING
    listing = signing.listing_in(signing.read_signed(place.read_bytes(), "x"), "x")
    (entry,) = listing.packs
    bad = msgspec.structs.replace(listing, packs=(msgspec.structs.replace(entry, file=name),))
    private = signing.read_private(depot.key("a"))
    signing.write_signed(place, signing.signed(signing.sealed("packs", bad), [private]))
    refused(device, depot.folder, "has no valid name or length", BEFORE)


def test_stages_reach_their_share_of_200_devices_and_only_ever_more(tmp_path: Path) -> None:
    depot, _ = depot_and_device(tmp_path)
    place = depot.folder / LISTING
    (entry,) = signing.listing_in(signing.read_signed(place.read_bytes(), "x"), "x").packs
    reached: set[str] = set()
    for percent in (0, 5, 25, 60, 100):
        stage = msgspec.structs.replace(entry, rollout_percent=percent)
        now = {name for name in map("d{}".format, range(200)) if is_selected(stage, name, "")}
        assert reached <= now
        assert abs(len(now) - 2 * percent) <= 20
        reached = now
    assert len(reached) == 200


def test_a_canary_takes_what_others_wait_for(tmp_path: Path) -> None:
    depot, device = depot_and_device(tmp_path)
    depot.publish(depot.pack(2), rollout=Rollout(0, ("lab",)))
    assert device.update(depot.folder)[0].outcome == "waiting"
    assert states_of(device.gallery) == BEFORE
    canary = Device(tmp_path, device.root, name="canary", group="lab")
    assert canary.update(depot.folder)[0].outcome == "activated"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"role":"packs","payload":"{}"}', b"\xff"])
def test_nonsense_in_place_of_metadata_is_one_line(tmp_path: Path, content: bytes) -> None:
    depot, device = depot_and_device(tmp_path)
    (depot.folder / LISTING).write_bytes(content)
    refused(device, depot.folder, "packs.json", BEFORE)
