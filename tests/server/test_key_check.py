"""Signing keys of another installation are recognized before they sign everybody out."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from pathlib import Path

import pytest
from support.passwords import PASSWORD
from support.server_process import Client, ServerProcess, run_command

from tornado_sessions import ConfigError, open_store
from tornado_sessions.query import Query
from tornado_sessions.record import Record
from tornado_sessions.server.documents import Document
from tornado_sessions.server.key_check import ENCRYPTION, KeyCheck
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


@pytest.mark.gen_test
@pytest.mark.every_backend
async def test_a_server_without_the_encryption_key_of_the_others_is_refused(parts: Parts) -> None:
    async def opened(*keys: str) -> None:
        await KeyCheck(parts.documents, keys, ENCRYPTION).open()

    await opened()
    await opened(OLD)
    for keys in ((), (OTHER,)):
        with pytest.raises(ConfigError, match="encryption-key") as caught:
            await opened(*keys)
        assert OTHER not in str(caught.value)
    await opened(NEW, OLD)
    await opened(NEW)
    await KeyCheck(parts.documents, [], ENCRYPTION).replace()
    await opened()


async def stored_values(url: str) -> list[bytes]:
    """The values of all sessions, as the store has them."""
    store = open_store(url)
    await store.open()
    try:
        items = (await store.find(Query(now=time.time()))).items
        records = (await store.load([item.handle for item in items], time.time())).records
        return [value for record in records if isinstance(record, Record) for value in record.data.values()]
    finally:
        await store.close()


def test_the_values_of_sessions_are_encrypted_and_another_key_is_named(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "--encryption-key", OLD)
    person = Client(server.url)
    try:
        made = server.command("create-user", "root", "--role", "admin", given=f"{PASSWORD}\n")
        assert made.returncode == 0, made.stderr
        person.enter("root")
        (handle,) = re.findall(r"/admin/sessions/(\w+)", person.get("/admin/?user=root")[1])[:1]
        page = person.get(f"/admin/sessions/{handle}")[1]
        assert "They are encrypted in the store." in page
        assert "proved_at" in page, "the names of values are not secret"
    finally:
        server.stop()
    values = asyncio.run(stored_values(f"sqlite:///{tmp_path}/data/sessions.db"))
    assert values
    for value in values:
        with pytest.raises(ValueError, match=r"."):
            json.loads(value)
    for keys in ((), ("--encryption-key", OTHER)):
        for command in ("serve", "list", "check"):
            refused = run_command(tmp_path, command, "--port", "0", *keys)
            assert (refused.returncode, refused.stdout) == (1, ""), command
            assert "--encryption-key or SESSIONS_ENCRYPTION_KEY" in refused.stderr
            assert OLD not in refused.stderr
    # The key is replaced, and the old one is removed while sessions still have values of it: they stay signed in.
    for newest_first in (f"{NEW},{OLD}", NEW):
        server = ServerProcess(tmp_path, "--encryption-key", newest_first)
        try:
            person.url = server.url
            assert person.is_in()
            url, page = person.get("/admin/")
            assert "Something went wrong" not in page
            assert url.endswith("/admin/")
        finally:
            server.stop()
