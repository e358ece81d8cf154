"""Moving from one store to another signs nobody out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from scenarios.test_store_outages import Load, make_sessions
from support.amount import only_long
from support.damageable import DamageableMaker
from support.pairs import BornInTheFallback, PairMaker
from support.passwords import PASSWORD
from support.server_process import Client, ServerProcess
from support.tried import Tried
from support.urls import url_of

from tornado_sessions import Cause, Sessions
from tornado_sessions.query import Query, State
from tornado_sessions.record import Create, Record, Tombstone
from tornado_sessions.request import RequestInfo
from tornado_sessions.server.operations.migrate import copy_sessions
from tornado_sessions.stores import open_store
from tornado_sessions.stores.dual import DualStore
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.testing import STORE_CHECKS
from tornado_sessions.testing.maker import NOW, change, create, end

__all__ = ["make_sessions"]

PAIRS = [
    ("sqlite", "redis"),
    ("sqlite", "mongo_motor"),
    pytest.param("redis", "mongo_pymongo", marks=only_long),
    pytest.param("redis", "redis_cluster", marks=only_long),
]


@pytest.mark.parametrize("kind", [DualStore, BornInTheFallback])
@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.gen_test(timeout=20)
async def test_two_stores_together_keep_the_contract(check: Any, kind: type[DualStore]) -> None:
    await check(PairMaker(DamageableMaker(), DamageableMaker(), kind))


def both(primary: str, fallback: str, more: str = "") -> str:
    return f"dual://?primary={quote(primary, safe='')}&fallback={quote(fallback, safe='')}{more}"


@pytest.mark.parametrize(("old", "new"), PAIRS)
@pytest.mark.gen_test(timeout=90)
async def test_a_rolling_switch_under_load_loses_and_revives_nobody(
    old: str,
    new: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_sessions: Callable[..., Sessions],
    tried: Tried,
) -> None:
    """First every process learns to look in both, then each is started anew with the new store first."""
    first, second = url_of(old, request, tmp_path / "old"), url_of(new, request, tmp_path / "new")
    before = make_sessions(both(first, second, "&move=off"))
    after = make_sessions(both(second, first))
    loads = [Load(before), Load(after)]
    await loads[0].enter()
    loads[1].cookies = loads[0].cookies
    leavers = [Load(before, users=5)]
    await leavers[0].enter()
    gone = [cookie.handle for cookie in leavers[0].cookies.values()]

    async def switch() -> None:
        """Log-outs while both kinds of process serve everybody's sessions."""
        await asyncio.gather(
            *(after.destroy(handle) for handle in gone[:3]), *(before.destroy(handle) for handle in gone[3:])
        )
        await loads[1].until_counted(5)

    task = asyncio.create_task(loads[1].during(switch))
    await loads[0].during(lambda: loads[0].until_counted(5))
    await task
    wrong = sum(len(load.wrong) for load in loads)
    tried("requests while the store is switched", times=sum(load.made for load in loads), lost=wrong)
    assert wrong == 0
    total = {user: sum(load.counted[user] for load in loads) for user in loads[0].users}
    for user, cookie in loads[0].cookies.items():
        mine = await after.fetch(cookie, info_of(after))
        assert mine.session.user == user
        assert mine.session["n"] == total[user]
    for cookie in leavers[0].cookies.values():
        for sessions in (before, after):
            assert (await sessions.fetch(cookie, info_of(sessions))).session.user is None
    assert (await after.count()).total == len(loads[0].users)


def info_of(sessions: Sessions) -> RequestInfo:
    return RequestInfo(sessions.clock())


@pytest.mark.gen_test
async def test_a_session_that_ends_while_it_moves_stays_ended() -> None:
    primary, fallback = MemoryStore(), MemoryStore()

    class EndsMeanwhile(MemoryStore):
        async def save(self, changes: Any) -> Any:
            answers = await super().save(changes)
            await fallback.destroy(["h1"], end(NOW + 1, cause=Cause.LOGOUT))
            return answers

    primary = EndsMeanwhile()
    await fallback.save([create("h1")])
    found = (await DualStore(primary, fallback).load(["h1"], NOW + 1)).records[0]
    assert isinstance(found, Tombstone)
    assert found.ending.cause is Cause.LOGOUT


@pytest.mark.parametrize("written_to", ["fallback", "primary"])
@pytest.mark.gen_test
async def test_a_move_that_another_process_finishes_loses_no_value(written_to: str) -> None:
    """A change of values moves no time, so times do not tell which copy it is in."""
    fallback = MemoryStore()

    class Interrupted(MemoryStore):
        """Another process writes and finishes the move, between its first step and its second."""

        async def save(self, changes: Any) -> Any:
            answers = await super().save(changes)
            if isinstance(changes[0], Create):
                store = fallback if written_to == "fallback" else self
                await MemoryStore.save(store, [change(set={"a": b"2", "b": b"3"}, delete=frozenset({"c"}))])
                seen.append((await DualStore(self, fallback).load(["h1"], NOW)).records[0])
            return answers

    seen: list[Any] = []
    primary = Interrupted()
    await fallback.save([create("h1", data={"a": b"1", "c": b"1"})])
    seen.append((await DualStore(primary, fallback).load(["h1"], NOW)).records[0])
    seen.append((await primary.load(["h1"], NOW)).records[0])
    assert [found.data for found in seen] == [{"a": b"2", "b": b"3"}] * 3
    assert isinstance((await fallback.load(["h1"], NOW)).records[0], Tombstone)


@pytest.mark.gen_test
async def test_pages_of_two_stores_are_one_list() -> None:
    primary, fallback = MemoryStore(), MemoryStore()
    for number in range(25):
        store = primary if number % 3 else fallback
        await store.save([create(f"h{number:02}", last_seen_at=NOW - number // 2)])
    dual, shown, cursor = DualStore(primary, fallback), [], None
    while True:
        page = await dual.find(Query(now=NOW, limit=4, cursor=cursor))
        shown += [item.handle for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert shown == [f"h{number:02}" for number in range(25)]
    assert (await dual.count(Query(now=NOW))).total == 25
    assert (await dual.find(Query(now=NOW, state=State.ENDED))).items == []


@pytest.mark.long_on("mongo")
@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_migrate_copies_sessions_and_accounts_and_may_be_run_again(
    old: str, new: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source, target = url_of(old, request, tmp_path / "old"), url_of(new, request, tmp_path / "new")
    server = ServerProcess(tmp_path, "--store", source, "--secret", "a secret that both servers know well")
    try:
        client = Client(server.url)
        client.post("/reg", username="ada", email="ada@example.org", password=PASSWORD)
        client.enter()
        told = [server.command("migrate", source, target) for _ in range(2)]
        assert [found.returncode for found in told] == [0, 0], told
        assert told[0].stdout.startswith("Copied: 1 session, 1 account,")
        assert told[1].stdout.startswith("Copied: 0 sessions, 0 accounts,")
    finally:
        server.stop()
    server = ServerProcess(tmp_path, "--store", target, "--secret", "a secret that both servers know well")
    try:
        client.url = server.url
        assert client.is_in()
        client.post("/logout")
        client.enter()
    finally:
        server.stop()


@pytest.mark.gen_test
async def test_who_logs_out_while_being_copied_is_out_in_the_copy() -> None:
    source = MemoryStore()
    await source.save([create("h1"), create("h2")])

    class EndsMeanwhile(MemoryStore):
        async def save(self, changes: Any) -> Any:
            await source.destroy(["h1"], end(NOW, cause=Cause.LOGOUT))
            return await super().save(changes)

    target = EndsMeanwhile()
    await copy_sessions(source, target, lambda _: None, lambda: NOW)
    found = (await target.load(["h1", "h2"], NOW)).records
    assert isinstance(found[0], Tombstone)
    assert isinstance(found[1], Record)


@pytest.mark.parametrize(
    "url", ["dual://", "dual://?primary=memory://", "dual://?primary=memory://&fallback=memory://&move=maybe"]
)
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="dual://"):
        open_store(url)
