"""Container and Home Assistant app: their formats are kept, their configuration is understood."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from edge_sim.io.sinks.options import MqttOptions
from edge_sim.runtime.config import parse_config
from edge_sim.version import __version__

APP = Path("tools/packaging/home_assistant/edge_sim")

# https://developers.home-assistant.io/docs/add-ons/configuration
REQUIRED = {"name": str, "version": str, "slug": str, "description": str, "arch": list}
OPTIONAL = {
    "homeassistant": str, "startup": str, "boot": str, "init": bool, "ingress": bool,
    "ingress_port": int, "panel_icon": str, "panel_title": str, "services": list, "video": bool,
    "usb": bool, "watchdog": str, "ports": dict, "backup": str, "options": dict, "schema": dict,
}  # fmt: skip


@pytest.fixture
def app(repository: Path) -> Path:
    return repository / APP


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def test_the_app_has_the_documented_keys(app: Path) -> None:
    config = read(app / "config.yaml")
    assert REQUIRED.keys() <= config.keys() <= REQUIRED.keys() | OPTIONAL.keys()
    for key, value in config.items():
        assert isinstance(value, (REQUIRED | OPTIONAL)[key]), key
    assert set(config["arch"]) == {"aarch64", "amd64"}
    assert config["startup"] in {"initialize", "system", "services", "application", "once"}
    assert config["boot"] in {"auto", "manual", "manual_only"}
    assert config["backup"] in {"hot", "cold"}
    for service in config["services"]:
        assert re.fullmatch(r"mqtt:(provide|want|need)", service)
    assert config["version"] == __version__


# As the supervisor reads them: supervisor/addons/options.py and validate.py.
OPTION = re.compile(
    r"(bool|email|url|port|device(\(.+\))?|match\(.+\)|list\(.+\)|(str|password)(\(\d*,\d*\))?"
    r"|(int|float)(\([\d.]*,[\d.]*\))?)\??"
)
WATCHDOG = re.compile(r"(https?|\[PROTO:\w+\]|tcp)://\[HOST\]:(\[PORT:\d+\]|\d+).*")


def test_the_values_of_the_app_are_those_that_the_supervisor_takes(app: Path) -> None:
    config = read(app / "config.yaml")
    assert re.fullmatch(r"[-_.A-Za-z0-9]+", config["slug"])
    assert re.fullmatch(r"20\d\d\.\d+\.\d+", config["homeassistant"])
    assert tuple(map(int, config["homeassistant"].split("."))) >= (2024, 11), "by device"
    assert WATCHDOG.fullmatch(config["watchdog"])
    assert config["ingress_port"] in {int(port.partition("/")[0]) for port in config["ports"]}
    assert re.fullmatch(r"mdi:[a-z-]+", config["panel_icon"])
    for name, kind in config["schema"].items():
        assert OPTION.fullmatch(kind), f"{name}: {kind}"
    pattern = config["schema"]["device"].removeprefix("match(").removesuffix(")")
    assert re.match(pattern, config["options"]["device"])
    assert (app / "DOCS.md").is_file()
    assert {"name"} <= read(app.parent / "repository.yaml").keys() <= {"name", "url", "maintainer"}


def test_every_option_has_a_type_and_a_text_in_each_language(app: Path) -> None:
    config = read(app / "config.yaml")
    assert config["options"].keys() == config["schema"].keys()
    languages = sorted((app / "translations").glob("*.yaml"))
    assert {path.stem for path in languages} >= {"de", "en"}
    for path in languages:
        texts = read(path)
        assert texts["configuration"].keys() == config["options"].keys()
        assert texts["network"].keys() == config["ports"].keys()
        assert all(
            {"name", "description"} == each.keys() for each in texts["configuration"].values()
        )


@pytest.fixture
def start(app: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("app_run", app / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_first_configuration_is_valid_and_reaches_the_broker(
    app: Path, start: ModuleType
) -> None:
    options = read(app / "config.yaml")["options"]
    broker = {"host": "core-mosquitto", "port": 1883, "username": "addons", "password": "p"}
    text = start.first_config(options, broker | {"ssl": False})
    config = parse_config(text, environ={"MQTT_PASSWORD": "from the supervisor"})
    assert (config.device, config.web.trusted_proxies) == ("edge_sim", ("172.30.32.2",))
    _, sink = config.sinks
    assert isinstance(sink, MqttOptions)
    assert (sink.host, sink.port, sink.username) == ("core-mosquitto", 1883, "addons")
    assert sink.password == "from the supervisor"
    assert "from the supervisor" not in text


def test_without_a_broker_there_is_a_device_all_the_same(start: ModuleType) -> None:
    assert len(parse_config(start.first_config({"device": "porch"}, None)).sinks) == 1


def dockerfiles(repository: Path) -> list[Path]:
    return [repository / "Dockerfile", repository / APP / "Dockerfile"]


def test_dockerfiles_keep_the_rules_of_hadolint(repository: Path) -> None:
    """Check DL3006, DL3007 (tags), DL3009, DL3015 (apt), DL3020 (ADD), DL3025 (JSON), DL3042."""
    for path in dockerfiles(repository):
        text = re.sub(r"\\\n", " ", path.read_text())
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        for line in lines:
            word, _, rest = line.partition(" ")
            assert word.isupper(), line
            assert word != "ADD", line
            if word == "FROM":
                assert re.match(r"\S+:(?!latest)\S+", rest), line
            if "apt-get install" in line:
                assert "--no-install-recommends" in line
                assert "apt-get update" in line
                assert "rm -rf /var/lib/apt/lists/*" in line
            if "pip install" in line:
                assert "--no-cache-dir" in line
                assert "==" in line
            if word in ("CMD", "ENTRYPOINT"):
                assert rest.startswith("["), line
            if word == "WORKDIR":
                assert rest.startswith("/"), line


def test_the_container_runs_without_root_on_a_read_only_file_system(repository: Path) -> None:
    text = (repository / "Dockerfile").read_text()
    assert "\nHEALTHCHECK " in text
    last = [line for line in text.splitlines() if line.startswith("USER ")][-1]
    # A number, which the host can compare with; with a group it would not be in `video`.
    assert last == "USER 990"
    assert "--uid 990 --groups video" in text
    service = read(repository / "compose.yaml")["services"]["edge_sim"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["image"] == f"edge_sim:{__version__}"


def test_the_image_gets_all_that_its_build_reads(repository: Path) -> None:
    """The files that hatchling asks for, and libraries in both stages."""
    ignored = (repository / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    project = (repository / "pyproject.toml").read_text().partition("license-files = [")[2]
    for name in re.findall(r'"([^"]+)"', project.partition("]")[0]):
        top = name.partition("/")[0]
        assert f"!{name}" in ignored or f"!{top}" in ignored, name
    stages = (repository / "Dockerfile").read_text().split("\nFROM ")
    assert all("liblapack3" in stage for stage in stages[-2:])


def test_the_blueprint_uses_only_inputs_that_it_has(repository: Path) -> None:
    text = (repository / APP.parent / "blueprints" / "state_held.yaml").read_text()
    used = set(re.findall(r"!input (\w+)", text))
    blueprint = yaml.safe_load(text.replace("!input ", ""))
    assert blueprint["blueprint"]["domain"] == "automation"
    assert blueprint["blueprint"]["input"].keys() == used
