"""Signing keys of another installation are recognized before they sign everybody out."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from pathlib import Path

import pytest
from support.passwords import PASSWORD
from support.server_process import run_command

from tornado_sessions import ConfigError
from tornado_sessions.server.documents import Document
from tornado_sessions.server.key_check import KeyCheck
from tornado_sessions.server.parts import Parts

OLD, NEW, OTHER = (f"{name} {secrets.token_urlsafe(32)}" for name in ("old", "new", "other"))


async def opened(parts: Parts, *keys: str) -> None:
    """What a server or command with these keys does at its start."""
    await KeyCheck(parts.documents, keys).open()


async def forget(parts: Parts) -> None:
    await parts.documents.delete("installation", "keys")


@pytest.mark.gen_test
@pytest.mark.every_backend
async def test_only_keys_of_the_installation_are_accepted(parts: Parts) -> None:
    await forget(parts)
    await opened(parts, OLD)
    await opened(parts, OLD)
    with pytest.raises(ConfigError, match="replace-keys") as caught:
        await opened(parts, OTHER)
    assert OTHER not in str(caught.value)
    await opened(parts, OLD)


@pytest.mark.gen_test
async def test_keys_can_be_replaced_one_after_the_other(parts: Parts) -> None:
    await forget(parts)
    await opened(parts, OLD)
    await opened(parts, NEW, OLD)
    await opened(parts, NEW)
    await opened(parts, OTHER, NEW)
    await opened(parts, OTHER)


@pytest.mark.gen_test
async def test_a_process_without_the_newest_key_is_warned_about(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    await forget(parts)
    await opened(parts, NEW, OLD)
    with caplog.at_level(logging.WARNING):
        await opened(parts, NEW)
        assert not caplog.records
        await opened(parts, OLD)
    assert "newer signing key" in caplog.text
    await opened(parts, NEW)


@pytest.mark.gen_test
async def test_all_keys_can_be_replaced_on_purpose(parts: Parts) -> None:
    await forget(parts)
    await opened(parts, OLD)
    await KeyCheck(parts.documents, [OTHER]).replace()
    await opened(parts, OTHER)
    with pytest.raises(ConfigError):
        await opened(parts, OLD)


@pytest.mark.gen_test
@pytest.mark.every_backend
async def test_of_first_servers_with_different_keys_one_wins(parts: Parts) -> None:
    await forget(parts)
    results = await asyncio.gather(*(opened(parts, key) for key in (OLD, NEW, OTHER)), return_exceptions=True)
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, ConfigError) for result in results) == 2


@pytest.mark.gen_test
async def test_the_store_has_no_key_and_damaged_check_values_are_written_again(parts: Parts) -> None:
    await forget(parts)
    await opened(parts, OLD)
    stored = await parts.documents.get("installation", "keys")
    assert stored is not None
    assert OLD.encode() not in stored.body
    await parts.documents.put("installation", Document("keys", stored.revision + 1, b"{"))
    await opened(parts, NEW)
    with pytest.raises(ConfigError):
        await opened(parts, OLD)


def test_a_lost_key_stops_servers_and_commands_until_it_is_replaced(tmp_path: Path) -> None:
    made = run_command(tmp_path, "create-user", "root", "--role", "admin", given=f"{PASSWORD}\n")
    assert made.returncode == 0, made.stderr
    (tmp_path / "data" / "secret").rename(tmp_path / "kept")
    for command in ("list", "audit", "check", "serve"):
        refused = run_command(tmp_path, command, "--port", "0")
        assert (refused.returncode, refused.stdout) == (1, ""), command
        assert "replace-keys" in refused.stderr
    (tmp_path / "kept").replace(tmp_path / "data" / "secret")
    assert "whole" in run_command(tmp_path, "audit", "verify").stdout
    (tmp_path / "data" / "secret").unlink()
    assert run_command(tmp_path, "replace-keys").returncode == 0
    assert run_command(tmp_path, "list").returncode == 0
    entries = run_command(tmp_path, "audit", "list", "--act", "signing keys replaced", "--json").stdout.splitlines()
    assert [json.loads(entry)["actor"] for entry in entries] == ["cli"]
