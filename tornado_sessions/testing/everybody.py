"""Checks of ``end_all``: it ends sessions of hosts with fast clocks, prevents no new sign-in and hides no live session.

It must not know how a store sets ended sessions aside. Times are arguments, so no check waits. It has more than 300 lines because
the checks share their setting: ended sessions before and after a live one.
"""

from __future__ import annotations

import math
from typing import Any

from tornado_sessions.query import Count, Query, Sort, State
from tornado_sessions.record import Create, EventKind, Outcome, Record, Tombstone
from tornado_sessions.stores.base import Store
from tornado_sessions.testing.ending import hear, listening
from tornado_sessions.testing.finding import walked
from tornado_sessions.testing.maker import NOW, StoreMaker, change, create, end

__all__ = ["DEAD", "assert_hidden"]

#: Number of ended sessions in front of a live one.
DEAD = 300
# Later than all times that the checks store, and before anything expires.
_LATER = NOW + 900
_FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"user": "zoe"},
    {"users": ("nobody", "zoe")},
    {"user_prefix": "zo"},
    {"ip": "192.0.2.1"},
    {"network": "192.0.2.0/24"},
    {"handle": "living"},
    {"text": "zo"},
    {"device": "Firefox"},
    {"signed_in": True},
    {"signed_in_since": NOW - 1},
    {"idle_since": _LATER},
    {"created_until": _LATER},
    {"user": "zoe", "device": "Firefox", "network": "192.0.2.0/24"},
)


def _later(handle: str, **fields: Any) -> Create:
    """Return a session that is created after ``end_all``."""
    at = fields.pop("created_at")
    given = {"created_at": at, "last_seen_at": at, "signed_in_at": at, "expires_at": NOW + 1800}
    return create(handle, **{"user_agent": "Mozilla/5.0 Firefox/140.0", **given, **fields})


async def _is_live(store: Store, handle: str, now: float = _LATER) -> bool:
    """Return whether a request with this session would be accepted."""
    loaded = await store.load([handle], now)
    found = loaded.records[0]
    return isinstance(found, Record) and found.expires_at > now and found.created_at >= loaded.not_before


async def _assert_only(store: Store, living: set[str], *asked: dict[str, Any]) -> None:
    """Assert that the first page of every list shows exactly these sessions, and that every count agrees."""
    for filters in asked or ({},):
        for sort in Sort:
            page = await store.find(Query(now=_LATER, sort=sort, limit=100, **filters))
            assert {item.handle for item in page.items} == living, (filters, sort, [i.handle for i in page.items][:5])
            assert len(page.items) == len(living), (filters, sort)
        count = await store.count(Query(now=_LATER, **filters))
        assert count == Count(len(living), exact=True), (filters, count)


async def _sweep(store: Store, limit: int, now: float = _LATER) -> int:
    """Run ``expire`` to its end in steps. Return the number of sessions it removed."""
    removed = 0
    for _ in range(10_000):
        step = await store.expire(now, 60, limit)
        assert 0 <= step <= limit, step
        removed += step
        if step < limit:
            return removed
    raise AssertionError("the clean-up never ends")


async def check_everybody_ends_whatever_their_clock_said(maker: StoreMaker) -> None:
    """``end_all(None)`` ends sessions that a host with a fast clock created or used, seconds or minutes ahead."""
    for number, ahead in enumerate((0.0, 0.000_001, 3.0, 300.0)):
        one, two = await maker.open(), await maker.open()
        # Each round starts later than the previous one, so that its not_before does not matter.
        at = NOW + 1000 * number
        given = {"expires_at": at + 5000, "absolute_at": at + 50_000, "last_seen_at": at + ahead}
        await one.save(
            [
                create(f"made{number}", **given, created_at=at + ahead, signed_in_at=at + ahead),
                create(f"used{number}", **given, created_at=at, user=None, signed_in_at=None),
            ]
        )
        not_before = await two.end_all(None, end(at))
        assert not_before > at + ahead
        for handle in (f"made{number}", f"used{number}"):
            assert not await _is_live(one, handle, at + ahead + 1), (handle, ahead)
            late = change(handle, now=at + ahead + 1, set={"a": b"2"}, last_seen_at=at + ahead + 1)
            assert await one.save([late]) == [Outcome.GONE], (handle, ahead)
        assert (await one.find(Query(now=at + ahead + 1))).items == []
        assert await one.count(Query(now=at + ahead + 1)) == Count(0, exact=True)


async def check_no_clock_carries_everybodys_end_away(maker: StoreMaker) -> None:
    """A session created by a clock that is days or millennia ahead ends too, without moving ``not_before`` that far."""
    one, two = await maker.open(), await maker.open()
    far = {"two_days": NOW + 2 * 86400, "in_2200": 7.26e9, "in_9000": 2.2e11, "in_9998": 2.5e11}
    lasting = {"expires_at": 2.53e11, "absolute_at": 2.53e11}
    made = [create(name, **lasting, created_at=at, last_seen_at=at, signed_in_at=at) for name, at in far.items()]
    used = create("used", **lasting, last_seen_at=NOW + 5 * 86400)
    await one.save([*made, used, create("made", created_at=NOW + 300)])
    async with listening(one, two) as (events,):
        not_before = await one.end_all(None, end(NOW, by="root"))
        assert NOW + 300 < not_before <= NOW + 86400
        for handle, at in {**far, "used": NOW, "made": NOW}.items():
            assert not await _is_live(two, handle), handle
            late = change(handle, now=_LATER, set={"a": b"2"}, last_seen_at=at)
            assert await two.save([late]) == [Outcome.GONE], handle
        assert await two.save([_later("new", created_at=not_before)]) == [Outcome.SAVED]
        await _assert_only(one, {"new"})
        # Listeners compare times with the event of end_all, so sessions that are ahead of it get events of their own.
        assert (await hear(events, lambda event: event.handle == "two_days")).kind is EventKind.DESTROYED
    await _sweep(two, 500)
    assert await maker.raw_handles() == {"new"}
    ended = (await one.load(["two_days"], _LATER)).records[0]
    assert isinstance(ended, Tombstone)
    assert ended.ending.by == "root"


async def check_a_slow_clock_ends_everybody(maker: StoreMaker) -> None:
    """If many sessions are far ahead, the clock of the host that ends them is wrong, and their times are used."""
    store = await maker.open()
    at = NOW + 3 * 86400
    given = {"last_seen_at": at, "signed_in_at": at, "expires_at": at + 1800, "absolute_at": at + 43200}
    for first in range(0, 3000, 500):
        await store.save([create(f"h{n}", created_at=at, **given) for n in range(first, first + 500)])
    not_before = await store.end_all(None, end(NOW))
    # There are more sessions than would be ended one by one.
    assert at < not_before <= at + 1
    assert (await store.find(Query(now=at))).items == []
    assert await store.count(Query(now=at)) == Count(0, exact=True)


async def check_everybody_may_come_back_after_everybodys_end(maker: StoreMaker) -> None:
    """A session created at the returned ``not_before`` is live; one created earlier is refused."""
    one, two = await maker.open(), await maker.open()
    await one.save([create("fast", created_at=NOW + 300, last_seen_at=NOW + 300)])
    not_before = await one.end_all(None, end(NOW))
    early = math.nextafter(not_before, 0.0)
    assert await two.save([_later("early", created_at=early)]) == [Outcome.GONE]
    assert await two.save([_later("new", created_at=not_before)]) == [Outcome.SAVED]
    assert await _is_live(one, "new")
    await _assert_only(one, {"new"})
    assert await one.save([change("new", now=_LATER, set={"a": b"2"}, last_seen_at=_LATER)]) == [Outcome.SAVED]
    await _assert_only(two, {"new"}, {}, {"user": "ada"})
    assert await one.load(["early"], _LATER) == ([None], not_before)


async def check_everybodys_end_answers_with_what_holds(maker: StoreMaker) -> None:
    """``end_all`` returns the ``not_before`` that every client loads from then on. It only moves forward."""
    one, two = await maker.open(), await maker.open()
    answers = [
        await one.end_all(None, end(NOW)),
        await two.end_all(NOW + 5, end(NOW + 5)),
        await one.end_all(NOW + 1, end(NOW + 1)),
        await one.end_all(None, end(NOW + 2)),
    ]
    assert answers == [NOW, NOW + 5, NOW + 5, NOW + 5]
    await one.save([_later("new", created_at=NOW + 5)])
    # A second end at the same time also ends the sessions that started after the first.
    last = await two.end_all(None, end(NOW + 2))
    assert last > NOW + 5
    assert not await _is_live(one, "new")
    for store in (one, two):
        assert (await store.load([], _LATER)).not_before == last


async def check_everybodys_end_spares_who_came_later(maker: StoreMaker) -> None:
    """With a time, exactly the sessions created before it end; the others can still be listed, counted and changed."""
    one, two = await maker.open(), await maker.open()
    at = NOW + 50
    early = math.nextafter(at, 0.0)
    await one.save(
        [
            create("old", created_at=NOW, last_seen_at=NOW + 400, user="zoe"),
            create("just", created_at=early, last_seen_at=at),
            _later("visitor", created_at=at, user=None, signed_in_at=None),
            _later("exact", created_at=at),
            _later("later", created_at=at + 9, user="zoe"),
        ]
    )
    assert await one.end_all(at, end(at)) == at
    await _assert_only(two, {"visitor", "exact", "later"})
    await _assert_only(two, {"later"}, {"user": "zoe"}, {"user_prefix": "z"})
    answers = await two.save([change(h, now=_LATER, last_seen_at=_LATER) for h in ("old", "just", "exact", "later")])
    assert answers == [Outcome.GONE, Outcome.GONE, Outcome.SAVED, Outcome.SAVED]
    page = await one.find(Query(now=_LATER))
    assert [item.handle for item in page.items] == ["exact", "later", "visitor"]
    assert await _sweep(two, 500) == 2
    await _assert_only(one, {"visitor", "exact", "later"})
    assert await maker.raw_handles() == {"visitor", "exact", "later"}


async def check_everybody_can_be_ended_again_before_the_sweep(maker: StoreMaker) -> None:
    """A second ``end_all``, before or in the middle of the removal of ended sessions, ends newer sessions too."""
    store = await maker.open()
    await store.save([create(f"a{n}") for n in range(6)])
    first = await store.end_all(None, end(NOW, by="first"))
    await store.save([_later(f"b{n}", created_at=first) for n in range(6)])
    assert await store.expire(_LATER, 60, 2) == 2
    second = await store.end_all(None, end(NOW + 1, by="second"))
    assert second > first
    await _assert_only(store, set())
    await store.save([_later("c0", created_at=second), _later("c1", created_at=second + 60)])
    # A third end, with a time, keeps one session.
    assert await store.end_all(second + 60, end(NOW + 2, by="third")) == second + 60
    await _assert_only(store, {"c1"})
    assert await _sweep(store, 2) == 11
    assert await maker.raw_handles() == {"c1"}
    found = (await store.load(["b0", "c0"], _LATER)).records
    # Sessions that had already ended may have either ending.
    assert [isinstance(item, Tombstone) and item.ending.by in ("second", "third") for item in found] == [True, True]


async def assert_hidden(maker: StoreMaker, dead: int, chosen: float | None) -> None:
    """Run the two checks below with any number of ended sessions.

    Args:
        maker: of the store.
        dead: number of ended sessions.
        chosen: the ``not_before`` that ends them; ``None`` ends all.
    """
    store = await maker.open()
    people = ("zoe", "ada", None)
    for first in range(0, dead, 500):
        await store.save(
            [
                create(
                    f"d{n:06}",
                    user=people[n % 3],
                    signed_in_at=NOW if people[n % 3] else None,
                    last_seen_at=NOW + n % 120,
                    expires_at=NOW + 1000 + n % 120,
                    user_agent="Mozilla/5.0 Firefox/140.0",
                )
                for n in range(first, min(first + 500, dead))
            ]
        )
    living = _later("living", user="zoe", created_at=NOW + 60)
    if chosen is not None:
        await store.save([living])
    not_before = await store.end_all(chosen, end(NOW + 50))
    if chosen is None:
        await _assert_only(store, set())
        await store.save([_later("living", user="zoe", created_at=not_before)])
    await _assert_only(store, {"living"}, *_FILTERS)
    assert await walked(store, now=_LATER, limit=7) == ["living"]
    await store.save([change("living", now=_LATER, last_seen_at=_LATER, ip="192.0.2.2", expires_at=NOW + 1900)])
    await _assert_only(store, {"living"}, {}, {"user": "zoe"}, {"ip": "192.0.2.2"})
    await _assert_only(store, set(), {"user": "ada"}, {"ip": "192.0.2.1"}, {"signed_in": False})


async def check_the_ended_hide_nobody_before_they_are_swept(maker: StoreMaker) -> None:
    """After ``end_all(None)``, the first page of every order and filter shows the new session, and every count is exact."""
    await assert_hidden(maker, DEAD, None)


async def check_the_ended_hide_nobody_who_was_spared(maker: StoreMaker) -> None:
    """The same is true after ``end_all`` with a time, even if ended sessions were used later than the live one."""
    await assert_hidden(maker, DEAD, NOW + 50)


async def check_the_sweep_removes_everybody_in_steps(maker: StoreMaker) -> None:
    """``expire`` removes all ended sessions, ``limit`` at a time, and leaves tombstones; times of use do not matter."""
    store = await maker.open()
    handles = [f"d{n}" for n in range(20)]
    await store.save([create(h, last_seen_at=NOW + 40 * n, user=None) for n, h in enumerate(handles)])
    await store.save([_later("living", created_at=NOW + 100)])
    # A host with a fast clock used half of the ended sessions after not_before.
    ending = end(NOW + 100, reason="the emergency", keep_until=NOW + 80_000)
    await store.end_all(NOW + 100, ending)
    assert await store.expire(_LATER, 60, 7) == 7
    assert len(await maker.raw_handles()) == 14
    await _assert_only(store, {"living"})
    assert [await _is_live(store, handle) for handle in handles] == [False] * 20
    assert await _sweep(store, 7) == 13
    assert await maker.raw_handles() == {"living"}
    await _assert_only(store, {"living"})
    found = (await store.load(handles, _LATER)).records
    assert [item.ending if isinstance(item, Tombstone) else item for item in found] == [ending] * 20
    ended = await walked(store, now=_LATER, state=State.ENDED, limit=6)
    assert sorted(ended) == sorted(handles)
    assert await store.expire(_LATER, 60, 7) == 0


async def check_whoever_ended_with_everybody_ends_only_once(maker: StoreMaker) -> None:
    """Before and after their removal, a write is ``GONE``, ``take`` returns ``None``, and a second end returns nothing."""
    store = await maker.open()
    await store.save([create(f"h{n}") for n in range(6)])
    not_before = await store.end_all(None, end(NOW + 1))
    other = end(NOW + 2, by="other")
    for left in (6, 3, 0):
        assert len(await maker.raw_handles()) == left
        answers = await store.save([change(f"h{n}", now=NOW + 2, expires_at=NOW + 9999) for n in range(6)])
        assert answers == [Outcome.GONE] * 6
        assert await store.save([_later("h0", created_at=not_before)]) == [Outcome.GONE]
        assert await store.destroy([f"h{n}" for n in range(6)], other) == []
        assert await store.destroy_user("ada", other) == []
        assert [await store.take(f"h{n}", other) for n in range(6)] == [None] * 6
        await store.expire(NOW + 3, 60, 3)
    found = (await store.load([f"h{n}" for n in range(6)], NOW + 3)).records
    assert [item.ending.by if isinstance(item, Tombstone) else item for item in found] == ["root"] * 6


async def check_everybodys_end_is_heard_with_its_time(maker: StoreMaker) -> None:
    """Listeners of every client get the event of ``end_all`` with its ``not_before``, perhaps after earlier events."""
    one, two = await maker.open(), await maker.open()
    async with listening(one, one, two) as streams:
        await one.save([create("fast", created_at=NOW + 300, last_seen_at=NOW + 300)])
        not_before = await one.end_all(None, end(NOW))
        for events in streams:
            event = await hear(
                events,
                lambda event: event.kind is EventKind.ENDED_ALL and (event.at >= not_before or event.by != "root"),
            )
            assert (event.handle, event.at, event.by) == ("", not_before, "root")
