"""What a user of Redis needs is what the documentation says, and what it lacks is told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from support.redis_servers import Valkey

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Query
from tornado_sessions.record import EventKind, Outcome
from tornado_sessions.server.documents import Document, open_documents
from tornado_sessions.stores import open_store
from tornado_sessions.testing.maker import NOW, change, create, end

DOCS = (Path(__file__).parents[3] / "docs/reference/stores.md").read_text(encoding="utf8")


@pytest.fixture
def server() -> Iterator[Valkey]:
    made = Valkey()
    yield made
    made.stop()


def documented() -> list[str]:
    found = re.search(r"An ACL user needs\s+`([^`]+)`", DOCS)
    assert found
    return found[1].split()


async def use_documents(url: str) -> None:
    store = open_documents(url)
    await store.open()
    assert await store.put("account", Document("ada", 1, b"{}"), tags=["user"], names=["a@b.org"])
    assert await store.put("account", Document("ada", 2, b"{}"), tags=["admin"], names=["b@b.org"])
    assert await store.page("account", tag="admin") == [await store.get("account", "ada")]
    assert await store.delete("account", "ada", 2)
    await store.close()


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
    await use_documents(url)


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
