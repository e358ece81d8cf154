"""The audit log lies on a disk that is full: sessions end and people are blocked all the same, and nothing is lost."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from argon2.profiles import CHEAPEST
from support.passwords import PASSWORD, SECRET
from support.people import fill_store
from support.urls import url_of
from support.waiting import until

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Where
from tornado_sessions.redaction import make_redactor
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.operations.selections import Everybody, Handles, Matching, OfUser, Selection
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions

ROOT = Actor("root", "::1", Role.ADMIN, "Firefox", "r1", "own")


@asynccontextmanager
async def server(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Parts]:
    """Sessions on Redis, accounts and the audit log in SQLite."""
    options = ServerOptions(
        store=url_of("redis", request, folder), users=url_of("sqlite", request, folder), secret=[SECRET]
    )
    parts = Parts(options, passwords=Passwords(CHEAPEST))
    async with parts.opened():
        await parts.accounts.register("ada", "ada@example.org", PASSWORD)
        yield parts


async def limit_disk(parts: Parts, pages: int) -> None:
    """Let SQLite's file have at most this many pages; never fewer than it has."""
    documents: Any = parts.documents
    await documents.database.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone())


async def fill_disk(parts: Parts) -> None:
    """Fill the file, until not even a small entry finds room."""
    await limit_disk(parts, 1)
    with pytest.raises(StoreUnavailable, match="full"):
        while True:
            await parts.audit.note(ROOT, Action.LOG_IN, reason="x" * 400)
    with pytest.raises(StoreUnavailable, match="full"):
        while True:
            await parts.audit.note(ROOT, Action.LOG_IN)


def entry_of(record: logging.LogRecord) -> dict[str, Any]:
    """The entry that a log record contains."""
    text = record.getMessage()
    assert make_redactor([SECRET])(text) == text, "nothing of it looks like a secret to the filter of the log"
    found: dict[str, Any] = json.loads(text[text.index("{") :])
    return found


@pytest.mark.gen_test(timeout=60)
async def test_a_full_disk_keeps_nobody_from_being_ended(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server(request, tmp_path) as parts:
        for number in range(3):
            await fill_store(parts, 2, f"192.0.2.{number}", "ada" if number == 1 else None)
        handle = (await parts.sessions.find(ip="192.0.2.0")).items[0].handle
        await fill_disk(parts)
        known = (await parts.audit.look()).number
        ways: list[Selection] = [
            Handles([handle]),
            OfUser("ada"),
            Matching(Where(ip="192.0.2.2")),
            Everybody(),
        ]
        for way in ways:
            before = (await parts.sessions.count()).total
            assert (await parts.actions.end(ROOT, way, "breach")).ended > 0
            assert (await parts.sessions.count()).total < before
        assert (await parts.sessions.count()).total == 0
        await parts.events.note(ROOT, Action.LOG_OUT)
        for refused in (
            parts.actions.create_token(ROOT, "robot", [Scope.READ], None),
            parts.actions.set_role(Actor("cli"), "ada", Role.ADMIN),
            parts.actions.block(ROOT, "ada", None),
        ):
            with pytest.raises(StoreUnavailable):
                await refused
        logged = [entry_of(record) for record in caplog.records if record.levelno == logging.ERROR]
        actions = [entry for entry in logged if entry["act"] != "outcome"]
        assert [entry["act"] for entry in actions] == [
            "end session", "end all sessions of", "end all sessions matching", "end everybody's sessions", "log-out",
        ]  # fmt: skip
        assert {(entry["actor"], entry["request_id"], entry["session"]) for entry in actions} == {("root", "r1", "own")}
        await limit_disk(parts, 10**6)
        await until(lambda: not parts.audit.is_waiting, "the entries are stored")
        found = [entry for entry in await parts.audit.entries(AuditQuery(limit=10)) if entry.id > known]
        assert [entry.act for entry in reversed(found)] == [entry["act"] for entry in actions]
        assert all(entry.stored_at for entry in found)
        assert all(entry.ended for entry in found if entry.act != "log-out")
        assert {(entry.actor, entry.user_agent, entry.session) for entry in found} == {("root", "Firefox", "own")}
        assert (await parts.audit.verify()).is_whole
