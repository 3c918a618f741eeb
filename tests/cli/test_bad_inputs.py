"""Every verb with bad inputs: the right exit code, one line, never a traceback."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from edge_sim.cli.main import build_parser, main
from tests.devices import make_device

REPOSITORY = Path(__file__).resolve().parents[2]
Captured = pytest.CaptureFixture[str]

THUMBNAIL = ("--model", "thumbnail")
WITH_PATH: tuple[tuple[str, ...], ...] = (
    ("run", "-c", "{}"),
    ("run", "-c", "config.yaml", "--source", "{}"),
    ("run", "-c", "config.yaml", "--score-log", "{}/log"),
    ("run", "-c", "config.yaml", "--report", "{}/out.html"),
    ("daemon", "-c", "{}"),
    ("daemon", "-c", "config.yaml", "--state-dir", "{}"),
    ("install-service", "--program", "edge-sim", "--root", "{}", "-c", "{}"),
    ("teach", "lamp", "on", "-c", "{}"),
    ("check", "-c", "{}"),
    ("web", "users", "-c", "{}"),
    ("web", "passwd", "ann", "-c", "{}"),
    ("web", "role", "ann", "admin", "-c", "{}"),
    ("web", "remove", "ann", "-c", "{}"),
    ("compare", "{}", "in/a.png"),
    ("compare", "in/a.png", "{}"),
    ("check", "-c", "config.yaml", "--masks", "{}"),
    ("capture", "{}", "--out", "out"),
    ("capture", "synthetic:lamp", "--out", "{}/out"),
    ("gallery", "add", "{}", "--watch", "w", "--state", "s", *THUMBNAIL),
    ("gallery", "add", "in", "--watch", "w", "--state", "s", "--gallery", "{}", *THUMBNAIL),
    ("gallery", "capture", "{}", "--watch", "w", "--state", "s", *THUMBNAIL),
    ("gallery", "review", "--review-folder", "{}"),
    ("gallery", "review", "all", "--teach", "on", "--review-folder", "{}", *THUMBNAIL),
    ("gallery", "review", "all", "--discard", "--review-folder", "{}"),
    ("gallery", "list", "--gallery", "{}"),
    ("gallery", "show", "{}"),
    ("gallery", "show", "r1", "--out", "{}/r1.png"),
    ("gallery", "stats", "--gallery", "{}"),
    ("gallery", "log", "--gallery", "{}"),
    ("gallery", "diff", "1", "--gallery", "{}"),
    ("gallery", "verify", "--gallery", "{}"),
    ("gallery", "rm", "r1", "--gallery", "{}"),
    ("gallery", "rm", "{}"),
    ("gallery", "relabel", "r1", "--state", "s", "--gallery", "{}"),
    ("gallery", "mv", "r1", "--watch", "w", "--gallery", "{}"),
    ("gallery", "tag", "r1", "--add", "t", "--gallery", "{}"),
    ("gallery", "audit", "--gallery", "{}"),
    ("gallery", "audit", "--report", "{}/out.html"),
    ("gallery", "prune", "--keep", "1", "--gallery", "{}"),
    ("gallery", "dedupe", "--gallery", "{}"),
    ("gallery", "undo", "--gallery", "{}"),
    ("gallery", "rollback", "1", "--gallery", "{}"),
    ("gallery", "purge", "--gallery", "{}"),
    ("gallery", "backup", "copy.db", "--gallery", "{}"),
    ("gallery", "backup", "{}/copy.db"),
    ("gallery", "restore", "{}", "--gallery", "new.db"),
    ("gallery", "import", "{}", "--watch", "w", *THUMBNAIL),
    ("gallery", "export", "{}/out", "--watch", "lamp"),
    ("gallery", "export", "out", "--watch", "lamp", "--gallery", "{}"),
    ("gallery", "reembed", "--gallery", "{}", *THUMBNAIL),
    ("index", "build", "{}", "--out", "new", *THUMBNAIL),
    ("index", "build", "in", "--out", "{}/index", *THUMBNAIL),
    ("index", "build", "in", "--out", "new", *THUMBNAIL, "--config", "{}"),
    ("index", "import", "{}", "ids.csv", "--out", "new", "--model-id", "m"),
    ("index", "add", "{}"),
    ("index", "rm", "{}", "x"),
    ("index", "list", "{}"),
    ("index", "tag", "{}", "x", "--add", "t"),
    ("index", "tags", "{}"),
    ("index", "export", "{}", "out"),
    ("index", "map", "{}", "out.csv"),
    ("index", "info", "{}"),
    ("index", "verify", "{}"),
    ("index", "measure", "{}"),
    ("index", "merge", "{}/index", "index"),
    ("index", "merge", "merged", "{}"),
    ("pack", "build", "{}/x.pack", "--name", "n", "--version", "1", "--target", "t", *THUMBNAIL),
    ("pack", "publish", "{}", "--key", "in/a.png"),
    ("pack", "publish", "packs", "--key", "{}"),
    ("pack", "sign", "{}", "--key", "in/a.png"),
    ("pack", "verify", "{}"),
    ("pack", "status", "{}"),
    ("pack", "apply", "{}", "-c", "config.yaml"),
    ("pack", "rollback", "--gallery", "{}"),
    ("pack", "rollback", "-c", "{}"),
    ("pack", "key", "new", "{}/key"),
    ("pack", "key", "root", "{}", "--root", "in/a.png", "--packs", "in/a.png", "--key", "in/a.png"),
    ("collect", "search", "{}", "--database", "host=/nowhere", *THUMBNAIL),
    ("collect", "search", "--vector", "{}", "--database", "host=/nowhere", *THUMBNAIL),
    ("collect", "serve", "-c", "{}", "--database", "host=/nowhere"),
    ("search", "--query", "{}", "--gallery", "gallery.db", *THUMBNAIL),
    ("search", "--query", "in/a.png", "--gallery", "{}", *THUMBNAIL),
    ("search", "--query", "in/a.png", "--index", "{}", *THUMBNAIL),
    ("search", "--query", "in/a.png", "--gallery", "gallery.db", *THUMBNAIL, "--model", "{}"),
    ("duplicates", "{}"),
    ("duplicates", "in", "--delete-list", "{}/list"),
    ("duplicates", "in", "--report", "{}/out.html"),
    ("calibrate", "--pairs", "{}"),
    ("calibrate", "--gallery", "{}"),
    ("calibrate", "--folder", "{}", *THUMBNAIL),
    ("stats", "{}"),
    ("stats", "empty", "--gallery", "{}"),
    ("explain", "last", "-c", "{}"),
    ("explain", "last", "--explanations", "{}"),
    ("explain", "last", "--score-log", "{}"),
    ("explain", "last", "--events", "{}"),
    ("replay", "--from-scores", "{}"),
    ("evaluate", "states", "{}", *THUMBNAIL),
    ("evaluate", "events", "{}", *THUMBNAIL),
    ("evaluate", "retrieval", "{}", *THUMBNAIL),
    ("embed", "in", "--out", "{}/e.npy", *THUMBNAIL),
    ("embed", "in", "--out", "e.npy", "--model", "{}"),
    ("doctor", "--model", "{}"),
    ("bench", "--rounds", "1", "--model", "{}"),
    ("demo", "--frames", "5", "--model", "{}"),
    ("demo", "--frames", "5", *THUMBNAIL, "--score-log", "{}/log"),
    ("model", "list", "--folder", "{}"),
    ("model", "info", "{}"),
    ("model", "verify", "{}"),
    ("model", "import", "{}", "--out", "out.tflite"),
    ("model", "import-text", "{}"),
    ("index", "build", "in", "--out", "new", *THUMBNAIL, "--text-model", "{}"),
    ("model", "pull", "v3-small", "--from", "{}", "--folder", "models"),
    ("model", "pull", "{}", "--sha256", "0" * 64),
    ("model", "adapt", "--gallery", "{}"),
)
"""Arguments of every verb that takes a path; `{}` is the bad one."""
NOT_PATHS = frozenset(
    {
        *("schema", "discover", "setup", "index plan"),
        *("collect run", "collect status", "collect events"),  # addresses, and no file
        *("collect counts", "collect keep"),
    }
)
"""Verbs without a path, and `setup`, which makes what is missing."""
REQUIRED: dict[tuple[str, ...], tuple[str, ...]] = {
    ("index", "plan"): ("--rows", "10"),
    ("collect", "keep"): ("--site", "yard"),
}
PATHS = {
    "missing": "no-such",
    "undecodable": os.fsdecode(b"caf\xe9"),
    "long": "x" * 300,
    "control": "a\x1b[2Jb\nc",
    "folder": "folder",
    "garbage": "garbage",
    "empty": "empty",
}
VALUES = ("nan", "inf", "-1", "1e999", "", "many", "9" * 30, "\x1b[2J", os.fsdecode(b"caf\xe9"))


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a device, pictures, and files that are nothing."""
    folder = tmp_path_factory.mktemp("bad")
    make_device(folder, uri="synthetic:lamp?seed=1&frames=3&live=0")
    (folder / "folder").mkdir()
    (folder / "garbage").write_bytes(bytes(range(256)) * 8)
    (folder / "empty").touch()
    assert main(["capture", "synthetic:lamp", "--out", str(folder / "in"), "--count", "2"]) == 0
    log = ["--score-log", str(folder / "log"), "--score-every", "0"]
    assert main(["run", "-c", str(folder / "config.yaml"), *log]) == 0
    index = ["--out", str(folder / "index"), "--model", "thumbnail"]
    assert main(["index", "build", str(folder / "in"), *index]) == 0
    (folder / "in" / "frame-000001.png").rename(folder / "in" / "a.png")
    return folder


@pytest.fixture(autouse=True)
def here(device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> Path:
    shutil.copytree(device, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    capsys.readouterr()
    return tmp_path


def leaves(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    groups = [
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    ]
    if not groups:
        yield words
    for group in groups:
        for name, child in group.choices.items():
            yield from leaves(child, (*words, name))


VERBS = sorted(leaves(build_parser()))


def verb_of(arguments: Sequence[str]) -> tuple[str, ...]:
    return next(verb for verb in VERBS if tuple(arguments[: len(verb)]) == verb)


def test_every_verb_is_in_the_table() -> None:
    tried = {verb_of(arguments) for arguments in WITH_PATH}
    assert {" ".join(verb) for verb in VERBS if verb not in tried} == NOT_PATHS


def outcome(arguments: Sequence[str], capsys: Captured) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr; fail on an error that nobody translated."""
    try:
        code = main(list(arguments))
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    printed = capsys.readouterr()
    said = printed.out + printed.err
    assert "internal error" not in said
    assert "Traceback" not in said
    assert "\x1b" not in said
    return code, printed.out, printed.err


def error_lines(arguments: Sequence[str], capsys: Captured) -> tuple[int, list[str]]:
    """Return the exit code and the lines of errors; `doctor` reports problems as its result."""
    code, out, err = outcome(arguments, capsys)
    problems = [line for line in out.splitlines() if line.startswith("PROBLEM: ")][:1]
    return code, [*problems, *(line for line in err.splitlines() if line.startswith("edge-sim"))]


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("arguments", WITH_PATH, ids=" ".join)
def test_a_bad_path_is_one_line(arguments: tuple[str, ...], kind: str, capsys: Captured) -> None:
    code, lines = error_lines([word.replace("{}", PATHS[kind]) for word in arguments], capsys)
    assert code in (0, 1, 2, 78)
    assert len(lines) == (0 if code == 0 else 1)


def options_of(verb: tuple[str, ...]) -> list[str]:
    """Return the options of a verb that take a value which is no path and no choice."""
    parser: argparse.ArgumentParser = build_parser()
    for word in verb:
        (group,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = group.choices[word]
    return [
        action.option_strings[-1]
        for action in parser._actions
        if action.option_strings and action.nargs is None and action.type is not Path
    ]


AFTER = {
    "-c": "config.yaml",
    "--gallery": "gallery.db",
    "--query": "in/a.png",
    "--index": "index",
    "--model": "thumbnail",
    "--score-log": "log",
    "--explanations": "empty",
    "--from-scores": "log",
    "stats": "log",
    "capture": "synthetic:lamp",
    "show": "r1",
    "rm": "r1",
    "doctor": "thumbnail",
} | {f"index {verb}": "index" for verb in ("add", "rm", "info", "verify", "measure")}


def completed(arguments: tuple[str, ...]) -> list[str]:
    """Return arguments that name what is there."""
    words: list[str] = []
    for at, word in enumerate(arguments):
        before = arguments[at - 1] if at else ""
        good = AFTER.get(f"{arguments[0]} {before}", AFTER.get(before, "in"))
        words.append(word.replace("{}", "folder" if "/" in word else good))
    return words


COMPLETE = {verb_of(arguments): completed(arguments) for arguments in WITH_PATH[::-1]}
ENDLESS = {(("run",), "--source")}  # the number of a camera that `run` waits for
OPTIONS = [
    (verb, option)
    for verb in VERBS
    if verb in COMPLETE
    for option in options_of(verb)
    if (verb, option) not in ENDLESS
]


@pytest.mark.parametrize(("verb", "option"), OPTIONS, ids=lambda value: "".join(value))
def test_a_bad_value_of_an_option_is_one_line(
    verb: tuple[str, ...], option: str, capsys: Captured
) -> None:
    for value in VALUES:
        code, lines = error_lines([*COMPLETE[verb], f"{option}={value}"], capsys)
        assert code in (0, 1, 2, 78), value
        assert len(lines) == (0 if code == 0 else 1), value


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_an_unknown_option_prints_the_usage_of_its_verb(
    verb: tuple[str, ...], capsys: Captured
) -> None:
    complete = COMPLETE.get(verb, (*verb, *REQUIRED.get(verb, ("event",))))
    code, out, err = outcome([*complete, "--jsn"], capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"usage: edge-sim {' '.join(verb)} [-h]")
    assert err.splitlines()[-1].startswith(
        f"edge-sim {' '.join(verb)}: error: unknown option --jsn"
    )


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["rnu"], "unknown command 'rnu' (did you mean 'run'?)"),
        (["gallery", "lst"], "unknown verb 'lst' (did you mean 'list'?)"),
        (["index", "bild"], "unknown verb 'bild' (did you mean 'build'?)"),
        (["stats", "a", "--galery", "b"], "unknown option --galery (did you mean '--gallery'?)"),
        (["schema", "evnt"], "'evnt' (did you mean 'event'?)"),
        (["model", "pull", "v3-smal"], "'v3-smal' (did you mean 'v3-small'?)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistyped_word_gets_a_hint(arguments: list[str], hint: str, capsys: Captured) -> None:
    code, _, err = outcome(arguments, capsys)
    assert code == 2
    assert hint in err.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["schema", "config"], ["gallery", "list"], ["doctor"]])
def test_a_full_disk_behind_stdout_is_one_line(arguments: list[str], here: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edge_sim", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("edge-sim")]
    assert lines == ["edge-sim: cannot write: No space left on device"]
    assert "Traceback" not in done.stderr
