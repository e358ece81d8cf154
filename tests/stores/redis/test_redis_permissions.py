"""What a user of Redis needs is what the documentation says, and what it lacks is told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.redis_servers import Valkey

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Query
from tornado_sessions.record import EventKind, Outcome
from tornado_sessions.server.accounts.stores import open_account_store
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.operations.stores import AuditQuery, Document, Entry, open_admin_store
from tornado_sessions.server.roles import Role
from tornado_sessions.stores import open_store
from tornado_sessions.testing.maker import NOW, change, create, end

DOCS = (Path(__file__).parents[3] / "docs/reference/stores.md").read_text(encoding="utf8")


@pytest.fixture
def server() -> Iterator[Valkey]:
    made = Valkey()
    yield made
    made.stop()


def documented() -> list[str]:
    found = re.search(r"An ACL user needs `([^`]+)`", DOCS)
    assert found
    return found[1].split()


@pytest.mark.gen_test
async def test_the_documented_permissions_are_enough_for_everything(server: Valkey) -> None:
    server.ask("ACL", "SETUSER", "app", "on", ">secret", *documented())
    url = server.url.replace("//", "//app:secret@")
    store = open_store(url)
    await store.open()
    assert (
        await store.save([create("h1"), create("h2", expires_at=NOW + 2), change(set={"a": b"2"})])
        == [Outcome.SAVED] * 3
    )
    assert len((await store.find(Query(now=NOW, user="ada"))).items) == 2
    assert (await store.count(Query(now=NOW))).total == 2
    async with aclosing(store.events()) as told:
        hearing = asyncio.ensure_future(anext(told))
        while not hearing.done():
            await store.save([create("x")])
            await store.destroy(["h1"], end())
            await store.end_all(NOW - 5, end())
            await asyncio.wait([hearing], timeout=0.05)
        assert hearing.result().kind in (EventKind.DESTROYED, EventKind.ENDED_ALL)
    assert await store.take("x", end(NOW + 1)) is not None
    assert await store.expire(NOW + 3, 60) == 1
    await store.destroy_user("ada", end(NOW + 3))
    assert (await store.diagnose()).faults == []
    await store.close()
    accounts, admin = open_account_store(url), open_admin_store(url)
    await accounts.open()
    user = User(name="ada", email="a@b.org", role=Role.USER, password_hash="x", created_at=NOW, password_changed_at=NOW)
    await accounts.add(user)
    newer = replace(user, revision=1, email="b@b.org")
    assert await accounts.replace(newer)
    assert await accounts.page("", 5) == await accounts.with_role(Role.USER, 5) == [newer]
    assert await accounts.remove(newer)
    await accounts.close()
    await admin.open()
    assert await admin.append(Entry(id=1, at=NOW, actor="root", act="end session", target="h1"))
    await admin.complete(1, 1, "seal")
    assert [entry.ended for entry in await admin.entries(AuditQuery(who="root"))] == [1]
    assert await admin.put("token", Document("t1", 1, b"{}"))
    assert await admin.documents("token") == [await admin.document("token", "t1")]
    assert await admin.remove("token", "t1")
    await admin.add_tallies({(7, "ended"): 2}, 0)
    assert await admin.tallies(7) == {(7, "ended"): 2}
    assert await admin.append(Entry(id=2, at=NOW + 9, actor="root", act="log-out"))
    assert await admin.forget_entries(NOW + 5, 10) == 1
    await admin.close()


@pytest.mark.gen_test
async def test_a_permission_that_is_missing_is_told_with_its_remedy(server: Valkey) -> None:
    lacking = [word for word in documented() if word != "+@scripting"]
    server.ask("ACL", "SETUSER", "app", "on", ">secret", *lacking)
    store = open_store(server.url.replace("//", "//app:secret@"))
    await store.open()
    answers = await store.save([create("h1")])
    assert isinstance(answers[0], StoreUnavailable)
    assert "+@scripting" in str(answers[0])
    await store.close()
