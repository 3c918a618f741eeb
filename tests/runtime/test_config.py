"""A configuration is read strictly: what it says is what runs, and a mistake names itself."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.options import descriptions_of, in_words, json_schema_of, keys_of, structs_in
from edge_sim.decision.rules import Rules
from edge_sim.decision.scene_problems import ReportingPolicy
from edge_sim.errors import ConfigError, DataError, ModelError, SinkError
from edge_sim.io.sinks import KINDS, open_sink
from edge_sim.io.sinks.options import FileOptions, MqttOptions, WebhookOptions
from edge_sim.runtime.config import Config, SourceConfig, WatchConfig, load_config, parse_config
from edge_sim.runtime.config.service import DaemonConfig, UpdatesConfig, WebConfig
from edge_sim.runtime.config.sinks import OutboxConfig, kind_of
from edge_sim.runtime.score_log import ScoreLog, read_lines
from edge_sim.vision.embedders import open_embedder

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
        places=config.places,
    )
    assert config == plain


@pytest.mark.parametrize(
    "section",
    [
        Config,
        SourceConfig,
        WatchConfig,
        Rules,
        ReportingPolicy,
        OutboxConfig,
        DaemonConfig,
        WebConfig,
        UpdatesConfig,
    ],
    ids=lambda s: s.__name__,
)
def test_the_default_file_shows_every_key(repository: Path, section: type[msgspec.Struct]) -> None:
    table = yaml.safe_load((repository / "configs" / "default.yaml").read_text())
    shown = {
        Config: table,
        SourceConfig: table["sources"]["camera"],
        WatchConfig: table["watches"]["bowl"],
        Rules: table["watches"]["bowl"]["rules"],
        ReportingPolicy: table["watches"]["bowl"]["problems"],
        OutboxConfig: table["outbox"],
        DaemonConfig: table["daemon"],
        WebConfig: table["web"],
        UpdatesConfig: table["updates"],
    }[section]
    assert set(shown) == set(keys_of(section))


def commented_sinks(repository: Path) -> str:
    """The list of all kinds of sinks that the default file shows in a comment."""
    lines = (repository / "configs" / "default.yaml").read_text().splitlines()
    start = lines.index("#   - kind: stdout             # JSON lines on standard output")
    end = lines.index("sinks:")
    return "sinks:\n" + "\n".join(line[1:] for line in lines[start:end])


def test_the_default_file_shows_every_kind_of_sink_with_every_key_and_default(
    repository: Path,
) -> None:
    text = commented_sinks(repository)
    sinks = parse_config(text, where="test").sinks
    assert [kind_of(sink) for sink in sinks] == list(KINDS)
    for sink, table in zip(sinks, yaml.safe_load(text)["sinks"], strict=True):
        fields = keys_of(type(sink))
        assert set(table) == {"kind", *fields}
        needed = {name: table[name] for name, field in fields.items() if field.required}
        plain = msgspec.convert({"kind": table["kind"], **needed}, type(sink))
        assert sink == plain


def configs() -> list[Path]:
    return sorted((Path(__file__).resolve().parent.parent.parent / "configs").glob("*.yaml"))


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
        ("model:\n  threads: none\n", "test:2: model.threads: needs a whole number, got text"),
        ("model:\n  threads: 0\n", "test:2: model.threads: needs a whole number of at least 1"),
        ("model:\n  runtime: torch\n", "test:2: model.runtime: unknown value 'torch'"),
        ("sources:\n  yard: {}\n", "test:2: sources.yard: the key 'uri' is missing"),
        ("sources: 3\n", "test:1: sources: needs `key: value` lines"),
        (
            MINIMAL.replace("0.5", "0.05"),
            "test:4: watches.gate.roi: roi must be [x1, y1, x2, y2]",
        ),
        (
            MINIMAL.replace("0.6]", "1.6]"),
            "test:4: watches.gate.roi: needs fractions of the frame",
        ),
        (MINIMAL.replace(", 0.6]", "]"), "test:4: watches.gate.roi: needs 4 values, got 3"),
        (MINIMAL.replace("gate:", "unknown:"), "the name 'unknown' is reserved"),
        (MINIMAL.replace("gate:", "Unknown:"), "the name 'Unknown' is reserved"),
        (MINIMAL.replace("{roi", "{states: [open, NONE], roi"), "'NONE' is reserved"),
        (MINIMAL.replace("gate:", '"gate\\n":'), "a name has 1 to 64 letters, digits, _ or -"),
        (MINIMAL.replace("gate:", "'my gate':"), "a name has 1 to 64 letters, digits, _ or -"),
        (
            MINIMAL.replace("{roi", "{source: yart, roi"),
            "watches.gate.source: there is no source 'yart' (did you mean 'yard'?)",
        ),
        (MINIMAL.replace("{roi", "{states: [open, unknown], roi"), "'unknown' is reserved"),
        ("watches:\n  gate: {}\n", "test:2: watches.gate: the key source is missing"),
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
        (
            "sources:\n  c:\n    uri: x\n    open_timeout_s: .inf\n",
            "test:3: sources.c: open_timeout_s must be above 0, got inf",
        ),
        (
            "sinks: [{kind: mqtt, backoff_s: [1]}]\n",
            "test:1: unknown key 'sinks[0].backoff_s' (known: host, port",
        ),
        ("daemon:\n  nice: 20\n", "test:2: daemon.nice: needs a whole number of at most 19"),
        ("daemon:\n  cpu_share: 0\n", "test:2: daemon.cpu_share: needs a number above 0"),
        ("web:\n  listen: here\n", "test:2: web.listen:"),
        ("web:\n  listen: 127.0.0.1:70000\n", "test:2: web.listen: there is no port 70000"),
        (
            "web:\n  listen: '127.0.0.1:1'\n  trusted_proxies: [proxy]\n",
            "test:3: web.trusted_proxies: 'proxy' is no address",
        ),
        ("web:\n  listen: 'localhost:80'\n  key: k.pem\n", "only of use together"),
        ("web:\n  token: short\n", "test:2: web.token: needs text with a length of at least 16"),
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


def test_a_file_takes_secrets_from_the_environment_of_the_process_unless_another_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(MINIMAL.replace("synthetic:gate", "rtsp://me:${YARD_PASSWORD}@cam/1"))
    monkeypatch.setenv("YARD_PASSWORD", "s3cret")
    assert load_config(path).sources["yard"].uri == "rtsp://me:s3cret@cam/1"
    with pytest.raises(ConfigError, match="the environment has no YARD_PASSWORD"):
        load_config(path, {})


@pytest.mark.parametrize(
    ("sink", "key"),
    [
        ("kind: mqtt\n    username: me", "password"),
        ("kind: webhook\n    url: https://h/", "secret"),
        ("kind: webhook\n    url: https://h/", "token"),
    ],
    ids=["mqtt", "signature", "token"],
)
def test_secrets_of_sinks_come_from_the_environment_and_do_not_show(sink: str, key: str) -> None:
    text = f"sinks:\n  - {sink}\n    {key}: ${{HIDDEN}}\n"
    config = parse_config(text, where="test", environ={"HIDDEN": "s3cret"})
    assert getattr(config.sinks[0], key) == "s3cret"
    assert "s3cret" not in repr(config)
    assert "s3cret" not in str(config)
    with pytest.raises(ConfigError, match="the environment has no HIDDEN"):
        parse_config(text, where="test")


def test_nothing_but_secrets_is_taken_from_the_environment() -> None:
    text = "sinks:\n  - kind: mqtt\n    host: ${HIDDEN}\n"
    config = parse_config(text, where="test", environ={"HIDDEN": "s3cret"})
    assert config.sinks == (MqttOptions(host="${HIDDEN}"),)


def test_a_webhook_needs_an_address() -> None:
    with pytest.raises(ConfigError, match=r"sinks\[0\]: the key 'url' is missing"):
        parse_config("sinks:\n  - kind: webhook\n", where="test")
    assert WebhookOptions(url="https://h/").timeout_s == 10.0


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


def test_null_switches_a_default_off_where_that_means_something() -> None:
    text = MINIMAL.replace('"}', '", frozen_timeout_s: null, rotate: null}')
    assert parse_config(MINIMAL, where="test").sources["yard"].frozen_timeout_s is not None
    source = parse_config(text, where="test").sources["yard"]
    assert source.frozen_timeout_s is None
    assert source.rotate == 0


def test_sinks_of_every_kind_are_read() -> None:
    config = parse_config("sinks:\n  - kind: file\n    path: a.jsonl\n", where="test")
    assert config.sinks == (FileOptions(path="a.jsonl"),)


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


def test_the_server_may_listen_beyond_this_machine_with_a_token() -> None:
    text = "web: {listen: '[::]:9713', token: '${TOKEN}'}\n"
    config = parse_config(text, where="test", environ={"TOKEN": "0123456789abcdef"})
    assert config.web.address == ("::", 9713)
    assert config.web.token == "0123456789abcdef"


RULED = "sources: {c: {uri: x}}\nwatches:\n  gate:\n    states: [open, closed]\n    rules:\n"


def test_rules_become_the_value_that_a_watch_goes_by() -> None:
    text = RULED + (
        "      allowed: {closed: [open]}\n"
        "      min_duration_s: {open: 2}\n"
        "      max_duration_s: {open: 3600}\n"
        "      overdue_s: {open: 600}\n"
        "      repeat_s: 300\n"
    )
    assert parse_config(text, where="test").watches["gate"].rules == Rules(
        {"closed": ("open",)}, {"open": 2.0}, {"open": 3600.0}, {"open": 600.0}, 300.0
    )


def test_states_called_on_and_off_are_states_in_rules_too() -> None:
    text = RULED.replace("[open, closed]", "[on, off]") + "      allowed: {on: [off]}\n"
    rules = parse_config(text, where="test").watches["gate"].rules
    assert rules.allowed == {"on": ("off",)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("overdue_s: {opne: 600}", "test:6: watches.gate.rules.overdue_s: no state 'opne' (did"),
        ("allowed: {closed: [opne]}", "test:6: watches.gate.rules.allowed: no state 'opne' (did"),
        ("overdue_s: {open: 0}", "test:6: watches.gate.rules.overdue_s.open: "),
        ("overdue_s: {open: ten minutes}", "test:6: watches.gate.rules.overdue_s.open: "),
        ("repeat_s: 5", "test:6: watches.gate.rules.repeat_s: there is nothing to repeat"),
        ("overdue: {open: 600}", "unknown key 'watches.gate.rules.overdue' (did you mean 'overd"),
        (
            "{min_duration_s: {open: 9}, max_duration_s: {open: 3}}",
            "watches.gate.rules: open cannot last 9.0 s at least and less at most",
        ),
    ],
)
def test_rules_that_cannot_be_are_refused_where_they_stand(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_config(f"{RULED}      {line}\n", where="test")


def test_a_problem_that_there_is_not_is_refused_with_the_nearest() -> None:
    text = "sources: {c: {uri: x}}\nwatches:\n  gate:\n    problems: {report: [coverd]}\n"
    with pytest.raises(ConfigError, match=r"report\[0\].*'coverd' \(did you mean 'covered'\?\)"):
        parse_config(text, where="test")


def test_no_problem_at_all_may_be_told() -> None:
    text = "sources: {c: {uri: x}}\nwatches:\n  gate:\n    problems: {report: []}\n"
    assert parse_config(text, where="test").watches["gate"].problems.report == ()


def test_the_schema_of_the_configuration_has_the_keys_of_the_file_and_no_others() -> None:
    parts = json_schema_of(Config)["$defs"]
    assert set(parts["SourceConfig"]["properties"]) == set(keys_of(SourceConfig))
    assert "folder" not in parts["Config"]["properties"]
    assert "device" not in parts["MqttOptions"]["properties"]


NESTED = {
    "flow rows": "[" * 5000,
    "flow tables": "{a: " * 5000,
    "rows in rows": "- " * 5000,
    "questions": "? " * 5000,
    "tables in tables": "\n".join(" " * depth + "a:" for depth in range(300)),
    "an alias of itself": "watches: &a {x: *a}\n",
    "a row of itself": "sinks: &a [*a]\n",
    "aliases of aliases": "a: &a0 [x]\n"
    + "".join(f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    + "sinks: *a11\n",
    "aliases as watches": "a: &a0 {states: [x]}\n"
    + "".join(
        f"b{n}: &a{n} {{{', '.join(f'k{k}: *a{n - 1}' for k in range(9))}}}\n" for n in range(1, 9)
    )
    + "watches: *a8\n",
    "thousands of keys": "".join(f"key{n}: 1\n" for n in range(15_000)),
    "a long line": "device: " + "x" * 300_000,
    "a longer line": "device: " + "x" * 3_000_000,
    "a long key": "x" * 300_000 + ": 1",
    "a long flow line": "watches: {" + ", ".join(f"w{n}: {{}}" for n in range(9_000)) + "}",
    "a long number": "device: " + "1" * 9_000,
    "a number of many places": "score: {ssim_engine: 1" + ":59" * 5_000 + "}",
    "a row as kind": "sinks: [{kind: [file]}]",
    "a table as kind": "sinks: [{kind: {a: b}}]",
    "an alias as kind": "a: &a [x]\nsinks: [{kind: *a}]",
    "a merge": "a: &a {kind: file}\nsinks: [{<<: *a}]",
    "a row as key": "? [a, b]\n: 1",
    "a table as key": "? {a: b}\n: 1",
    "a NUL": "device: a\0b",
    "a time that cannot be": "watches: {a: {interval_s: !!timestamp nothing}}",
    "a number that cannot be": "score: !!int x",
    "a foreign object": "device: !!python/object/apply:os.system [ls]",
    "bytes": "watches: !!binary x",
    "an endless number": "sources: {c: {uri: x, fps: .inf, width: 1e400}}",
}


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED.keys())
def test_a_text_made_to_hurt_ends_in_short_lines(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, where="test")
    assert len(caught.value.messages) <= 21
    for message in caught.value.messages:
        assert is_one_line(message)
        assert len(message) < 1000


def test_all_errors_are_named_at_once() -> None:
    text = (
        "devise: x\n"
        "sources:\n"
        "  cam: {uri: x, fps: -1}\n"
        "  bad name: {uri: y}\n"
        "watches:\n"
        "  gate: {sourc: cam, sensitivity: 3}\n"
        "sinks: [{kind: fille}, {kind: webhook}]\n"
    )
    with pytest.raises(ConfigError) as caught:
        parse_config(text, where="test")
    lines = [message.split(":")[1] for message in caught.value.messages]
    assert lines == ["1", "3", "4", "6", "6", "7", "7"]


def test_errors_between_sections_are_named_at_once() -> None:
    text = (
        "sources: {a: {uri: x}, b: {uri: y}}\n"
        "watches:\n"
        "  one: {source: c}\n"
        "  two: {source: a, roi: [0.5, 0, 0.1, 1]}\n"
        "  three: {confirm: {matches: 5, of: 3}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        parse_config(text, where="test")
    lines = [message.split(":")[1] for message in caught.value.messages]
    assert lines == ["3", "4", "5", "5"]


@pytest.mark.parametrize(
    "text", ["device: my cam", "device: 'a/b'", "watches: {a: {states: [x y]}}", "device: ''"]
)
def test_a_name_that_cannot_be_is_explained_in_words(text: str) -> None:
    with pytest.raises(ConfigError, match="a name has 1 to 64 letters, digits, _ or -, got") as e:
        parse_config(text, where="test")
    assert "regex" not in str(e.value)
    assert "A-Z" not in str(e.value)


def test_every_key_has_a_title_and_a_description() -> None:
    lacking = []
    for name, part in json_schema_of(Config)["$defs"].items():
        for key, field in part.get("properties", {}).items():
            own = descriptions_of_section(name).get(key) if key != "kind" else "kind"
            if not field.get("title") or not own:
                lacking.append(f"{name}.{key}")
    assert lacking == []


def descriptions_of_section(name: str) -> dict[str, str]:
    sections = {kind.__name__: kind for kind in structs_in(Config)}
    return descriptions_of(sections[name])


def test_descriptions_are_whole_sentences_with_units() -> None:
    parts = json_schema_of(Config)["$defs"]
    mqtt = parts["MqttOptions"]["properties"]
    assert mqtt["stats_interval_s"]["unit"] == "seconds"
    assert "null" in mqtt["username"]["description"], "not Python's word for it"
    for part in parts.values():
        for key, field in part.get("properties", {}).items():
            if key != "kind":
                assert field["description"].endswith("."), key
                assert field["description"][0].isupper() or field["description"][0] in "`0", key


def test_a_region_in_pixels_is_one_line() -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(MINIMAL.replace("[0.1, 0.2, 0.5, 0.6]", "[100, 120, 300, 360]"), where="test")
    (message,) = error.value.messages
    assert "these look like pixels" in message


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (list[int], "x", "needs a list, got text"),
        (dict[str, int], [1], "needs keys with values, got a list"),
        (int | None, "x", "needs a whole number or nothing, got text"),
        (bool, 3, "needs true or false, got a whole number"),
        (Annotated[int, msgspec.Meta(ge=2)], 1, "needs a whole number of at least 2"),
        (Annotated[str, msgspec.Meta(min_length=3)], "x", "needs text with a length of at least 3"),
    ],
)
def test_errors_of_a_decoder_are_told_in_words(kind: Any, value: object, words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(value, kind)
    assert in_words(error.value) == words


@pytest.mark.parametrize("tag", ["int", "float", "bool", "timestamp", "binary", "set", "omap"])
@pytest.mark.parametrize("value", ['""', '"-"', '"0x_"', '":"', "{}", "[]", '"2001-13-45"'])
def test_a_value_that_its_tag_cannot_be_made_of_names_its_line(tag: str, value: str) -> None:
    with pytest.raises(ConfigError, match=r"^test:2: outbox\.max_mb: "):
        parse_config(f"outbox:\n  max_mb: !!{tag} {value}\n", where="test")


@pytest.mark.parametrize("key", ["device", "web: {token", "outbox: {max_mb", "watches: {w: {mask"])
def test_half_a_surrogate_pair_is_no_text(key: str) -> None:
    text = f'x: 1\n{key}: "\\ud800"' + "}" * key.count("{")
    with pytest.raises(ConfigError, match=r"^test:2: holds a letter that no text can have$"):
        parse_config(text, where="test")


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="not a regular file"):
        load_config(pipe)
    with pytest.raises(SinkError, match="cannot append events \\(a pipe, not a file\\)"):
        open_sink("file", path=pipe)
    with pytest.raises(DataError, match="cannot append \\(a pipe, not a file\\)"):
        ScoreLog(pipe)
    with pytest.raises(DataError, match="not a regular file"):
        list(read_lines([pipe]))
    with pytest.raises(ModelError, match="not a regular file"):
        open_embedder(str(pipe))
    options = MqttOptions(host="broker", username="me", password_file=str(pipe))
    with pytest.raises(SinkError, match="not a regular file"):
        options.current_password()


def test_a_pipe_of_the_caller_is_read() -> None:
    read, write = os.pipe()
    os.write(write, b"device: kitchen")
    os.close(write)
    try:
        assert load_config(f"/dev/fd/{read}").device == "kitchen"
    finally:
        os.close(read)
