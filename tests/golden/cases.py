"""The cases whose decisions are kept below `decisions/`, and what plays them.

`tools/make_golden_events.py` writes the files, `test_decisions.py` plays the cases again. The files
are in a form of their own: `decision_of` is the only place that knows how an event is spelt, and
`configuration` the only one that knows the keys of a configuration.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from edge_sim.cli.main import main
from edge_sim.core.events import EventOrigin, state_changed, to_json_line
from edge_sim.core.types import Match, Observation, Quality, Score, StateScore, UnknownReason
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.rules import Rules
from edge_sim.decision.thresholds import Level, Settings
from edge_sim.io.sources.synthetic.source import reference_frames, scene_roi, scene_states

FOLDER = Path(__file__).resolve().parent / "decisions"
MODEL_FREE = "thumbnail"
Decision = dict[str, Any]
_KINDS = {
    "state_changed": "change",
    "scene_impaired": "problem",
    "scene_cleared": "problem over",
    "overdue": "overdue",
    "overdue_cleared": "overdue over",
    "too_short": "too short",
    "too_long": "too long",
    "implausible_transition": "implausible",
    "drift": "drift",
    "source_lost": "source lost",
    "source_restored": "source back",
}


def decision_of(event: Mapping[str, Any]) -> Decision:
    """Return what an event decides, without what is only how it is spelt.

    Args:
        event: One line of JSON, as sinks receive it.
    """
    said = event.get("after")
    level = event.get("thresholds", {}).get(said, {})
    decision = {
        "kind": _KINDS[event["type"]],
        "watch": event["watch"],
        "frame": event["frame"],
        "before": event.get("before", event.get("state")),
        "after": said,
        "reason": event.get("reason") or event.get("problem") or event.get("direction"),
        "doubts": list(event.get("doubts", ())) or None,
        "number": event.get("number"),
        "confidence": event.get("confidence"),
        "margin": event.get("margin"),
        "enter": level.get("enter"),
        "seconds": event.get("lasted_s", event.get("in_state_s")),
    }
    return {key: value for key, value in decision.items() if value is not None}


@dataclass(frozen=True)
class WatchPlan:
    """A watch of a drawn scene in a configuration.

    Args:
        scene: That it watches.
        settings: Keys of the watch besides source and region.
        masked: Whether the right half of its region is hidden.
        references: Enrolled pictures of each state.
    """

    scene: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    masked: bool = False
    references: int = 5


def configuration(
    folder: Path, sources: Mapping[str, str], watches: Mapping[str, Any], model: str
) -> Path:
    """Write a configuration whose events go to `events.jsonl` beside it, and return its path."""
    path = folder / "config.yaml"
    content = {
        "device": "golden",
        "model": {"path": model},
        "gallery": {"path": "gallery.db"},
        "sources": {name: {"uri": uri} for name, uri in sources.items()},
        "watches": dict(watches),
        "sinks": [{"kind": "file", "path": "events.jsonl"}],
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def sorted_decisions(lines: Iterable[str | bytes]) -> list[Decision]:
    """Return decisions by time; which watch of a frame came first decides nothing."""
    found = [decision_of(json.loads(line)) for line in lines]
    return sorted(found, key=lambda item: (item["frame"], item["watch"], item["kind"]))


def edge_sim_prints(*arguments: object) -> str:
    """Return what a command prints on stdout.

    Raises:
        RuntimeError: It failed.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    if code:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: exit {code}: {err.getvalue()}")
    return out.getvalue()


@dataclass(frozen=True)
class DemoCase:
    """One demo, as `edge-sim demo` plays it.

    Args:
        scene: Name of a synthetic scene.
        seed: Of the clip.
        nuisances: With commas.
        frames: Length of the clip.
        references: Enrolled pictures of each state.
        model: Of the embeddings.
    """

    scene: str
    seed: int
    nuisances: str
    frames: int = 160
    references: int = 5
    model: str = "default"

    @property
    def name(self) -> str:
        """Name of the file."""
        model = "" if self.model == "default" else f"-{self.model}"
        return f"demo-{self.scene}-{self.seed}{model}"

    def play(self, _folder: Path, _data: Path | None) -> list[Decision]:
        """Return the decisions."""
        printed = edge_sim_prints(
            *("demo", "--scene", self.scene, "--seed", self.seed, "--frames", self.frames),
            *("--nuisances", self.nuisances, "--references", self.references),
            *("--model", self.model),
        )
        return sorted_decisions(printed.splitlines())


@dataclass(frozen=True)
class RunCase:
    """A configuration, as `edge-sim run` plays it to the end of its sources.

    Args:
        name: Name of the file.
        sources: Name -> uri of a synthetic clip.
        watches: Name -> plan.
        model: Of the embeddings.
    """

    name: str
    sources: Mapping[str, str]
    watches: Mapping[str, WatchPlan]
    model: str = MODEL_FREE

    def prepare(self, folder: Path) -> Path:
        """Write the gallery and the configuration, and return the path of the latter."""
        watches = {name: self._section(name, plan, folder) for name, plan in self.watches.items()}
        config = configuration(folder, self.sources, watches, self.model)
        for name, plan in self.watches.items():
            pictures = write_references(folder / f"{name}-pictures", plan)
            edge_sim_prints(
                *("gallery", "import", "-c", config, "--watch", name, "--force", pictures)
            )
        return config

    def play(self, folder: Path, _data: Path | None) -> list[Decision]:
        """Return the decisions."""
        edge_sim_prints("run", "-c", self.prepare(folder))
        return sorted_decisions((folder / "events.jsonl").read_bytes().splitlines())

    def _section(self, name: str, plan: WatchPlan, folder: Path) -> dict[str, Any]:
        roi = scene_roi(plan.scene)
        section = {"roi": [roi.x1, roi.y1, roi.x2, roi.y2], **plan.settings}
        if len(self.sources) > 1:
            section["source"] = plan.scene
        if plan.masked:
            section["mask"] = f"{name}-mask.png"
            plane = np.full((64, 64), 255, np.uint8)
            plane[:, 40:] = 0
            cv2.imwrite(str(folder / section["mask"]), plane)
        return section


def write_references(folder: Path, plan: WatchPlan) -> Path:
    """Write drawn pictures, a folder per state, and return the folder."""
    for state in scene_states(plan.scene):
        (folder / state).mkdir(parents=True)
        for frame in reference_frames(plan.scene, state, plan.references):
            cv2.imwrite(str(folder / state / f"{frame.index}.png"), frame.pixels)
    return folder


@dataclass(frozen=True)
class ClipCase:
    """A real clip beside the checkout, watched whole; its references are some of its own pictures.

    Args:
        title: Name of the file, without the kind of case.
        clip: Folder below `data/sequences`.
        frames: Number of frames that are played.
        references: State -> slice of the pictures, in order, that are its references.
        model: Model of the embeddings.
    """

    title: str
    clip: str
    frames: int
    references: Mapping[str, slice]
    model: str = "default"

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"clip-{self.title}"

    def play(self, folder: Path, data: Path | None) -> list[Decision]:
        """Return the decisions."""
        if data is None:
            raise FileNotFoundError(f"{self.name} needs the labelled pictures beside the checkout")
        clip = data / "sequences" / self.clip
        pictures = sorted(clip.rglob("*.jpg"))
        sources = {"clip": f"folder:{clip}?times=labels.csv"}
        config = configuration(folder, sources, {"site": {}}, self.model)
        for state, part in self.references.items():
            edge_sim_prints(
                *("gallery", "add", "-c", config, "--watch", "site", "--state", state, "--force"),
                *pictures[part],
            )
        edge_sim_prints("run", "-c", config, "--max-frames", self.frames)
        return sorted_decisions((folder / "events.jsonl").read_bytes().splitlines())


@dataclass(frozen=True)
class RowsCase:
    """Random rows of scores, as the decider takes them.

    Args:
        name: Name of the file.
        rows: How many, each with a seed of its own.
        length: Number of observations in each row.
        settings: Settings of the decider, from the generator of the row.
        draw: Returns so many observations.
    """

    name: str
    rows: int
    length: int
    settings: Callable[[random.Random], Settings]
    draw: Callable[[random.Random, int], list[Observation]]

    def play(self, _folder: Path, _data: Path | None) -> list[Decision]:
        """Return the decisions of all rows; the number of a row stands for its watch."""
        found = []
        for seed in range(self.rows):
            rng = random.Random(f"{self.name}/{seed}")
            decider = AdaptiveDecider.following(self.settings(rng))
            origin = EventOrigin("golden", "rows", f"row-{seed:02}", "none", 1)
            for observation in self.draw(rng, self.length):
                change = decider.observe(observation)
                if change is not None:
                    found.append(to_json_line(state_changed(change, origin)))
        return sorted_decisions(found)


STATES = ("open", "ajar", "shut")


def random_settings(rng: random.Random) -> Settings:
    """Return settings without rules; some have a fixed level."""
    levels = {
        state: Level(
            rng.uniform(0.6, 0.9), rng.uniform(0.03, 0.1), rng.uniform(0.1, 0.4), rng.randint(1, 9)
        )
        for state in STATES
    }
    of = rng.randint(1, 7)
    return Settings(
        levels,
        sensitivity=rng.choice((0.2, 0.5, 0.5, 0.8)),
        matches=rng.randint(1, of),
        of=of,
        enter=rng.choice((None, None, 0.7)),
        leave=rng.choice((None, None, 0.4)),
    )


def random_settings_with_rules(rng: random.Random) -> Settings:
    """Return settings whose rules forbid a way and a short stay."""
    plain = random_settings(rng)
    rules = Rules(
        allowed={"open": ("ajar",), "shut": ("ajar",)},
        min_duration_s={rng.choice(STATES): rng.uniform(2.0, 20.0)},
    )
    return Settings(
        plain.levels, plain.sensitivity, plain.matches, plain.of, plain.enter, plain.leave, rules
    )


def random_looks(rng: random.Random, count: int) -> list[Observation]:
    """Return observations of a watch whose true state wanders, with all that may be in the way."""
    found = []
    true, at_s, condition = rng.choice(STATES), 0.0, "day"
    impediment: UnknownReason | None = None
    for index in range(count):
        if rng.random() < 0.06:
            true = rng.choice(STATES)
        if rng.random() < 0.03:
            condition = rng.choice(("day", "dusk", "ir", "dark"))
        if rng.random() < (0.4 if impediment else 0.04):
            impediment = rng.choice((None, *_IMPEDIMENTS))
        at_s += 1.0 if rng.random() < 0.97 else rng.choice((0.0, 5.0, 60.0, -10.0))
        match = None if rng.random() < 0.01 else random_match(rng, true)
        quality = Quality(120.0, 40.0, 300.0, 12.0, 0.0, 0.0)
        found.append(Observation(at_s, 1e9 + at_s, index, match, condition, impediment, quality))
    return found


_IMPEDIMENTS = (
    UnknownReason.DARK,
    UnknownReason.OVEREXPOSED,
    UnknownReason.BLURRED,
    UnknownReason.COVERED,
    UnknownReason.CAMERA_MOVED,
    UnknownReason.LIGHTING,
    UnknownReason.NOVEL,
    UnknownReason.FROZEN,
)


def fading_looks(rng: random.Random, count: int) -> list[Observation]:
    """Return clear observations whose scores fall so slowly that a decider learns to follow."""
    found = []
    true = rng.choice(STATES)
    quality = Quality(120.0, 40.0, 300.0, 12.0, 0.0, 0.0)
    for index in range(count):
        if index % 60 == 59:
            true = rng.choice(STATES)
        combined = 0.8 - 0.35 * index / count + rng.uniform(-0.03, 0.03)
        states = [
            StateScore(
                state,
                f"{state}-1",
                Score(0.5, None, combined if state == true else 0.2),
                0.96 if state == true else 0.02,
            )
            for state in STATES
        ]
        match = Match(tuple(sorted(states, key=lambda item: -item.probability)))
        found.append(Observation(float(index), 1e9 + index, index, match, "day", None, quality))
    return found


def random_match(rng: random.Random, true: str) -> Match:
    """Return a match that mostly speaks for the state `true`, more or less clearly."""
    weights = {state: rng.uniform(0.02, 0.6) for state in STATES}
    weights[true] += rng.choice((0.1, 0.6, 2.0, 6.0, 6.0))
    familiar = rng.random() < 0.9
    total = sum(weights.values())
    states = [
        StateScore(
            state,
            f"{state}-{rng.randint(1, 4)}",
            Score(
                rng.uniform(0.0, 1.0),
                rng.uniform(0.0, 1.0),
                rng.uniform(0.55, 0.95) if state == true and familiar else rng.uniform(0.0, 0.6),
            ),
            weight / total,
        )
        for state, weight in weights.items()
    ]
    return Match(tuple(sorted(states, key=lambda item: -item.probability)))


Case = DemoCase | RunCase | ClipCase | RowsCase


def uses_a_model(case: Case) -> bool:
    """Return whether embeddings of a model, which runtimes round differently, decide a case."""
    return not isinstance(case, RowsCase) and case.model != MODEL_FREE


_USUAL = "noise,light_drift,shadow,hand"
DEMOS = (
    DemoCase("bowl", 26, _USUAL),
    DemoCase("bowl", 14, "noise,person,exposure"),
    DemoCase("bowl", 7, "noise,covered,light_on", references=2),
    DemoCase("bowl", 11, "bump_large,noise", frames=160, model=MODEL_FREE),
    DemoCase("gate", 14, "noise,light_drift"),
    DemoCase("gate", 1, "ir,noise"),
    DemoCase("gate", 5, "bump,person,covered", references=3),
    DemoCase("gate", 11, "ir,covered,exposure", model=MODEL_FREE),
    DemoCase("lamp", 4, "noise,shadow"),
    DemoCase("lamp", 2, "light_on,noise"),
    DemoCase("lamp", 9, "bump_large,exposure,hand"),
    DemoCase("lamp", 11, "covered,noise", references=1, model=MODEL_FREE),
    DemoCase("parking", 26, _USUAL),
    DemoCase("parking", 14, "person,noise"),
    DemoCase("parking", 4, "covered,bump,hand", references=3),
    DemoCase("parking", 11, "", model=MODEL_FREE),
)

_RULES = {
    "rules": {
        "allowed": {"free": ["taken"], "taken": []},
        "min_duration_s": {"taken": 12.0},
        "max_duration_s": {"free": 9.0},
        "overdue_s": {"taken": 5.0, "free": 4.0},
        "repeat_s": 4.0,
    }
}
_PROBLEMS = {
    "problems": {
        "report": [
            *("camera_moved", "covered", "lighting", "defocused"),
            *("frozen", "dark", "overexposed"),
        ],
        "raise_after_s": 0.6,
        "clear_after_s": 2.0,
        "min_interval_s": 5.0,
    },
    "drift_every_s": 0.4,
}
RUNS = (
    RunCase(
        "run-many-watches",
        {"camera": "synthetic:parking?seed=6&frames=230&dwell_s=9&nuisances=noise,covered,person"},
        {
            "plain": WatchPlan("parking"),
            "no-gate": WatchPlan("parking", {"gate": False}),
            "masked": WatchPlan("parking", masked=True),
            "rules": WatchPlan("parking", _RULES),
            "problems": WatchPlan("parking", _PROBLEMS),
            "rarely": WatchPlan("parking", {"interval_s": 1.5, "recheck_s": 0.4}),
            "strict": WatchPlan(
                "parking", {"sensitivity": 0.2, "confirm": {"matches": 4, "of": 6}}
            ),
            "quick": WatchPlan("parking", {"sensitivity": 0.9, "confirm": {"matches": 1, "of": 1}}),
            "one-picture": WatchPlan("parking", references=1),
        },
    ),
    RunCase(
        "run-two-sources",
        {
            "lamp": "synthetic:lamp?seed=4&frames=150&dwell_s=8&nuisances=noise,exposure",
            "bowl": "synthetic:bowl?seed=4&frames=130&dwell_s=8&nuisances=covered,bump_large",
        },
        {
            "lamp": WatchPlan("lamp"),
            "lamp-problems": WatchPlan("lamp", _PROBLEMS),
            "bowl": WatchPlan("bowl"),
            "bowl-problems": WatchPlan("bowl", _PROBLEMS),
        },
        model="default",
    ),
    RunCase(
        "run-drift",
        {"camera": "synthetic:bowl?seed=3&frames=140&dwell_s=12&nuisances=light_drift,shadow"},
        {"bowl": WatchPlan("bowl", {"drift_every_s": 0.2, "gate": False}, references=12)},
    ),
)
CLIPS = (
    ClipCase(
        "container",
        "sitecam_container_removed",
        180,
        {"present": slice(2, 132, 10), "gone": slice(160, 290, 20)},
    ),
    ClipCase(
        "container-thumbnail",
        "sitecam_container_removed",
        180,
        {"present": slice(0, 40, 8), "gone": slice(170, 250, 16)},
        MODEL_FREE,
    ),
    ClipCase(
        "hotels",
        "sitecam_hotels_daynight",
        140,
        {"day": slice(40, 60, 5), "night": slice(4, 20, 4)},
    ),
    ClipCase(
        "highway", "highway_traffic", 120, {"calm": slice(130, 140, 2), "busy": slice(200, 240, 8)}
    ),
)
ROWS = (
    RowsCase("rows-plain", 16, 120, random_settings, random_looks),
    RowsCase("rows-rules", 16, 120, random_settings_with_rules, random_looks),
    RowsCase("rows-fading", 4, 2400, random_settings, fading_looks),
)
CASES: Sequence[Case] = (*DEMOS, *RUNS, *CLIPS, *ROWS)


def kept_decisions(name: str) -> list[Decision]:
    """Return the decisions of a case as they were made once."""
    path = FOLDER / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def keep_decisions(name: str, decisions: Sequence[Decision]) -> Path:
    """Write the decisions of a case and return the path."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.jsonl"
    lines = [json.dumps(item, separators=(",", ":")) for item in decisions]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
