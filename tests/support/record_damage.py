"""Damage to what is stored, done past the stores: on the driver's own connection."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest

from tornado_sessions.query import Page, Query
from tornado_sessions.record import Damaged, Loaded
from tornado_sessions.server.documents.memory import MemoryDocuments
from tornado_sessions.server.documents.mongo import MongoDocuments
from tornado_sessions.server.documents.redis import RedisDocuments
from tornado_sessions.server.documents.sqlite import SQLiteDocuments
from tornado_sessions.server.parts import Parts
from tornado_sessions.stores.base import Found

#: A field that is not there.
MISSING = object()
#: Bodies that are no JSON object of any kind that is stored.
BROKEN_BODIES = [b"", b'{"na', b"\x00\xff\xfe random \x93", b"[]", b"7", b"{}", b'{"id": 1, "handle": 1}']


async def spoil_account(store: Any, key: str, field: str, value: Any) -> None:
    """Write a field of an account, whatever its type."""
    found = await store.get("account", key)
    await spoil_document(store, "account", key, _spoiled(found.body, field, value))


async def spoil_entry(store: Any, number: int, field: str, value: Any) -> None:
    """Write a field of an audit entry, whatever its type."""
    found = await store.get("audit", f"{number:016}")
    await write_entry(store, number, _spoiled(found.body, field, value))


def _spoiled(body: bytes, field: str, value: Any) -> bytes:
    fields = json.loads(body)
    fields[field] = value
    if value is MISSING:
        del fields[field]
    return json.dumps(fields).encode()


async def spoil_document(store: Any, kind: str, key: str, body: Any) -> None:
    """Write the body of a document, whatever its type, and leave its revision."""
    if isinstance(store, MemoryDocuments):
        store.data[kind, key] = store.data[kind, key]._replace(body=body)
    elif isinstance(store, SQLiteDocuments):
        sql = "UPDATE stored_documents SET body = ? WHERE kind = ? AND key = ?"
        await store.database.write(lambda connection: without_triggers(connection, sql, body, kind, key))
    elif isinstance(store, RedisDocuments):
        place = store.keys_of(kind)[0]
        header = (await store.client.redis.execute_command("HGET", place, key)).partition(b"\n")[0]
        value = header + b"\n" + body if isinstance(body, bytes) else str(body)
        await store.client.redis.execute_command("HSET", place, key, value)
    elif isinstance(store, MongoDocuments):
        await store.records.update_one({"_id": f"{kind}:{key}"}, {"$set": {"body": body}})


def without_triggers(connection: sqlite3.Connection, sql: str, *values: Any) -> None:
    """Run a statement as a person who can write to the file does: the triggers that protect a log are gone meanwhile."""
    found = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in found:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(sql, values)
    for _, text in found:
        connection.execute(text)


async def remove_entries(store: Any, first: int, last: int) -> None:
    """Remove entries of the audit log past the store."""
    for number in range(first, last + 1):
        await remove_document(store, "audit", f"{number:016}")


async def remove_document(store: Any, kind: str, key: str) -> None:
    """Remove a document past the store, whatever protects it."""
    if isinstance(store, SQLiteDocuments):
        for table in ("stored_documents", "document_tags"):
            sql = f"DELETE FROM {table} WHERE kind = ? AND key = ?"
            await store.database.write(lambda connection, sql=sql: without_triggers(connection, sql, kind, key))  # type: ignore[misc]
    else:
        await store.delete(kind, key)


async def write_entry(store: Any, number: int, body: Any) -> None:
    """Write the body of an entry of the audit log, whatever its type."""
    await spoil_document(store, "audit", f"{number:016}", body)


async def spoil_session(parts: Parts, handle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage a live session in the store; in one that lives in memory, in its answers."""
    store: Any = parts.sessions.store
    if store.backend == "sqlite":
        sql = "UPDATE sessions SET signed_in_at = 'noon', private = 'x' WHERE handle = ?"
        await store.database.write(lambda connection: connection.execute(sql, (handle,)).rowcount)
    elif store.backend == "redis":
        found = [key async for key in store.client.redis.scan_iter(f"{store.client.options.prefix}*{handle}*")]
        assert len(found) == 1
        await store.client.redis.execute_command("SET", found[0], b"\x01cut")
    elif store.backend == "mongodb":
        sessions = store.client.collection("sessions")
        done = await sessions.update_one({"_id": handle}, {"$set": {"signed_in_at": "noon", "absolute_at": "never"}})
        assert done.matched_count == 1
    else:
        answer_damaged(store, handle, monkeypatch)


def answer_damaged(store: Any, handle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a store answer as one does whose record of this session cannot be read."""
    find, load, peek = store.find, store.load, store.peek

    def spoiled(item: Any) -> Any:
        if item is None or item.handle != handle:
            return item
        return Damaged(handle=handle, user=item.user, why="absolute_at is no number")

    async def finds(query: Query) -> Page:
        page = await find(query)
        spoiled_page: Page = page._replace(items=[spoiled(item) for item in page.items])
        return spoiled_page

    async def loads(handles: Sequence[str], now: float) -> Loaded:
        found = await load(handles, now)
        return Loaded([spoiled(item) for item in found.records], found.not_before)

    def peeks(handle: str) -> Found | None:
        answer = peek(handle)
        return (spoiled(answer[0]), answer[1]) if answer is not None else None

    monkeypatch.setattr(store, "find", finds)
    monkeypatch.setattr(store, "load", loads)
    monkeypatch.setattr(store, "peek", peeks)
