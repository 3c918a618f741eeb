"""Accounts of the page on the command line."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pytest

from edge_sim.cli.main import EXIT_CONFIG, main
from edge_sim.web.accounts import Accounts
from edge_sim.web.callers import Role


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.yaml"
    path.write_text("device: porch\n")
    return str(path)


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_an_account_is_added_changed_listed_and_removed(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "correct horse\n")
    assert main(["web", "passwd", "anna", "-c", config]) == 0
    assert capsys.readouterr().out == "added anna, admin\n"
    path = tmp_path / "accounts.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "correct horse" not in path.read_text()
    accounts = Accounts(path)
    assert accounts.verify("anna", "correct horse") is not None
    typed(monkeypatch, "battery staple")
    assert main(["web", "passwd", "anna", "-c", config]) == 0
    assert capsys.readouterr().out == "changed anna, admin\n"
    assert accounts.verify("anna", "correct horse") is None
    assert main(["web", "role", "anna", "viewer", "-c", config]) == 0
    assert accounts.roles == {"anna": Role.VIEWER}
    capsys.readouterr()
    assert main(["web", "users", "-c", config, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accounts"] == [{"name": "anna", "role": "viewer"}]
    assert main(["web", "remove", "anna", "-c", config]) == 0
    assert not accounts.exist
    assert main(["web", "users", "-c", config]) == 0
    assert "no account yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "password", "message"),
    [
        (["passwd", "anna"], "short\n", "a password has 8 to 1024 characters"),
        (["passwd", "anna"], "", "no password on standard input"),
        (["passwd", "a/b"], "correct horse\n", "'a/b' is no name"),
        (["remove", "berta"], "", "there is no account 'berta'"),
        (["role", "berta", "admin"], "", "there is no account 'berta'"),
    ],
)
def test_a_mistake_gives_one_line_and_changes_nothing(
    config: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    password: str,
    message: str,
) -> None:
    typed(monkeypatch, password)
    assert main(["web", *arguments, "-c", config]) == EXIT_CONFIG
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "accounts.json").exists()


def test_a_damaged_file_is_not_written_over(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "accounts.json").write_text("{")
    typed(monkeypatch, "correct horse\n")
    assert main(["web", "passwd", "anna", "-c", config]) == EXIT_CONFIG
    assert "the accounts cannot be read" in capsys.readouterr().err
    assert (tmp_path / "accounts.json").read_text() == "{"


def test_check_says_where_the_page_is_and_who_gets_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    head = "sources: {c: {uri: 'synthetic:lamp'}}\nwatches: {lamp: {}}\nmodel: {path: thumbnail}\n"
    path.write_text(head + "web: {listen: '0.0.0.0:9713'}\n")
    main(["check", "--offline", "-c", str(path), "--json"])
    findings = {item["part"]: item for item in json.loads(capsys.readouterr().out)["findings"]}
    assert not findings["web"]["ok"]
    assert "edge-sim web passwd NAME" in findings["web"]["detail"]
    Accounts(tmp_path / "accounts.json").put("anna", "correct horse", Role.ADMIN)
    main(["check", "--offline", "-c", str(path), "--json"])
    findings = {item["part"]: item for item in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["web"]["ok"]
    assert findings["web"]["detail"] == "http://0.0.0.0:9713/, 1 account"
    path.write_text(head)
    main(["check", "--offline", "-c", str(path), "--json"])
    assert "web" not in {item["part"] for item in json.loads(capsys.readouterr().out)["findings"]}


def test_without_the_extra_a_configured_server_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("edge_sim.web.server", "edge_sim.web.app"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    import edge_sim.web

    monkeypatch.delattr(edge_sim.web, "server", raising=False)
    path = tmp_path / "config.yaml"
    path.write_text(
        "sources: {c: {uri: 'synthetic:lamp'}}\nwatches: {lamp: {}}\nmodel: {path: thumbnail}\n"
        "web: {listen: '127.0.0.1:0'}\n"
    )
    main(["check", "--offline", "-c", str(path), "--json"])
    findings = {item["part"]: item for item in json.loads(capsys.readouterr().out)["findings"]}
    assert "pip install 'edge_sim[web]'" in findings["web"]["detail"]
