"""``migrate`` copies everything that lasts, or names what it leaves."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from argon2.profiles import CHEAPEST
from support.amount import only_long
from support.passwords import PASSWORD, SECRET
from support.people import fill_store
from support.urls import url_of

from tornado_sessions.query import State, Where
from tornado_sessions.record import summary_of
from tornado_sessions.server import migration
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.commands.maintenance import migrate
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.migrate_documents import COPIED_KINDS, LEFT_KINDS
from tornado_sessions.server.operations.selections import Handles, Matching
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions

ROOT = Actor("root", "::1")
PAIRS = [
    *itertools.product(("sqlite", "redis"), repeat=2),
    ("sqlite", "mongo_motor"),
    pytest.param("mongo_motor", "redis", marks=only_long),
]


@asynccontextmanager
async def server(url: str) -> AsyncIterator[Parts]:
    parts = Parts(ServerOptions(store=url, secret=[SECRET]), passwords=Passwords(CHEAPEST))
    async with parts.opened():
        yield parts


async def run(source: str, target: str) -> migration.Copied:
    return await migration.migrate(source, target, lambda *_: nullcontext(lambda _: None))


async def state(parts: Parts) -> dict[str, Any]:
    """Everything that must be the same in the copy."""
    sessions, documents = parts.sessions, parts.documents
    live = [summary_of(item) for item in (await sessions.find(limit=500)).items]
    ended = (await sessions.find(state=State.ENDED, limit=500)).items
    accounts = await parts.accounts.repository.page("", 500)
    kinds = {kind: await documents.all(kind) for kind in ("token", "job", "view", "devices", "audit", "audit_head")}
    return {
        "live": sorted(live, key=lambda item: str(item["handle"])),
        "ended": sorted((item.handle, item.user, item.ip, item.ending) for item in ended),  # type: ignore[attr-defined]
        # A revision counts writes to one store.
        "accounts": [msgspec.structs.replace(account, revision=1) for account in accounts if isinstance(account, User)],
        **{kind: [(found.key, found.body) for found in documents] for kind, documents in kinds.items()},
    }


async def fill(parts: Parts) -> None:
    """Something of every kind."""
    await parts.accounts.register("root", "root@example.org", PASSWORD, role=Role.ADMIN)
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    await fill_store(parts, 8, "192.0.2.7")
    await fill_store(parts, 4, "192.0.2.8")
    handle = (await parts.sessions.find(ip="192.0.2.7")).items[0].handle
    await parts.actions.end(ROOT, Handles([handle]), "leaver")
    await parts.actions.end(ROOT, Matching(Where(ip="192.0.2.8")), "leak")
    await parts.actions.block(ROOT, "ada", 3600)
    await parts.tokens.create("robot", [Scope.READ], None, "root")
    await parts.saved_views.save("root", "Phones", "device=iPhone")
    await parts.device_names.rename("ada", handle, "Ada's laptop")
    await parts.links.for_invitation(Role.VIEWER, "root")
    parts.activity.count("sign-ins")
    await parts.activity.flush()


@pytest.mark.parametrize(("old", "new"), PAIRS)
@pytest.mark.gen_test(timeout=60)
async def test_everything_is_the_same_in_the_copy(
    old: str, new: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source, target = url_of(old, request, tmp_path / "old"), url_of(new, request, tmp_path / "new")
    async with server(source) as parts:
        await fill(parts)
    first = await run(source, target)
    assert first.copied["ended session"] == 5
    assert first.left == {"hour of activity counts": 1, "part of the activity history": 1, "one-time link": 1}
    async with server(source) as parts, server(target) as copy:
        expected = await state(parts)
        assert await state(copy) == expected
        assert all(expected.values()), "something of every kind"
        assert (await copy.audit.verify()).is_whole
    second = await run(source, target)
    assert set(second.copied.values()) == {0}, "what is there is not copied again"
    async with server(target) as copy:
        assert await state(copy) == expected


def test_every_kind_of_document_is_copied_or_named_as_left() -> None:
    folder = Path(migration.__file__).parent
    sources = "\n".join(path.read_text() for path in folder.rglob("*.py"))
    kinds = set(re.findall(r'^[A-Z_]*KIND(?:, [A-Z_]+)? = "(\w+)"', sources, re.MULTILINE))
    kinds |= set(re.findall(r'Counters\(\w+, "(\w+)"', sources))
    kinds |= set(re.findall(r'documents: DocumentStore, kind: str = "(\w+)"', sources))
    # Accounts and the log are copied in ways of their own; the others each server makes again.
    elsewhere = {"account", "audit", "audit_head", "census", "installation", "probe"}
    assert kinds == {*COPIED_KINDS, *LEFT_KINDS, *elsewhere}


@pytest.mark.gen_test(timeout=30)
async def test_what_happened_since_is_copied_by_the_next_run(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    source, target = (url_of("sqlite", request, tmp_path / name) for name in ("old", "new"))
    async with server(source) as parts:
        await fill(parts)
    await run(source, target)
    async with server(source) as parts:
        handle = (await parts.tokens.all())[0].handle
        await parts.actions.revoke_token(ROOT, handle)
        await parts.actions.block(Actor("cli"), "root", 7200)
        last = (await parts.sessions.find(ip="192.0.2.7")).items[0].handle
        await parts.actions.end(ROOT, Handles([last]), "leaver")
        expected = await state(parts)
    await run(source, target)
    async with server(target) as copy:
        found = await state(copy)
        assert found["token"] == []
        for kind in ("live", "ended", "audit"):
            assert found[kind] == expected[kind], kind
        blocked = await copy.accounts.get("root")
        assert blocked is not None
        assert blocked.blocked_until is not None
        assert (await copy.audit.verify()).is_whole


@pytest.mark.gen_test(timeout=30)
async def test_a_target_with_a_log_of_its_own_keeps_it(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = (url_of("sqlite", request, tmp_path / name) for name in ("old", "new"))
    async with server(source) as parts:
        await fill(parts)
        many = (await parts.audit.look()).number
    async with server(target) as copy:
        await copy.actions.cancel(ROOT, "none")
    assert await migrate(source, target) == 0
    told = capsys.readouterr().out
    assert f"{many} audit entries" in told.split("Not copied:")[1]
    assert "1 hour of activity counts" in told
    async with server(target) as copy:
        found = await copy.audit.verify()
        assert (found.is_whole, found.entries) == (True, 2)
