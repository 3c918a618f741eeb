"""A configuration is read strictly: what it says is what runs, and a mistake names itself."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.config import Config, FileSink, SourceConfig, WatchConfig, load_config, parse_config
from edge_sim.errors import ConfigError

MINIMAL = """\
sources:
  yard: {uri: "synthetic:gate"}
watches:
  gate: {roi: [0.1, 0.2, 0.5, 0.6]}
"""


def test_what_is_left_out_keeps_its_default() -> None:
    config = parse_config(MINIMAL, where="test")
    assert config.device == "edge_sim"
    assert config.sources["yard"] == SourceConfig(uri="synthetic:gate")
    assert config.watches["gate"] == WatchConfig(roi=(0.1, 0.2, 0.5, 0.6))


def test_an_empty_file_is_all_defaults() -> None:
    assert parse_config("", where="test") == Config()


def test_the_default_file_says_exactly_the_defaults(repository: Path) -> None:
    config = load_config(repository / "configs" / "default.yaml")
    plain = Config(
        sources={"camera": SourceConfig(uri="synthetic:bowl")},
        watches={"bowl": WatchConfig()},
        folder=config.folder,
    )
    assert config == plain


@pytest.mark.parametrize("section", [Config, SourceConfig, WatchConfig], ids=lambda s: s.__name__)
def test_the_default_file_shows_every_key(repository: Path, section: type[msgspec.Struct]) -> None:
    table = yaml.safe_load((repository / "configs" / "default.yaml").read_text())
    shown = {
        Config: table,
        SourceConfig: table["sources"]["camera"],
        WatchConfig: table["watches"]["bowl"],
    }[section]
    assert set(shown) == {field.name for field in msgspec.structs.fields(section)} - {"folder"}


def configs() -> list[Path]:
    return sorted((Path(__file__).resolve().parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", configs(), ids=lambda path: path.name)
def test_every_example_is_valid(path: Path) -> None:
    config = load_config(path, {"CAMERA_PASSWORD": "secret"})
    assert config.sources
    assert config.watches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("devise: x", "test:1: unknown key 'devise' (did you mean 'device'?)"),
        (
            MINIMAL + "    sensitivty: 0.4\n",
            "test:5:",
        ),
        (
            "watches:\n  gate:\n    intervall_s: 2\n",
            "test:3: unknown key 'watches.gate.intervall_s' (did you mean 'interval_s'?)",
        ),
        ("model:\n  threads: none\n", "test:2: model.threads: Expected int, got str"),
        ("model:\n  threads: 0\n", "test:2: model.threads: Expected int >= 1"),
        ("model:\n  runtime: torch\n", "test:2: model.runtime: Invalid enum value 'torch'"),
        ("sources:\n  yard: {}\n", "test:2: sources.yard: the key 'uri' is missing"),
        ("sources: 3\n", "test:1: sources: needs `key: value` lines"),
        (
            MINIMAL.replace("0.5", "0.05"),
            "test:4: watches.gate.roi: roi must be [x1, y1, x2, y2]",
        ),
        (MINIMAL.replace("0.6]", "1.6]"), "test:4: watches.gate.roi[3]: Expected float <= 1"),
        (MINIMAL.replace(", 0.6]", "]"), "test:4: watches.gate.roi: needs 4 values, got 3"),
        (MINIMAL.replace("gate:", "unknown:"), "the name 'unknown' is reserved"),
        (MINIMAL.replace("gate:", "'my gate':"), "a name has 1 to 64 letters, digits, _ or -"),
        (
            MINIMAL.replace("{roi", "{source: yart, roi"),
            "watches.gate.source: there is no source 'yart' (did you mean 'yard'?)",
        ),
        (MINIMAL.replace("{roi", "{states: [open, unknown], roi"), "'unknown' is reserved"),
        ("watches:\n  gate: {}\n", "test:2: watches.gate: say which source it watches"),
        (
            MINIMAL.replace("{roi", "{confirm: {matches: 4, of: 3}, roi"),
            "matches 4 is more than of 3",
        ),
        ("sinks:\n  - kind: stdut\n", "test:2: sinks[0]: unknown kind 'stdut'"),
        ("sinks:\n  - path: x\n", "test:2: sinks[0]: the key 'kind' is missing"),
        ("device: a\ndevice: b\n", "test:2: the key 'device' is given twice"),
        ("device: [\n", "test:2:"),
        ("- a\n", "test:1: the file: needs `key: value` lines"),
        ("device: !!python/object/apply:os.system [ls]\n", "test:1: device:"),
        ("folder: /etc\n", "unknown key 'folder'"),
    ],
)
def test_a_mistake_names_its_key_and_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, where="test")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_secret_comes_from_the_given_environment_only() -> None:
    text = MINIMAL.replace("synthetic:gate", "rtsp://me:${PASSWORD}@cam/1")
    config = parse_config(text, where="test", environ={"PASSWORD": "s3cret"})
    assert config.sources["yard"].uri == "rtsp://me:s3cret@cam/1"
    with pytest.raises(ConfigError, match="the environment has no PASSWORD"):
        parse_config(text, where="test")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot read the configuration"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00device")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        load_config(path)


def test_a_state_may_be_called_on_or_off_without_quotes() -> None:
    config = parse_config(MINIMAL.replace("{roi", "{states: [on, off, 12], roi"), where="test")
    assert config.watches["gate"].states == ("on", "off", "12")


def test_sinks_of_every_kind_are_read() -> None:
    config = parse_config("sinks:\n  - kind: file\n    path: a.jsonl\n", where="test")
    assert config.sinks == (FileSink(path="a.jsonl"),)


def error_of(text: str) -> str | None:
    try:
        parse_config(text, where="test")
    except ConfigError as error:
        return str(error)
    return None


def is_one_line(error: str | None) -> bool:
    return error is None or (error.startswith("test") and "\n" not in error)


@given(text=st.text(max_size=200))
def test_any_text_is_a_configuration_or_one_line_of_error(text: str) -> None:
    assert is_one_line(error_of(text))


@given(
    table=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["device", "sources", "watches", "sinks", "uri", "roi", "kind", "a"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_any_structure_is_a_configuration_or_one_line_of_error(table: object) -> None:
    assert is_one_line(error_of(yaml.safe_dump(table)))
