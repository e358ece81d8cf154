"""Damage to what is stored, done past the stores: on the driver's own connection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tornado_sessions.query import Page, Query
from tornado_sessions.record import Damaged, Loaded
from tornado_sessions.server.accounts.stores.memory import MemoryAccountStore
from tornado_sessions.server.accounts.stores.mongo import MongoAccountStore
from tornado_sessions.server.accounts.stores.redis import RedisAccountStore
from tornado_sessions.server.accounts.stores.sqlite import SQLiteAccountStore
from tornado_sessions.server.operations.stores import Document
from tornado_sessions.server.operations.stores.memory import MemoryAdminStore
from tornado_sessions.server.operations.stores.mongo import MongoAdminStore
from tornado_sessions.server.operations.stores.redis import RedisAdminStore
from tornado_sessions.server.operations.stores.sqlite import SQLiteAdminStore
from tornado_sessions.server.parts import Parts

#: A field that is not there.
MISSING = object()
#: Bodies that are no JSON object of any kind that is stored.
BROKEN_BODIES = [b"", b'{"na', b"\x00\xff\xfe random \x93", b"[]", b"7", b"{}", b'{"id": 1, "handle": 1}']


def can_miss(store: Any) -> bool:
    """Whether a record can lack a field: a row of a table cannot."""
    return not isinstance(store, SQLiteAccountStore | SQLiteAdminStore)


async def spoil_account(store: Any, key: str, field: str, value: Any) -> None:
    """Write a field of an account, whatever its type."""
    if isinstance(store, MemoryAccountStore):
        store._users[key] = _replaced(store._users[key], field, value)
    elif isinstance(store, SQLiteAccountStore):
        sql = f"UPDATE accounts SET {field} = ? WHERE name_key = ?"
        await store._database.write(lambda connection: connection.execute(sql, (_for_sql(value), key)).rowcount)
    elif isinstance(store, RedisAccountStore):
        await _spoil_json(store, "GET", "SET", f"{store._base}n:{key}", (), field, value)
    elif isinstance(store, MongoAccountStore):
        await store._accounts.update_one({"_id": key}, _update(field, value))


async def spoil_entry(store: Any, number: int, field: str, value: Any) -> None:
    """Write a field of an audit entry, whatever its type."""
    if isinstance(store, MemoryAdminStore):
        store._entries[number] = _replaced(store._entries[number], field, value)
    elif isinstance(store, SQLiteAdminStore):
        sql = f"UPDATE audit SET {field} = ? WHERE id = ?"
        await store._database.write(lambda connection: connection.execute(sql, (_for_sql(value), number)).rowcount)
    elif isinstance(store, RedisAdminStore):
        await _spoil_json(store, "HGET", "HSET", store._log, (number,), field, value)
    elif isinstance(store, MongoAdminStore):
        await store._audit.update_one({"_id": number}, _update(field, value))


async def spoil_document(store: Any, kind: str, key: str, body: Any) -> None:
    """Write the body of a document, whatever its type, and leave its revision."""
    if isinstance(store, MemoryAdminStore):
        store._documents[kind, key] = Document(key, store._documents[kind, key].revision, body)
    elif isinstance(store, SQLiteAdminStore):
        sql = "UPDATE documents SET body = ? WHERE kind = ? AND key = ?"
        await store._database.write(lambda connection: connection.execute(sql, (body, kind, key)).rowcount)
    elif isinstance(store, RedisAdminStore):
        raw = b"3 " + body if isinstance(body, bytes) else str(body)
        await store._client.redis.execute_command("HSET", f"{store._base}{kind}", key, raw)
    elif isinstance(store, MongoAdminStore):
        await store._documents.update_one({"_id": f"{kind}:{key}"}, {"$set": {"body": body}})


def _for_sql(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _update(field: str, value: Any) -> dict[str, Any]:
    return {"$unset": {field: ""}} if value is MISSING else {"$set": {field: value}}


def _replaced(struct: Any, field: str, value: Any) -> Any:
    if value is MISSING:
        return None
    return msgspec.structs.replace(struct, **{field: value})


async def _spoil_json(
    store: Any, read: str, write: str, key: str, place: tuple[Any, ...], field: str, value: Any
) -> None:
    fields = json.loads(await store._client.redis.execute_command(read, key, *place))
    fields[field] = value.decode("latin-1") if isinstance(value, bytes) else value
    if value is MISSING:
        del fields[field]
    await store._client.redis.execute_command(write, key, *place, json.dumps(fields))


async def spoil_session(parts: Parts, handle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage a live session in the store; in one that lives in memory, in its answers."""
    store: Any = parts.sessions.store
    if store.backend == "sqlite":
        sql = "UPDATE sessions SET signed_in_at = 'noon', absolute_at = 'never', data = 'x' WHERE handle = ?"
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
    find, load = store.find, store.load

    def spoiled(item: Any) -> Any:
        if item is None or item.handle != handle:
            return item
        return Damaged(handle=handle, user=item.user, why="absolute_at is no number")

    async def finds(query: Query) -> Page:
        page = await find(query)
        return Page([spoiled(item) for item in page.items], page.next_cursor)

    async def loads(handles: Sequence[str], now: float) -> Loaded:
        found = await load(handles, now)
        return Loaded([spoiled(item) for item in found.records], found.not_before)

    monkeypatch.setattr(store, "find", finds)
    monkeypatch.setattr(store, "load", loads)
