"""Checks of damaged records: an unreadable record affects only itself, in loads, batches, lists, counts and ``expire``.

It must not know how records are stored: the maker damages them, in each way of ``StoreMaker.damages``. A time outside the
years 1970 to 9999 counts as damage, because it cannot be shown. It has more than 300 lines because the checks share one round.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import Change, Create, Damaged, EventKind, Outcome, Record, SessionSummary, Tombstone
from tornado_sessions.stores.base import Store
from tornado_sessions.testing.directions import walked_back
from tornado_sessions.testing.ending import hear, listening
from tornado_sessions.testing.finding import walked
from tornado_sessions.testing.maker import NOW, Damage, StoreMaker, change, create, end, make_record

__all__: list[str] = []

# If one of these fields is damaged, the store cannot know whether the session is live, so no index lists it.
_DECISIVE = {"live", "created_at", "expires_at"}
_NEEDED = {
    Sort.LAST_SEEN: {"last_seen_at"},
    Sort.SIGNED_IN: {"signed_in_at", "user", "last_seen_at"},
    Sort.EXPIRES: {"expires_at"},
    Sort.USER: {"user", "last_seen_at"},
}
_ORDERS_ENDED = {"live", "ending", "ended_at", "keep_until"}
_USER = "quill"


class _Round:
    """Ten sessions of one user, one of them damaged.

    Attributes:
        store: the store of the sessions.
        damage: the damage of one session.
        at: the base of all times, in UTC seconds.
        handles: of all ten.
        bad: handle of the damaged session, in the middle of every order.
        good: handles of the nine others.
        why: the message of a failed assertion.
    """

    def __init__(self, store: Store, damage: Damage, number: int, at: float = NOW) -> None:
        self.store = store
        self.damage = damage
        self.at = at
        self.handles = [f"r{number:03}n{place}" for place in range(10)]
        self.bad = self.handles[4]
        self.good = [handle for handle in self.handles if handle != self.bad]
        self.why = f"{damage.field or 'everything'}: {damage.how}"

    def fields(self, handle: str) -> dict[str, Any]:
        """Return the fields of a session."""
        place = self.handles.index(handle)
        return {
            "user": _USER,
            "ip": f"192.0.2.{place}",
            "created_at": self.at - 60 + place,
            "signed_in_at": self.at - 50 + place,
            "last_seen_at": self.at - 40 + place,
            "expires_at": self.at + 600 + place,
            "previous_hash": b"p" * 32,
        }

    async def begin(self, maker: StoreMaker) -> None:
        """Store ten sessions and damage one, or end all ten and damage one tombstone."""
        answers = await self.store.save([create(handle, **self.fields(handle)) for handle in self.handles])
        assert answers == [Outcome.SAVED] * 10, answers
        if self.damage.of_tombstone:
            for place, handle in enumerate(self.handles):
                await self.store.destroy([handle], end(self.at + place, keep_until=self.at + 100 + place))
        await maker.damage(self.bad, self.damage)


async def _rounds(maker: StoreMaker, *, of_tombstones: bool = False) -> AsyncIterator[_Round]:
    """Yield ten sessions or tombstones for each kind of damage; each round removes its sessions."""
    store = await maker.open()
    ways = [damage for damage in maker.damages if damage.of_tombstone is of_tombstones]
    for number, damage in enumerate(ways):
        made = _Round(store, damage, number)
        await made.begin(maker)
        yield made
        # Remove everything, so that later rounds do not page through it.
        await store.destroy(made.handles, end(NOW + 300, keep_until=NOW + 300))
        await store.expire(NOW + 400, 0)


def _assert_salvaged(found: SessionSummary | None, made: _Round) -> None:
    """Assert that a damaged session has its handle, a reason, and every field that can still be read."""
    assert isinstance(found, Damaged), (made.why, found)
    assert found.handle == made.bad, made.why
    assert found.why, made.why
    assert not any(value in found.why for value in (_USER, "192.0.2", "Firefox")), (made.why, found.why)
    for name in ("ip", "user_agent"):
        assert isinstance(getattr(found, name), str), (made.why, name)
    assert found.user is None or isinstance(found.user, str), made.why
    for name in ("created_at", "last_seen_at", "expires_at", "signed_in_at"):
        value = getattr(found, name)
        assert (name == "signed_in_at" and value is None) or _is_time(value), (made.why, name, value)
    if made.damage.field:
        whole = make_record(made.bad, **made.fields(made.bad))
        for name in set(SessionSummary.__struct_fields__) - {made.damage.field}:
            assert getattr(found, name) == getattr(whole, name), (made.why, name)


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < 253_402_300_800.0  # the year 10000


async def check_one_damaged_of_ten_is_loaded_as_damaged(maker: StoreMaker) -> None:
    """Nine are loaded unchanged, one as ``Damaged`` with its readable fields; the damaged one cannot be taken."""
    async for made in _rounds(maker):
        found = (await made.store.load(made.handles, NOW + 2)).records
        for handle, item in zip(made.handles, found, strict=True):
            if handle == made.bad:
                _assert_salvaged(item, made)
            else:
                assert item == make_record(handle, **made.fields(handle)), made.why
        assert await made.store.take(made.bad, end(NOW + 2)) is None, made.why


async def check_one_damaged_of_ten_costs_a_batch_one_answer(maker: StoreMaker) -> None:
    """Of ten changes, nine are saved and one is ``GONE``; creating a session with the damaged handle is ``GONE`` too."""
    async for made in _rounds(maker):
        changes = [change(h, now=NOW + 2, set={"b": b"2"}, last_seen_at=NOW + 2) for h in made.handles]
        answers = await made.store.save([*changes, create(made.bad), create(f"{made.bad}x", user="eve")])
        expected = [Outcome.GONE if handle == made.bad else Outcome.SAVED for handle in made.handles]
        assert answers == [*expected, Outcome.GONE, Outcome.SAVED], made.why
        found = (await made.store.load(made.good, NOW + 3)).records
        assert [isinstance(item, Record) and item.data.get("b") for item in found] == [b"2"] * 9, made.why
        guarded = change(made.bad, now=NOW + 2, set={"b": b"3"}, expect={"a": b"1"})
        assert await made.store.save([guarded]) == [Outcome.GONE], made.why
        await made.store.destroy([f"{made.bad}x"], end())


async def check_one_damaged_of_ten_is_a_row_of_the_list(maker: StoreMaker) -> None:
    """Every order shows the nine once each, across pages, and the damaged one if its index entry is intact."""
    async for made in _rounds(maker):
        for sort in Sort:
            await _assert_listed_once(made, sort)
        found = await made.store.find(Query(now=NOW + 2, handle=made.bad))
        assert [item.handle for item in found.items] in ([made.bad], []), made.why


async def _assert_listed_once(made: _Round, sort: Sort) -> None:
    for filters in ({}, {"user": _USER}):
        seen = await walked(made.store, now=NOW + 2, sort=sort, limit=3, **filters)
        assert all(seen.count(handle) == 1 for handle in made.good), (made.why, sort, filters, seen)
        assert seen.count(made.bad) <= 1, (made.why, sort, filters, seen)
    back = await walked_back(made.store, now=NOW + 2, sort=sort, limit=4)
    assert all(back.count(handle) == 1 for handle in made.good), (made.why, sort, back)
    page = await made.store.find(Query(now=NOW + 2, sort=sort, limit=100))
    rows = [item for item in page.items if item.handle == made.bad]
    if made.damage.field not in _NEEDED[sort] | _DECISIVE:
        assert len(rows) == 1, (made.why, sort)
    for row in rows:
        _assert_salvaged(row, made)


async def check_no_count_fails_for_a_damaged_one(maker: StoreMaker) -> None:
    """Counts are nine or ten, with and without filters, and no filter fails."""
    filters: tuple[dict[str, Any], ...] = (
        {},
        {"user": _USER},
        {"network": "192.0.2.0/24", "device": "no browser"},
        {"signed_in": True, "signed_in_since": NOW - 100},
        {"idle_since": NOW, "created_until": NOW},
        {"text": "qu"},
    )
    async for made in _rounds(maker):
        for given in filters:
            count = await made.store.count(Query(now=NOW + 2, **given))
            assert count.total in (9, 10), (made.why, given, count)
            page = await made.store.find(Query(now=NOW + 2, limit=100, **given))
            shown = {item.handle for item in page.items}
            assert shown >= set(made.good), (made.why, given, shown)
        assert (await made.store.count(Query(now=NOW + 2, signed_in=False))).total in (0, 1), made.why


async def check_a_damaged_one_is_ended_by_its_handle(maker: StoreMaker) -> None:
    """``destroy`` removes it, returns its handle and leaves a tombstone, only once; its handle stays used."""
    async for made in _rounds(maker):
        ending = end(NOW + 2)
        ended = await made.store.destroy([made.bad, made.good[0]], ending)
        assert sorted(ended) == [made.good[0], made.bad], (made.why, ended)
        found = (await made.store.load([made.bad], NOW + 3)).records[0]
        assert isinstance(found, Tombstone), (made.why, found)
        assert found.ending == ending, made.why
        assert await made.store.destroy([made.bad], end(NOW + 3)) == [], made.why
        assert made.bad not in await maker.raw_handles(), made.why
        late: list[Create | Change] = [change(made.bad, now=NOW + 3, set={"a": b"2"}), create(made.bad)]
        assert await made.store.save(late) == [Outcome.GONE] * 2, made.why
        listed = await made.store.find(Query(now=NOW + 3, state=State.ENDED, limit=500, handle=made.bad))
        assert [item.handle for item in listed.items] == [made.bad], made.why


async def check_the_end_of_a_damaged_one_is_heard(maker: StoreMaker) -> None:
    """Listeners of every client get its event, and the events after it."""
    one, two = await maker.open(), await maker.open()
    async with listening(one, one, two) as streams:
        ended: list[str] = []
        async for made in _rounds(maker):
            ended += await made.store.destroy([made.bad], end(NOW + 2))
            ended += await made.store.destroy([made.good[0]], end(NOW + 2))
        for events in streams:
            heard: set[str] = set()
            while not heard.issuperset(ended):
                event = await hear(events)
                assert event.kind is EventKind.DESTROYED
                heard.add(event.handle)


async def check_a_damaged_one_spares_no_other_of_its_user(maker: StoreMaker) -> None:
    """``destroy_user`` ends the nine others, and the damaged one if the store still knows its user."""
    async for made in _rounds(maker):
        ended = await made.store.destroy_user(_USER, end(NOW + 2))
        assert len(ended) == len(set(ended)), made.why
        assert set(made.good) <= set(ended) <= set(made.handles), (made.why, ended)
        if made.damage.field not in {"", "user"} | _DECISIVE | _NEEDED[Sort.USER]:
            assert made.bad in ended, made.why
        found = (await made.store.load(made.handles, NOW + 3)).records
        for handle, item in zip(made.handles, found, strict=True):
            assert isinstance(item, Tombstone if handle in ended else Damaged), (made.why, handle, item)


async def _clean_up(made: _Round, now: float) -> None:
    """Run ``expire`` to its end, three at a time; a damaged session must not keep it running."""
    for _ in range(12):
        if await made.store.expire(now, 60, 3) < 3:
            return
    raise AssertionError(f"the clean-up never ends: {made.why}")


async def check_no_clean_up_fails_for_a_damaged_one(maker: StoreMaker) -> None:
    """The nine are removed when they have expired, wherever the damaged one is in the order of expiry."""
    async for made in _rounds(maker):
        await _clean_up(made, NOW + 700)
        found = (await made.store.load(made.handles, NOW + 700)).records
        for handle, item in zip(made.handles, found, strict=True):
            expected = (Damaged, Tombstone) if handle == made.bad else Tombstone
            assert isinstance(item, expected), (made.why, handle, item)
        assert not set(made.good) & await maker.raw_handles(), made.why


async def check_everybodys_end_reaches_past_a_damaged_one(maker: StoreMaker) -> None:
    """``end_all(None)`` ignores damaged times; no list shows the ended sessions, and ``expire`` removes them."""
    store, at = await maker.open(), NOW
    for number, damage in enumerate(each for each in maker.damages if not each.of_tombstone):
        made = _Round(store, damage, number, at)
        await made.begin(maker)
        not_before = await store.end_all(None, end(at))
        assert _is_time(not_before), (made.why, not_before)
        assert at <= not_before < at + 60, (made.why, not_before - at)
        for sort in Sort:
            shown = await walked(store, now=at + 2, sort=sort, limit=3)
            assert not set(made.good) & set(shown), (made.why, sort, shown)
        await _clean_up(made, at + 2)
        left = await maker.raw_handles()
        assert left <= ({made.bad} if damage.field in _DECISIVE else set()), (made.why, left)
        await store.destroy([made.bad], end(at + 3))
        # The sessions of the next round are created after the end of this one.
        at = not_before + 60


async def check_a_damaged_tombstone_is_a_row_of_the_list(maker: StoreMaker) -> None:
    """A damaged tombstone is loaded as ``Damaged``, its handle stays used, and the nine others are listed and counted."""
    async for made in _rounds(maker, of_tombstones=True):
        found = (await made.store.load(made.handles, NOW + 20)).records
        # A field of the sort key may be stored twice, so the tombstone may still be readable.
        is_lost = made.damage.field not in _ORDERS_ENDED or isinstance(found[4], Damaged)
        for handle, item in zip(made.handles, found, strict=True):
            assert isinstance(item, Damaged if handle == made.bad and is_lost else Tombstone), (made.why, handle, item)
            assert item.handle == handle, made.why
        late: list[Create | Change] = [create(made.bad), change(made.bad, now=NOW + 20, set={"a": b"2"})]
        assert await made.store.save(late) == [Outcome.GONE] * 2, made.why
        assert await made.store.take(made.bad, end(NOW + 20)) is None, made.why
        asked: tuple[dict[str, Any], ...] = ({}, {"user": _USER})
        for filters in asked:
            seen = await walked(made.store, now=NOW + 20, state=State.ENDED, limit=3, **filters)
            for handle in made.good:
                assert seen.count(handle) == 1, (made.why, filters, seen)
            assert seen.count(made.bad) <= 1, (made.why, filters, seen)
            total = (await made.store.count(Query(now=NOW + 20, state=State.ENDED, **filters))).total
            assert total >= 9, (made.why, filters)
        page = await made.store.find(Query(now=NOW + 20, state=State.ENDED, limit=500))
        rows = [item for item in page.items if item.handle == made.bad]
        if made.damage.field not in _ORDERS_ENDED:
            assert [type(item) for item in rows] == [Damaged], made.why


async def check_no_clean_up_fails_for_a_damaged_tombstone(maker: StoreMaker) -> None:
    """The nine other tombstones are removed in time, and sessions expire as usual."""
    async for made in _rounds(maker, of_tombstones=True):
        await made.store.save([create(f"{made.bad}x", expires_at=NOW + 50)])
        assert await made.store.expire(NOW + 200, 60) == 1, made.why
        found = (await made.store.load(made.good, NOW + 200)).records
        assert found == [None] * 9, made.why
        assert not set(made.handles) & await maker.raw_handles(), made.why
