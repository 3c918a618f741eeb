"""A pack is held against the device's own last day before it is taken."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge_sim.core.events import utc_text
from edge_sim.errors import PackError
from edge_sim.fleet.trial import LastDayTrial, change_of
from edge_sim.runtime.config import Config, parse_config
from edge_sim.runtime.score_log import ScoreLine
from tests.pictured import gallery

NOW_S = 1_800_000_000.0
OFFERED = gallery(4, ("empty", "left"))


def config(folder: Path, **updates: object) -> Config:
    options = ", ".join(f"{key}: {value}" for key, value in updates.items())
    return parse_config(
        "sources: {camera: {uri: 'synthetic:bowl'}}\nwatches: {bowl: {}}\n"
        f"score_log: {{path: scores.jsonl}}\nupdates: {{{options}}}\n",
        folder=str(folder),
    )


def line(number: int, **more: object) -> ScoreLine:
    found = ScoreLine(
        at=utc_text(NOW_S - 60.0 * number),
        watch="bowl",
        state="left",
        reason=None,
        condition="day",
        best="left",
        combined=0.9,
        probability=0.99,
        gallery_revision=3,
    )
    return msgspec.structs.replace(found, **more)


def tried(folder: Path, lines: list[ScoreLine], **updates: object) -> int:
    (folder / "scores.jsonl").write_bytes(b"".join(msgspec.json.encode(x) + b"\n" for x in lines))
    return LastDayTrial(config(folder, **updates), None, NOW_S)({"bowl": OFFERED})


def test_a_day_that_a_pack_would_decide_alike_speaks_for_it(tmp_path: Path) -> None:
    lines = [line(number) for number in range(100)]
    assert tried(tmp_path, lines) == 100
    (tmp_path / "scores.jsonl").unlink()
    assert LastDayTrial(config(tmp_path), None, NOW_S)({"bowl": OFFERED}) == 0


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"state": "right", "best": "right"}, "it has no reference of 'right'$"),
        ({"condition": "ir"}, "it has no reference of 'left' "),
        ({"combined": 0.11}, r"its level of 'left' is 0\.\d\d, above what this camera reaches"),
    ],
    ids=["state", "light", "level"],
)
def test_what_it_would_decide_otherwise_speaks_against_it(
    tmp_path: Path, more: dict[str, object], reason: str
) -> None:
    lines = [line(number, **(more if number % 4 == 0 else {})) for number in range(100)]
    pattern = f"of 100 observations of 'bowl' .* 25 would be decided otherwise.*{reason}"
    with pytest.raises(PackError, match=pattern):
        tried(tmp_path, lines)
    assert tried(tmp_path, lines, most_changed=0.25) == 100
    # Too few say nothing, nor do those of another day, or without a state.
    assert tried(tmp_path, [line(number, **more) for number in range(19)]) == 19
    assert tried(tmp_path, [line(number + 1441, **more) for number in range(100)]) == 0
    unknown = {**more, "state": "unknown", "reason": "novel"}
    assert tried(tmp_path, [line(number, **unknown) for number in range(100)]) == 0


def test_a_log_that_is_damaged_counts_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    assert tried(tmp_path, [line(1), line(2, at="yesterday"), line(3)]) == 2
    with (tmp_path / "scores.jsonl").open("ab") as file:
        file.write(b"\xff\n[1]\n")
    assert LastDayTrial(config(tmp_path), None, NOW_S)({"bowl": OFFERED}) == 2


def test_dusk_is_the_light_of_the_day(tmp_path: Path) -> None:
    trial = LastDayTrial(config(tmp_path), None, NOW_S)
    settings = trial._settings("bowl", OFFERED)
    assert change_of(line(1, condition="dusk"), settings) is None
    assert change_of(line(1, condition="ir"), settings) is not None
    # Held then by its votes, against the score of this one observation.
    assert change_of(line(1, best="empty", combined=0.99), settings) is None
