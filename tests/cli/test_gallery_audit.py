"""`edge-sim gallery audit` and `prune` from a user's seat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_sim.cli.main import main
from tests.gallery.pictures import saved, scene

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery of two states, six pictures of each in different light."""
    monkeypatch.chdir(tmp_path)
    for layout, state in enumerate(("open", "shut"), start=1):
        for noise in range(1, 7):
            lit = scene(layout, noise=noise, light=0.6 + 0.12 * noise)
            saved(tmp_path / "in" / state, f"{noise}.png", lit)
    names = ["--watch", "gate", "--model", "thumbnail", "--force"]
    assert main(["gallery", "import", "in", *names]) == 0
    return tmp_path


def answer(capsys: Captured, *arguments: str) -> Any:
    capsys.readouterr()
    assert main(["gallery", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    return found


def mistake(capsys: Captured, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["gallery", *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_the_audit_says_how_sure_it_will_be_and_what_to_do(here: Path, capsys: Captured) -> None:
    capsys.readouterr()
    assert main(["gallery", "audit"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("gate: 12 references at revision 1. Right on 100.0 % of pictures")
    assert any(line.startswith("open / shut") for line in lines)
    assert lines[-1].endswith(".")
    (found,) = answer(capsys, "audit", "--watch", "gate")["watches"]
    assert (found["watch"], found["references"], found["suspects"]) == ("gate", 12, [])
    assert lines[-1] == found["next_picture"]


def test_a_wrong_label_is_shown_beside_what_it_looks_like(here: Path, capsys: Captured) -> None:
    assert main(["gallery", "relabel", "r3", "--state", "shut"]) == 0
    (found,) = answer(capsys, "audit", "--report", "audit.html")["watches"]
    assert [(item["id"], item["similar_to"]) for item in found["suspects"]] == [("r3", "open")]
    assert found["next_picture"].startswith("Look at r3 before")
    page = Path("audit.html").read_text()
    assert "labels to check" in page
    assert page.count("data:image/jpeg;base64") >= 14
    assert main(["gallery", "audit"]) == 0
    assert "r3 may be mislabelled: shut, but looks like open" in capsys.readouterr().out


def test_every_watch_is_audited(here: Path, capsys: Captured) -> None:
    assert main(["gallery", "mv", "r1", "r7", "--watch", "door"]) == 0
    found = answer(capsys, "audit")["watches"]
    assert [(item["watch"], item["references"]) for item in found] == [("door", 2), ("gate", 10)]
    assert found[0]["sure"] is None
    assert main(["gallery", "audit"]) == 0
    assert "Its accuracy cannot be estimated yet." in capsys.readouterr().out


def test_pruning_is_one_revision_that_can_be_undone(here: Path, capsys: Captured) -> None:
    foreseen = answer(capsys, "prune", "--keep", "6", "--dry-run")
    assert (foreseen["revision"], foreseen["dry_run"]) == (None, True)
    done = answer(capsys, "prune", "--keep", "6", "--report", "prune.html")
    assert (done["kept"], done["removed"]) == (foreseen["kept"], foreseen["removed"])
    assert done["revision"] == 2
    assert done["sure_before"]["value"] == 1.0
    assert Path("prune.html").read_text().count("data:image/jpeg;base64") == 12
    listed = answer(capsys, "list")["references"]
    assert [item["reference_id"] for item in listed] == done["kept"]
    assert sorted(item["state"] for item in listed) == ["open"] * 3 + ["shut"] * 3
    assert main(["gallery", "undo"]) == 0
    assert len(answer(capsys, "list")["references"]) == 12


def test_pruning_tells_what_it_costs(here: Path, capsys: Captured) -> None:
    assert main(["gallery", "prune", "--keep", "4"]) == 0
    printed = capsys.readouterr()
    assert "revision 2, removed r" in printed.out
    assert "before: 12 references. Right on" in printed.out
    assert "after:  4 references." in printed.out
    assert "undo" in printed.err
    assert main(["gallery", "prune", "--keep", "4"]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert main(["gallery", "prune", "--keep", "2", "--dry-run"]) == 0
    assert "would remove r" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["audit", "--watch", "door"], "no watch 'door'; it has gate"),
        (["audit", "--gallery", "no.db"], "no gallery at no.db"),
        (["audit", "--report", "x.png"], "ends in .html"),
        (["audit", "--report", "no/x.html"], "no folder no"),
        (["prune", "--keep", "1"], "keep 2 references at least"),
        (["prune", "--keep", "3", "--watch", "door"], "no watch 'door'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_changes_nothing(
    here: Path, capsys: Captured, arguments: list[str], words: str
) -> None:
    assert words in mistake(capsys, *arguments)
    assert answer(capsys, "log")["revisions"][0]["number"] == 1


def test_an_empty_gallery_is_told(here: Path, capsys: Captured) -> None:
    assert main(["gallery", "undo"]) == 0
    assert "no references" in mistake(capsys, "audit")
    assert "no references" in mistake(capsys, "prune", "--keep", "3")


@pytest.mark.parametrize("keep", ["0", "-1", "x", ""])
def test_a_number_to_keep_is_a_number(here: Path, keep: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["gallery", "prune", "--keep", keep])
    assert stopped.value.code == 2
