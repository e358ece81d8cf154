"""The command line: settings are declared once, and commands start without the pages."""

from __future__ import annotations

import argparse
import asyncio
import csv
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.server_process import run_command

from tornado_sessions import ConfigError
from tornado_sessions.server.cli import main, make_parser
from tornado_sessions.server.settings import ServerOptions, Settings, load
from tornado_sessions.stores import open_store
from tornado_sessions.testing.maker import create

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ServerOptions.model_fields)
def test_help_says_meaning_default_and_variable_of_each_setting(name: str) -> None:
    told = " ".join(make_parser().format_help().split())
    field = ServerOptions.model_fields[name]
    assert field.description
    default = "none" if field.default in (None, ()) else field.default
    assert f"{field.description} (default: {default}; variable: SESSIONS_{name.upper()})" in told


def test_the_usage_of_a_command_shows_its_own_arguments_and_no_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["block"])
    usage = " ".join(capsys.readouterr().err.partition("tornado-sessions block: error")[0].split())
    assert (
        usage
        == "usage: tornado-sessions block [-h] [--hours HOURS] [--no-end] [--reason REASON] [--keep-sessions] NAME"
    )


def names_of_commands() -> list[str]:
    found = next(action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return list(found.choices)


@pytest.mark.parametrize("wrong", ["--nonsense", "--port"])
@pytest.mark.parametrize("command", names_of_commands())
def test_an_error_of_a_command_shows_the_usage_of_that_command_only(
    command: str, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, wrong])
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert told.startswith(f"usage: tornado-sessions {command} ")
    assert told.count("usage:") == 1
    assert f"tornado-sessions {command}: error: " in told.splitlines()[-1]
    assert "COMMAND ..." not in told


@pytest.mark.parametrize(
    ("command", "heading", "if_empty"),
    [
        ("list", "session ID", "There are no such sessions."),
        ("jobs", "ID", "There are no bulk actions."),
        ("audit", "ID", "There are no such entries."),
        ("tokens", "handle", "There are no API tokens."),
    ],
)
def test_a_list_has_headings_and_says_when_it_is_empty(
    command: str, heading: str, if_empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--store", "memory://"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(heading + "  ")
    assert lines[2:] == [if_empty]
    assert main([command, "--store", "memory://", "--json"]) == 0
    assert capsys.readouterr().out == ""


def filled(folder: Path, handles: Sequence[str], seconds: float, user: str = "ada") -> tuple[str, str]:
    """The flags of a new store with these sessions, the last active first; ``user`` may contain the handle as ``{}``."""
    url = f"sqlite:///{folder}/sessions.db"

    async def fill() -> None:
        store = open_store(url)
        await store.open()
        now = time.time()
        times = {"created_at": now - 9, "expires_at": now + 99, "absolute_at": now + 99}
        made = [
            create(handle, user=user.format(handle), last_seen_at=now - number * seconds, **times)
            for number, handle in enumerate(handles)
        ]
        await store.save(made)
        await store.close()

    asyncio.run(fill())
    return "--store", url


def test_a_long_list_has_its_headings_once(tmp_path: Path) -> None:
    flags = filled(tmp_path, [f"h{n}" for n in range(501)], 0.001)
    lines = run_command(tmp_path, *flags, "list").stdout.splitlines()
    assert len(lines) == 503
    assert [line.split()[0] for line in lines[2:]] == [f"h{n}" for n in range(501)]


def test_a_flag_overrides_the_environment_which_overrides_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("SESSIONS_PORT=1\nSESSIONS_HOST=192.0.2.1\nSESSIONS_PROCESSES=2\n")
    monkeypatch.setenv("SESSIONS_PORT", "3")
    monkeypatch.setenv("SESSIONS_HOST", "192.0.2.3")
    settings = load({"port": "4"})
    assert (settings.port, settings.host, settings.processes) == (4, "192.0.2.3", 2)


def test_a_list_is_separated_by_commas_wherever_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONS_SECRET", "new, old,")
    settings = load({"trusted_proxies": "unix:,10.0.0.0/8"})
    assert (settings.secret, settings.trusted_proxies) == (["new", "old"], ["unix:", "10.0.0.0/8"])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Example.com/", "https://example.com"),
        ("http://example.com:8080/path/", "http://example.com:8080/path"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("", None),
    ],
)
def test_the_public_address_has_one_spelling(given: str, kept: str | None) -> None:
    assert load({"public_url": given}).public_url == kept


def test_options_made_in_code_do_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONS_PORT", "3")
    assert ServerOptions().port == 3000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "99999"),
        ("port", "x"),
        ("idle_timeout", "nan"),
        ("processes", "0"),
        ("forwarded_header", "Via"),
        ("public_url", "sessions.test"),
        ("public_url", "ftp://sessions.test"),
        ("public_url", "https://ada:word@sessions.test"),
        ("public_url", "https://sessions.test/?a=b"),
        ("public_url", "https://sessions.test:x"),
        ("public_url", "https:///nowhere"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_shown(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load({name: value})
    assert re.match(rf"{name}: (?!Value error)\w", str(refused.value))
    assert value not in str(refused.value).removeprefix(name)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--store", "memory://", "stats"],
        ["stats", "--store", "memory://"],
        ["--store", "nonsense://", "stats", "--store", "memory://"],
    ],
)
def test_a_flag_may_stand_before_or_after_the_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert "active" in capsys.readouterr().out


def test_a_refused_command_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["block", "nobody", "--store", "memory://"]) == 1
    assert capsys.readouterr().err == "error: This account doesn't exist.\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["list", "--nonsense"], ["show"]])
def test_arguments_that_cannot_be_parsed_are_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_every_setting_is_a_flag() -> None:
    given = make_parser().parse_args([f"--{name.replace('_', '-')}=1" for name in Settings.model_fields])
    assert {name for name in vars(given) if name in Settings.model_fields} == set(Settings.model_fields)


def test_commands_start_without_the_pages() -> None:
    code = "import sys, tornado_sessions.server.cli; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert [name for name in found.stdout.split() if name.startswith("tornado_sessions.server.web")] == []


@pytest.mark.parametrize(
    "flags", [["--sercet", "hunter2"], ["--sercet=hunter2"], ["list", "--sercet", "hunter2", "--x"]]
)
def test_a_mistyped_flag_is_named_without_its_value(flags: list[str], tmp_path: Path) -> None:
    refused = run_command(tmp_path, *flags)
    assert refused.returncode == 2
    assert "hunter2" not in refused.stderr


def test_a_list_is_printed_for_spreadsheets_in_the_direction_that_is_asked_for(tmp_path: Path) -> None:
    flags = filled(tmp_path, "abc", 1, user="={}")
    printed = run_command(tmp_path, *flags, "list", "--csv", "--direction", "asc").stdout
    rows = list(csv.DictReader(printed.splitlines()))
    assert [(row["handle"], row["user"]) for row in rows] == [("c", "'=c"), ("b", "'=b"), ("a", "'=a")]
