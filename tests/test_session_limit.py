"""``max_sessions_per_user`` holds while sign-ins race in two processes: never more than n, never fewer than min(n, sign-ins)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.amount import amount
from support.clock import Clock
from support.passwords import SECRET
from support.programs import PROGRAMS
from support.tried import Tried
from support.urls import url_of

from tornado_sessions import SessionConfig, Sessions, TooManySessions
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.record import Conflict, Outcome, Swapped, Tombstone
from tornado_sessions.request import RequestInfo
from tornado_sessions.session_limit import RESERVED
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.testing.faults import WrappedStore

ROUNDS = amount(8, 40)
KINDS = ["sqlite", "redis", "redis_cluster", "mongo_motor"]
LIMITS = amount([1, 2], [1, 2, 5])
#: Sign-ins at once in each of two processes.
AT_ONCE = 3


@asynccontextmanager
async def processes(*arguments: str) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    command = [sys.executable, str(PROGRAMS / "signer.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = asyncio.subprocess.PIPE
    running = [
        await asyncio.create_subprocess_exec(*command, env=environment, stdin=pipe, stdout=pipe) for _ in range(2)
    ]
    try:
        yield running
    finally:
        for process in running:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def say(process: asyncio.subprocess.Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


@pytest.mark.long_on("redis_", "mongo_pymongo", "mongo_standalone")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gen_test(timeout=amount(110, 660))
async def test_racing_sign_ins_of_two_processes_leave_exactly_the_limit(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, tried: Tried
) -> None:
    url = url_of(kind, request, tmp_path)
    # A sign-in on MongoDB costs ten times one on the others here.
    rounds = amount(2, ROUNDS) if kind.startswith("mongo") else ROUNDS
    sessions = Sessions(url, secret=SECRET)
    await sessions.open()
    async with processes(url, str(AT_ONCE)) as running:
        for policy, limit, number in product(("end_oldest", "refuse"), LIMITS, range(rounds)):
            user = f"{policy}-{limit}-{number}"
            for process in running:
                say(process, f"{policy} {limit} {user}")
            assert [await line_of(process) for process in running] == ["ready", "ready"]
            for process in running:
                say(process, "go")
            results = " ".join([await line_of(process) for process in running]).split()
            assert len(results) == 2 * AT_ONCE
            total = (await sessions.count(user=user)).total
            tried(
                "racing sign-ins of two processes: sessions off the limit", times=len(results), lost=abs(total - limit)
            )
            assert total == limit, (user, results)
            if policy == "refuse":
                assert results.count("in") == limit, user
            else:
                assert results == ["in"] * 2 * AT_ONCE, user
    await sessions.close()


class Steps(WrappedStore):
    """A store whose calls fail as a test says."""

    failing = False
    #: How many calls of ``swap`` succeed before all others fail; ``None``: every one.
    swaps: int | None = None
    #: Whether ``destroy`` fails for others' sessions: it ends only what was signed in last.
    destroys_last_only = False
    last = ""

    async def save(self, changes: Any) -> list[Outcome | Conflict | Exception]:
        if self.failing:
            raise StoreUnavailable("memory", "a test says so")
        self.last = changes[-1].handle
        return await super().save(changes)

    async def swap(self, *arguments: Any) -> Swapped:
        if self.swaps is not None:
            self.swaps -= 1
            if self.swaps < 0:
                raise StoreUnavailable("memory", "a test says so")
        return await super().swap(*arguments)

    async def destroy(self, handles: Any, ending: Any) -> list[str]:
        if self.destroys_last_only and list(handles) != [self.last]:
            raise StoreUnavailable("memory", "a test says so")
        return await super().destroy(handles, ending)


async def sign_in(sessions: Sessions, user: str = "ada") -> str:
    request = sessions.new_request_session(RequestInfo(sessions.clock()))
    await sessions.log_in(request, user)
    assert request.session.handle is not None
    return request.session.handle


def limited(store: Any, limit: int, policy: Any, clock: Clock) -> Sessions:
    config = SessionConfig(secret=SECRET, max_sessions_per_user=limit, when_exceeded=policy)
    return Sessions(store, config=config, clock=clock)


@pytest.mark.gen_test
async def test_a_slow_clock_does_not_make_a_sign_in_the_oldest() -> None:
    store, right, slow = MemoryStore(), Clock(), Clock()
    slow.now -= 300
    a, b = limited(store, 1, "end_oldest", right), limited(store, 1, "end_oldest", slow)
    await sign_in(a)
    last = await sign_in(b)
    assert [item.handle for item in (await a.find(user="ada")).items] == [last]
    await a.close()
    await b.close()


@pytest.mark.gen_test
async def test_a_place_is_free_again_at_sign_out_and_after_an_outage() -> None:
    store, clock = Steps(MemoryStore()), Clock()
    sessions = limited(store, 1, "refuse", clock)
    store.failing = True
    with pytest.raises(StoreUnavailable):
        await sign_in(sessions)
    store.failing = False
    handle = await sign_in(sessions)
    with pytest.raises(TooManySessions):
        await sign_in(sessions)
    await sessions.destroy(handle)
    await sign_in(sessions)
    await sessions.close()


@pytest.mark.gen_test
async def test_a_place_whose_process_died_is_free_again_after_a_while() -> None:
    store, clock = MemoryStore(), Clock()
    sessions = limited(store, 1, "refuse", clock)
    await sessions.open()
    await sessions._limit._reserve("ada", "never-stored", 1)
    with pytest.raises(TooManySessions):
        await sign_in(sessions)
    clock.now += RESERVED
    await sign_in(sessions)
    await sessions.close()


@pytest.mark.gen_test
async def test_sessions_from_before_there_was_a_limit_count_as_the_oldest() -> None:
    store, clock = MemoryStore(), Clock()
    unlimited = Sessions(store, secret=SECRET, clock=clock)
    before = []
    for _ in range(3):
        before.append(await sign_in(unlimited))
        clock.now += 1
    sessions = limited(store, 2, "end_oldest", clock)
    newest = await sign_in(sessions)
    assert {item.handle for item in (await sessions.find(user="ada")).items} == {before[-1], newest}
    found = await sessions.inspect(before[0])
    assert isinstance(found, Tombstone)
    assert found.ending.cause == "evicted"
    await sessions.close()


@pytest.mark.gen_test
async def test_signing_in_again_takes_no_second_place() -> None:
    store, clock = MemoryStore(), Clock()
    sessions = limited(store, 1, "refuse", clock)
    request = sessions.new_request_session(RequestInfo(clock()))
    for _ in range(3):
        await sessions.log_in(request, "ada")
    assert (await sessions.count(user="ada")).total == 1
    await sessions.close()


@pytest.mark.gen_test
async def test_without_a_limit_a_sign_in_costs_one_save() -> None:
    store, clock = WrappedStore(MemoryStore()), Clock()
    sessions = Sessions(store, secret=SECRET, clock=clock)
    await sign_in(sessions)
    assert store.calls == {"save": 1}
    await sessions.close()


@pytest.mark.parametrize("is_known", [False, True], ids=["new session", "visitor's session"])
@pytest.mark.parametrize(
    "fails", ["first read", "reservation", "first read of the confirmation", "confirmation", "eviction"]
)
@pytest.mark.gen_test
async def test_a_store_that_fails_in_the_middle_of_a_sign_in_leaves_nobody_signed_in(
    fails: str, is_known: bool
) -> None:
    store, clock = Steps(MemoryStore()), Clock()
    sessions = limited(store, 2, "end_oldest", clock)
    before = {await sign_in(sessions), await sign_in(sessions)}
    request = sessions.new_request_session(RequestInfo(clock()))
    if is_known:
        request.session["cart"] = [1]
        await sessions.commit(request)
        request.set_cookie = None
    if fails == "eviction":
        store.destroys_last_only = True
    else:
        store.swaps = ["first read", "reservation", "first read of the confirmation", "confirmation"].index(fails)
    with pytest.raises(StoreUnavailable):
        await sessions.log_in(request, "ada")
    assert request.session.user is None
    assert request.set_cookie is None
    assert {item.handle for item in (await sessions.find(user="ada")).items} == before
    # When the store works again, so does the limit.
    store.swaps, store.destroys_last_only = None, False
    newest = await sign_in(sessions)
    found = {item.handle for item in (await sessions.find(user="ada")).items}
    assert len(found) == 2
    assert newest in found
    await sessions.close()
