"""Shell completion in real shells: every command, flag and listed value, from the parser alone."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import pytest
from support.needed import program

from tornado_sessions.server.cli import main, make_parser
from tornado_sessions.server.completion import completion
from tornado_sessions.server.settings import Settings

FLAGS = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}


def commands() -> dict[str, argparse.ArgumentParser]:
    found = next(action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


def ask_bash(tmp_path: Path, lines: list[str]) -> list[set[str]]:
    """What bash offers at the end of each line."""
    script = tmp_path / "completion.bash"
    script.write_text(completion(make_parser(), "bash"))
    asked = "".join(
        f"COMP_WORDS=({line}{' ' if not line.endswith(' ') else ''}{chr(39) * 2 if line.endswith(' ') else ''})\n"
        f'COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); COMPREPLY=(); _tornado_sessions; echo "${{COMPREPLY[*]}}"\n'
        for line in lines
    )
    ran = subprocess.run(
        ["bash", "-euc", f"source {script}\nset +eu\n{asked}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert not ran.stderr
    return [set(line.split()) for line in ran.stdout.splitlines()]


def ask_fish(tmp_path: Path, lines: list[str]) -> list[set[str]]:
    """What fish offers at the end of each line."""
    (tmp_path / "completion.fish").write_text(completion(make_parser(), "fish"))
    asked = "".join(f"complete -C '{line}' | string replace -r '\\t.*' '' | string join ' '; echo\n" for line in lines)
    ran = subprocess.run(
        ["fish", "--no-config", "-c", f"source {tmp_path}/completion.fish\n{asked}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert not ran.stderr
    return [set(line.split()) for line in ran.stdout.split("\n")[: 2 * len(lines)] if line]


LINES = [
    "tornado-sessions ",
    "tornado-sessions des",
    "tornado-sessions --store memory:// create-user ada --role ",
    "tornado-sessions --log-format ",
    "tornado-sessions list --log-f",
    "tornado-sessions list --sor",
    "tornado-sessions completion ",
]
OFFERED: list[set[str]] = [
    set(commands()),
    {"destroy", "destroy-user", "destroy-where", "destroy-all"},
    {"user", "viewer", "operator", "admin"},
    {"text", "json"},
    {"--log-format"},
    {"--sort"},
    {"bash", "zsh", "fish"},
]


def test_bash_completes_commands_flags_and_values(tmp_path: Path) -> None:
    found = ask_bash(tmp_path, LINES)
    assert OFFERED[0] | FLAGS <= found[0]
    assert found[1:6] == OFFERED[1:6]
    assert OFFERED[6] <= found[6]


def test_bash_completes_every_flag_of_every_command(tmp_path: Path) -> None:
    found = ask_bash(tmp_path, [f"tornado-sessions {name} -" for name in commands()])
    assert found == [set(parser._option_string_actions) for parser in commands().values()]


def test_bash_completes_names_of_files_after_a_flag_with_a_value(tmp_path: Path) -> None:
    (tmp_path / "secret.key").touch()
    assert ask_bash(tmp_path, ["tornado-sessions list --secret-file sec"]) == [{"secret.key"}]


@pytest.mark.long
def test_fish_completes_commands_flags_and_values(tmp_path: Path) -> None:
    program("fish", "fish")
    found = ask_fish(tmp_path, LINES)
    assert [offered <= each for offered, each in zip(OFFERED, found, strict=True)] == [True] * len(LINES)
    assert found[1] == OFFERED[1]


@pytest.mark.long
def test_zsh_loads_the_script_and_registers_the_program(tmp_path: Path) -> None:
    program("zsh", "zsh")
    (tmp_path / "_tornado-sessions").write_text(completion(make_parser(), "zsh"))
    ran = subprocess.run(
        ["zsh", "-fc", "autoload -Uz compinit && compinit -u -D; source ./_tornado-sessions; print $_comps[tornado-sessions]"],
        cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "_bash_complete" in ran.stdout
    assert not ran.stderr


def test_the_command_prints_the_script_and_opens_no_store(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    assert "complete " in capsys.readouterr().out
