"""What a user of Redis needs is what the documentation says, and what it lacks is told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from itertools import count
from pathlib import Path

import pytest
from support.needed import program
from support.redis_servers import Valkey, ValkeyCluster

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Query
from tornado_sessions.record import EventKind, Outcome
from tornado_sessions.server.documents import Document, open_documents
from tornado_sessions.stores import open_store
from tornado_sessions.testing import STORE_CHECKS, StoreMaker, UrlMaker
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
        # Until the subscription has begun.
        for number in count():
            if hearing.done():
                break
            await store.save([create("x"), create(f"y{number}")])
            await store.destroy(["h1", f"y{number}"], end())
            await store.end_all(NOW - 5, end())
            await asyncio.wait([hearing], timeout=0.05)
        assert hearing.result().kind in (EventKind.DESTROYED, EventKind.ENDED_ALL)
    assert await store.take("x", end(NOW + 1)) is not None
    assert await store.expire(NOW + 3, 60) == 1
    await store.destroy_user("ada", end(NOW + 3))
    assert (await store.diagnose()).faults == []
    await store.close()
    await use_documents(url)


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.gen_test(timeout=60)
async def test_the_kit_holds_for_a_user_with_the_documented_permissions(
    check: Callable[[StoreMaker], Awaitable[None]], limited: str
) -> None:
    maker = UrlMaker(limited + "?prefix=ts:{id}:")
    try:
        await check(maker)
    finally:
        await maker.close()


@pytest.fixture(scope="module")
def limited() -> Iterator[str]:
    """The URL of a user with exactly the documented permissions."""
    made = Valkey()
    made.ask("ACL", "SETUSER", "app", "on", ">secret", *documented())
    yield made.url.replace("//", "//app:secret@")
    made.stop()


class Debian(Valkey):
    """Debian's redis-server, which words its refusals differently."""

    def __init__(self) -> None:
        self.binary = program("redis-server", "redis-server")
        super().__init__()


async def refusals(url: str) -> str:
    """What each call of a store says that is refused."""
    store, said = open_store(url), []
    try:
        await store.open()
        said += [str(fault) for fault in (await store.diagnose()).faults]
        said += [str(answer) for answer in await store.save([create("h1")])]
        await store.load(["h1"], NOW)
        await store.destroy(["h1"], end())
        async with aclosing(store.events()) as events:
            await asyncio.wait_for(anext(events), 0.1)
    except StoreUnavailable as error:
        said.append(str(error))
    except TimeoutError:
        pass
    await store.close()
    return " ".join(said)


@pytest.mark.parametrize("make", [Valkey, Debian])
@pytest.mark.gen_test
async def test_each_permission_that_is_missing_is_named(make: type[Valkey]) -> None:
    server = make()
    try:
        for missing in documented():
            server.ask("FLUSHALL")
            server.ask("ACL", "SETUSER", "app", "reset", "on", ">secret", *set(documented()) - {missing})
            # CLUSTER is needed on a cluster only.
            if missing == "+cluster":
                continue
            # SELECT is the only command of its kind that is always sent: for a database other than 0.
            said = await refusals(server.url.replace("//", "//app:secret@") + "/1")
            assert f"the user lacks {missing.replace('ts:', 'PREFIX')}" in said, missing
    finally:
        server.stop()


@pytest.mark.gen_test
async def test_a_cluster_names_the_permission_to_discover_its_nodes(redis_cluster: ValkeyCluster) -> None:
    lacking = [word for word in documented() if word != "+cluster"]
    for node in redis_cluster.nodes:
        node.ask("ACL", "SETUSER", "app", "reset", "on", ">secret", *lacking)
    assert "the user lacks +cluster" in await refusals(redis_cluster.url.replace("//", "//app:secret@"))
    for node in redis_cluster.nodes:
        node.ask("ACL", "SETUSER", "app", "+cluster")
    assert await refusals(redis_cluster.url.replace("//", "//app:secret@") + "?prefix=ts:acl:") == "saved"
