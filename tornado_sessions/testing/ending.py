"""Checks of ended sessions: they end permanently, at the exact second, with an event for every listener."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from itertools import product

from tornado_sessions.change import as_of
from tornado_sessions.query import Query
from tornado_sessions.record import Cause, Change, Create, Event, EventKind, Outcome, Record, Tombstone
from tornado_sessions.stores.base import Store
from tornado_sessions.testing.maker import NOW, StoreMaker, change, create, end, make_record

__all__ = ["hear", "listening"]

# Seconds to wait for an event. A store must deliver it within one second; slow test machines get more.
_HEARD = 5.0


async def check_a_late_write_brings_nothing_back(maker: StoreMaker) -> None:
    """A change or a creation after the destroy is ``GONE``, from any client, and nothing is stored."""
    one, two = await maker.open(), await maker.open()
    await one.save([create("h1")])
    assert await one.destroy(["h1"], end()) == ["h1"]
    late: list[Create | Change] = [
        change(set={"a": b"2"}),
        change(last_seen_at=NOW + 2, expires_at=NOW + 9999),
        create("h1"),
    ]
    for store in (one, two):
        assert await store.save(late) == [Outcome.GONE] * 3
    assert await maker.raw_handles() == set()


async def check_a_destroyed_session_leaves_its_tombstone(maker: StoreMaker) -> None:
    """The tombstone has the summary and the ending of the session."""
    store = await maker.open()
    await store.save([create("h1")])
    await store.destroy(["h1"], end())
    found = (await store.load(["h1"], NOW + 2)).records[0]
    assert isinstance(found, Tombstone)
    assert found.ending == end()
    facts = make_record("h1")
    for name in ("handle", "user", "ip", "user_agent", "created_at", "signed_in_at", "last_seen_at", "expires_at"):
        assert getattr(found, name) == getattr(facts, name)


async def check_destroying_twice_is_no_error(maker: StoreMaker) -> None:
    """``destroy`` returns the sessions that were live, once each; the first ending is kept."""
    store = await maker.open()
    await store.save([create("h1"), create("h2"), create("late", expires_at=NOW + 1)])
    assert sorted(await store.destroy(["h1", "none", "h2", "h1", "late"], end(NOW + 1))) == ["h1", "h2"]
    assert await store.destroy(["h1"], end(NOW + 5, by="other")) == []
    found = (await store.load(["h1"], NOW + 9)).records[0]
    assert isinstance(found, Tombstone)
    assert found.ending.by == "root"


async def check_a_users_sessions_end_but_one(maker: StoreMaker) -> None:
    """``destroy_user`` ends all sessions of the user except ``except_handle``, and no others; with ``at_most``, no more of them."""
    store = await maker.open()
    await store.save(
        [create(f"a{n}", user="ada") for n in range(5)] + [create("e", user="eve"), create("v", user=None)]
    )
    assert sorted(await store.destroy_user("ada", end(), "a2")) == ["a0", "a1", "a3", "a4"]
    assert await maker.raw_handles() == {"a2", "e", "v"}
    assert await store.destroy_user("nobody", end()) == []
    await store.save([create(f"m{n}", user="mae") for n in range(6)])
    await store.save([create("over", user="mae", expires_at=NOW + 1)])
    ended = await store.destroy_user("mae", end(), "m0", 3)
    assert len(ended) == len(set(ended)) == 3
    assert set(ended) < {f"m{n}" for n in range(1, 6)}
    rest = [f"m{n}" for n in range(6) if f"m{n}" not in ended]
    assert isinstance((await store.load(rest, NOW + 1)).records[0], Record)
    assert sorted(await store.destroy_user("mae", end(), at_most=9)) == rest


async def check_a_session_is_gone_at_the_exact_second(maker: StoreMaker) -> None:
    """A session is live until just before ``expires_at``; from then on it is a tombstone, and a change is ``GONE``."""
    store = await maker.open()
    await store.save([create("idle", expires_at=NOW + 10), create("old", expires_at=NOW + 10, absolute_at=NOW + 10)])
    before = (await store.load(["idle", "old"], NOW + 9.999)).records
    after = (await store.load(["idle", "old"], NOW + 10)).records
    assert all(isinstance(item, Record) for item in before)
    causes = [item.ending.cause if isinstance(item, Tombstone) else None for item in after]
    assert causes == [Cause.IDLE, Cause.ABSOLUTE]
    assert await store.save([change("idle", now=NOW + 10, set={"a": b"2"}, expires_at=NOW + 99)]) == [Outcome.GONE]
    assert (await store.find(Query(now=NOW + 10))).items == []


async def check_expired_ones_are_removed_in_steps_and_told(maker: StoreMaker) -> None:
    """``expire`` removes at most ``limit`` sessions, leaves tombstones and keeps live sessions."""
    store = await maker.open()
    await store.save([create(f"h{n}", expires_at=NOW + n) for n in range(1, 6)] + [create("live")])
    assert [await store.expire(NOW + 5, 60, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert await maker.raw_handles() == {"live"}
    found = (await store.load(["h3"], NOW + 6)).records[0]
    assert isinstance(found, Tombstone)
    assert (found.ending.cause, found.ending.at, found.ending.keep_until) == (Cause.IDLE, NOW + 3, NOW + 65)


async def check_old_tombstones_are_forgotten(maker: StoreMaker) -> None:
    """``expire`` removes a tombstone from ``keep_until`` on."""
    store = await maker.open()
    await store.save([create("h1"), create("h2")])
    await store.destroy(["h1"], end(keep_until=NOW + 50))
    await store.destroy(["h2"], end(keep_until=NOW + 51))
    await store.expire(NOW + 50, 60)
    found = (await store.load(["h1", "h2"], NOW + 50)).records
    assert [type(item) for item in found] == [type(None), Tombstone]


async def check_an_answer_at_once_is_that_of_a_load(maker: StoreMaker) -> None:
    """``peek`` has no answer, or the one of ``load`` apart from the expiry, whatever this client or another has just done."""
    one, two = await maker.open(), await maker.open()
    acts: list[Callable[[Store], Awaitable[object]]] = [
        lambda store: store.save([create("h1"), create("h2"), create("late", expires_at=NOW + 1)]),
        lambda store: store.save([change(set={"a": b"2"})]),
        lambda store: store.save([change(now=NOW + 2, last_seen_at=NOW + 2)]),
        lambda store: store.destroy(["h1"], end()),
        lambda store: store.end_all(NOW + 2, end(NOW + 2)),
        lambda store: store.expire(NOW + 2, 60),
    ]
    for number, act in enumerate(acts):
        await act((one, two)[number % 2])
        for store, handle in product((one, two), ("h1", "h2", "late", "none")):
            loaded = await store.load([handle], NOW + 2)
            at_once = store.peek(handle)
            if at_once is not None:
                at_once = as_of(at_once[0], NOW + 2), at_once[1]
                assert at_once == (loaded.records[0], loaded.not_before), (number, handle)


async def check_everybody_is_out_with_one_write(maker: StoreMaker) -> None:
    """``end_all`` sets ``not_before``, applies to lists and changes, and ``expire`` removes the sessions with its ending."""
    one, two = await maker.open(), await maker.open()
    await one.save([create(f"h{n}") for n in range(3)])
    await one.end_all(NOW + 1, end(NOW + 1))
    assert (await two.load(["h1"], NOW + 2)).not_before == NOW + 1
    assert (await two.find(Query(now=NOW + 2))).items == []
    assert (await two.count(Query(now=NOW + 2))).total == 0
    assert await two.save([change("h1", now=NOW + 2, set={"a": b"2"})]) == [Outcome.GONE]
    assert await two.save([create("new", created_at=NOW + 1)]) == [Outcome.SAVED]
    assert await one.expire(NOW + 2, 60) == 3
    assert await maker.raw_handles() == {"new"}
    found = (await one.load(["h1"], NOW + 2)).records[0]
    assert isinstance(found, Tombstone)
    assert found.ending.by == "root"


async def check_everybodys_end_only_moves_forward(maker: StoreMaker) -> None:
    """An earlier ``not_before`` after a later one changes nothing."""
    store = await maker.open()
    await store.end_all(NOW + 5, end(NOW + 5))
    await store.end_all(NOW + 1, end(NOW + 1))
    assert (await store.load([], NOW)).not_before == NOW + 5


async def hear(events: AsyncIterator[Event], wanted: Callable[[Event], bool] = lambda _: True) -> Event:
    """Return the next event that is ``wanted``."""
    while True:
        event = await asyncio.wait_for(anext(events), _HEARD)
        if wanted(event):
            return event


@asynccontextmanager
async def listening(writer: Store, *stores: Store) -> AsyncGenerator[list[AsyncGenerator[Event, None]], None]:
    """Yield the events of each store once all are listening. Ignore events of handles ``w…``, which are used to find out."""
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(aclosing(store.events())) for store in stores]
        first = [asyncio.ensure_future(hear(events)) for events in streams]
        # A listener may need a moment to start, so end sessions until every listener has received an event.
        for number in range(100):
            await writer.save([create(f"w{number}", user=None)])
            await writer.destroy([f"w{number}"], end())
            done, _ = await asyncio.wait(first, timeout=0.05)
            if len(done) == len(first):
                break
        await asyncio.gather(*first)
        yield streams


async def check_another_client_hears_of_an_end(maker: StoreMaker) -> None:
    """Listeners of every client get an event when a session is destroyed, when it expires and when all sessions are ended."""
    one, two = await maker.open(), await maker.open()
    await one.save([create("h1"), create("h2", expires_at=NOW + 5)])
    async with listening(one, one, two) as streams:
        await one.destroy(["h1"], end())
        await one.expire(NOW + 6, 60)
        await one.end_all(NOW + 7, end(NOW + 7))
        for events in streams:
            heard = [await hear(events)]
            while heard[-1].kind is not EventKind.ENDED_ALL:
                heard.append(await hear(events))
            found = [(event.kind, event.handle) for event in heard if not event.handle.startswith("w")]
            assert found == [(EventKind.DESTROYED, "h1"), (EventKind.EXPIRED, "h2"), (EventKind.ENDED_ALL, "")]
            ended = next(event for event in heard if event.handle == "h1")
            assert (ended.user, ended.cause, ended.by) == ("ada", Cause.OPERATOR, "root")


async def check_closing_ends_the_listening(maker: StoreMaker) -> None:
    """``close`` ends every iterator of ``events``."""
    store = await maker.open()

    async def listen() -> None:
        """Read all events."""
        async with aclosing(store.events()) as events:
            async for _ in events:
                pass

    listener = asyncio.ensure_future(listen())
    await store.save([create("h1")])
    await store.ping()
    await store.close()
    await asyncio.wait_for(listener, _HEARD)


async def check_open_and_close_twice_are_harmless(maker: StoreMaker) -> None:
    """A second ``open`` or ``close`` does nothing, and a store that is opened again has its data."""
    store = await maker.open()
    await store.open()
    await store.save([create("h1")])
    await store.close()
    await store.close()
    await store.open()
    assert (await store.load(["h1"], NOW)).records[0] is not None


async def check_what_is_taken_is_whole_and_taken_once(maker: StoreMaker) -> None:
    """``take`` ends a live session and returns its last state, only once; later writes are ``GONE``."""
    store = await maker.open()
    await store.save([create("h1", data={"a": b"1"}), create("late", expires_at=NOW + 1)])
    await store.save([change(set={"b": b"2"})])
    ending = end(NOW + 2)
    taken = await store.take("h1", ending)
    assert taken is not None
    assert taken.data == {"a": b"1", "b": b"2"}
    assert [await (await maker.open()).take(handle, ending) for handle in ("h1", "late", "none")] == [None] * 3
    assert await store.save([change(now=NOW + 3, set={"c": b"3"})]) == [Outcome.GONE]
    found = (await store.load(["h1"], NOW + 3)).records[0]
    assert isinstance(found, Tombstone)
    assert found.ending == ending
