"""A command gets the event and nothing else, and never outlives its time."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest

from edge_sim.core.events import from_json_line
from edge_sim.errors import ConfigError, EventRejectedError, SinkError
from tests.contracts.test_event_sink import EVENT
from tests.io.outbox.events import lost
from tests.io.sinks.opening import command
from tests.io.sinks.waiting import wait_until

TIMEOUT_S = 10.0


def script(text: str, *arguments: str) -> tuple[str, ...]:
    return ("sh", "-c", text, "sh", *arguments)


def test_no_shell_sees_the_arguments(tmp_path: Path) -> None:
    odd = "; touch pwned $(touch pwned) `touch pwned`"
    with closing(command(("tee", str(tmp_path / odd)))) as sink:
        sink.emit(EVENT)
    assert from_json_line((tmp_path / odd).read_bytes()) == EVENT
    assert [path.name for path in tmp_path.iterdir()] == [odd]


def test_the_environment_holds_the_event_and_nothing_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQTT_PASSWORD", "s3cret")
    out = tmp_path / "environment"
    with closing(command(script('env > "$1"', str(out)))) as sink:
        sink.emit(EVENT)
        found = dict(line.split("=", 1) for line in out.read_text().splitlines())
        assert found.keys() - {"PWD", "SHLVL", "_", "OLDPWD"} == {
            "PATH",
            "LANG",
            "EDGE_SIM_EVENT_TYPE",
            "EDGE_SIM_EVENT_ID",
            "EDGE_SIM_WATCH",
            "EDGE_SIM_BEFORE",
            "EDGE_SIM_AFTER",
        }
        assert found["EDGE_SIM_WATCH"] == "gate"
        assert (found["EDGE_SIM_BEFORE"], found["EDGE_SIM_AFTER"]) == ("", "open")
        sink.emit(lost(1))
        assert "EDGE_SIM_EVENT_TYPE=source_lost" in out.read_text()
        assert "EDGE_SIM_WATCH" not in out.read_text()


def test_a_program_that_does_not_read_is_fine() -> None:
    with closing(command(("true",))) as sink:
        sink.emit(EVENT)


def test_what_it_prints_does_not_mix_with_events(capfd: pytest.CaptureFixture[str]) -> None:
    with closing(command(("echo", "hello"))) as sink:
        sink.emit(EVENT)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "hello\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [("exit 3", "failed with exit code 3"), ("kill -TERM $$", "ended by signal SIGTERM")],
    ids=["code", "signal"],
)
def test_a_failure_is_told_and_may_be_tried_again(text: str, message: str) -> None:
    with (
        closing(command(script(text))) as sink,
        pytest.raises(SinkError, match=message) as caught,
    ):
        sink.emit(EVENT)
    assert not isinstance(caught.value, EventRejectedError)


def test_exit_code_65_refuses_the_event_for_good() -> None:
    with (
        closing(command(script("exit 65"))) as sink,
        pytest.raises(EventRejectedError, match="exit code 65"),
    ):
        sink.emit(EVENT)


def is_alive(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


LINGERS = 'sleep 600 & echo $! > "$1.new"; echo $$ >> "$1.new"; mv "$1.new" "$1"; wait'


def processes_of(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="the system has no /proc")
def test_after_its_time_it_is_killed_with_all_it_started(tmp_path: Path) -> None:
    file = tmp_path / "processes"
    for timeout_s in (0.5, 5.0, 50.0):  # a busy machine may need longer to begin than the first
        with (
            closing(command(script(LINGERS, str(file)), timeout_s=timeout_s)) as sink,
            pytest.raises(SinkError, match=rf"killed after {timeout_s:g} s"),
        ):
            sink.emit(EVENT)
        if file.exists():
            break
    wait_until(lambda: not any(is_alive(process) for process in processes_of(file)))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="the system has no /proc")
def test_closing_kills_it(tmp_path: Path) -> None:
    fifo, caught = tmp_path / "fifo", list[str]()
    os.mkfifo(fifo)
    text = 'sleep 600 & echo $! $$ > "$1"; wait'
    sink = command(script(text, str(fifo)), timeout_s=600.0)

    def emit() -> None:
        try:
            sink.emit(EVENT)
        except SinkError as error:
            caught.append(str(error))

    thread = Thread(target=emit)
    thread.start()
    processes = [int(word) for word in fifo.read_text().split()]  # waits until it runs
    sink.close()
    thread.join(TIMEOUT_S)
    assert "cut off, the sink is closed" in caught[0]
    wait_until(lambda: not any(is_alive(process) for process in processes))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "names no program"),
        (("",), "names no program"),
        (("no-such-program-here",), "there is no program 'no-such-program-here'"),
        (("/etc/passwd",), "there is no program"),
        (("echo", "a\0b"), "zero byte"),
    ],
    ids=["nothing", "empty", "missing", "not a program", "zero byte"],
)
def test_a_command_that_cannot_run_is_named_at_once(argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        command(argv)


def test_a_program_that_is_gone_later_is_told(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\ncat > /dev/null\n")
    program.chmod(0o755)
    with closing(command((str(program),))) as sink:
        sink.emit(EVENT)
        program.unlink()
        with pytest.raises(SinkError, match="cannot be started"):
            sink.emit(EVENT)


def test_a_name_tells_two_commands_apart() -> None:
    names = {command(("echo", word)).name for word in ("a", "b")}
    assert len(names) == 2
    assert json.dumps(sorted(names)).count("/echo (") == 2


def test_what_it_left_behind_ends_with_it(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    left = f"sleep 600 & echo $! > {noted}; exit 0"
    with closing(command(("sh", "-c", left))) as sink:
        sink.emit(EVENT)
    pid = int(noted.read_text())
    wait_until(lambda: not is_alive(pid))
