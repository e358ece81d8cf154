"""``dual://`` while something else happens between its steps: each race is driven, and always goes the same way."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from support.damageable import DamageableMaker
from support.pairs import Interrupted, PairMaker, is_live

from tornado_sessions.errors import QueryError, StoreUnavailable
from tornado_sessions.query import Count, Direction, Page, Query, Sort
from tornado_sessions.record import Cause, EventKind, Outcome, Record, Rotation, Swapped
from tornado_sessions.stores.dual import DualStore
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.testing import Damage
from tornado_sessions.testing.directions import walked_back
from tornado_sessions.testing.ending import hear, listening
from tornado_sessions.testing.faults import CuttingStore, FailingStore
from tornado_sessions.testing.finding import walked
from tornado_sessions.testing.maker import NOW, change, create, end, hash_of, make_record

LOGOUT = end(NOW + 1, cause=Cause.LOGOUT)


class Stores:
    """A primary and a fallback in memory that can be interrupted, and processes that join them."""

    def __init__(self) -> None:
        self.primary, self.fallback = Interrupted(MemoryStore()), Interrupted(MemoryStore())
        self.dual = DualStore(self.primary, self.fallback)
        #: Another process, which nothing interrupts.
        self.other = DualStore(self.primary.store, self.fallback.store)
        #: A process before the switch: to it, the old store comes first.
        self.before = DualStore(self.fallback.store, self.primary.store, moves=False)

    async def lives(self, handle: str = "h1", now: float = NOW + 5) -> list[bool]:
        """Whether it is let in by the pair, and by the primary when that is used alone."""
        return [await is_live(store, handle, now) for store in (self.dual, self.other, self.primary.store)]


ENDS = {
    "it is destroyed by a process of the pair": lambda s: s.other.destroy(["h1"], LOGOUT),
    "it is destroyed by a process before the switch": lambda s: s.before.destroy(["h1"], LOGOUT),
    "it is destroyed by an old process": lambda s: s.fallback.store.destroy(["h1"], LOGOUT),
    "it is destroyed and not remembered": lambda s: s.fallback.store.destroy(["h1"], end(NOW, keep_until=NOW)),
    "its user is ended by a process of the pair": lambda s: s.other.destroy_user("ada", LOGOUT),
    "its user is ended by a process before the switch": lambda s: s.before.destroy_user("ada", LOGOUT),
    "everybody is ended by a process of the pair": lambda s: s.other.end_all(None, LOGOUT),
    "everybody is ended by a process before the switch": lambda s: s.before.end_all(None, LOGOUT),
    "everybody is ended by an old process": lambda s: s.fallback.store.end_all(None, LOGOUT),
    "everybody is ended in the new store alone": lambda s: s.primary.store.end_all(NOW + 1, LOGOUT),
}
MOMENTS = {
    "before it is created in the primary": ("primary", "before save"),
    "after it was created in the primary": ("primary", "after save"),
    "before it is taken from the fallback": ("fallback", "before take"),
    "after it was taken from the fallback": ("fallback", "after take"),
}


TAKEN = "after it was taken from the fallback"
RACES = [
    (ends, moment)
    for ends, moment in itertools.product(ENDS, MOMENTS)
    # By its handle an old process can end only what its store still has.
    if moment != TAKEN or ends not in ("it is destroyed by an old process", "it is destroyed and not remembered")
]


async def forget(stores: Stores) -> None:
    """The fallback's clean-up runs: short endings are forgotten, and whoever ended with everybody is swept."""
    await stores.fallback.store.expire(NOW + 1, 60)


@pytest.mark.parametrize("sweeps", [False, True], ids=["not swept", "swept"])
@pytest.mark.parametrize(("ends", "moment"), RACES)
@pytest.mark.gen_test
async def test_a_session_that_ends_while_it_moves_stays_ended(ends: str, moment: str, sweeps: bool) -> None:
    stores = Stores()
    await stores.fallback.save([create("h1")])

    async def end_it() -> None:
        await ENDS[ends](stores)
        if sweeps or "remembered" in ends:
            await forget(stores)

    which, when = MOMENTS[moment]
    getattr(stores, which).meanwhile[when] = end_it
    loaded = await stores.dual.load(["h1"], NOW + 2)
    found = loaded.records[0]
    # Once it was taken this load no longer asks the fallback: to it, the end came after.
    assert moment == TAKEN or not isinstance(found, Record) or found.created_at < loaded.not_before
    assert await stores.lives() == [False] * 3
    assert await stores.dual.save([change(now=NOW + 6, set={"a": b"2"}, expires_at=NOW + 9999)]) == [Outcome.GONE]
    assert (await stores.dual.find(Query(now=NOW + 6))).items == []


@pytest.mark.parametrize("when", ["before the first write", "after the first write"])
@pytest.mark.parametrize("ends", [each for each in ENDS if "remembered" not in each])
@pytest.mark.gen_test
async def test_a_crash_between_the_two_writes_of_a_move_revives_nobody(ends: str, when: str) -> None:
    stores = Stores()
    await stores.fallback.save([create("h1")])
    fallback = FailingStore(stores.fallback.store)
    crashing = DualStore(stores.primary, fallback)

    async def crash() -> None:
        fallback.failing = True

    stores.primary.meanwhile["after save"] = crash
    if when == "before the first write":
        # Whoever ends it finds no copy in the primary yet.
        stores.primary.meanwhile["before save"] = lambda: ENDS[ends](stores)
    await crashing.load(["h1"], NOW + 1)
    if when == "after the first write":
        assert await is_live(stores.primary.store, "h1", NOW + 1)
        await ENDS[ends](stores)
    assert await stores.lives() == [False] * 3
    assert await stores.dual.save([change(now=NOW + 6, set={"a": b"2"})]) == [Outcome.GONE]
    assert (await stores.dual.find(Query(now=NOW + 6))).items == []


@pytest.mark.gen_test
async def test_a_list_does_not_show_what_a_crash_left_of_the_ended() -> None:
    stores = Stores()
    await stores.primary.save([create("h1"), create("h2")])
    await stores.fallback.save([create("h1"), create("h3")])
    await stores.fallback.destroy(["h1"], LOGOUT)
    await stores.primary.save([create("h3")])
    await stores.primary.destroy(["h3"], LOGOUT)
    assert [item.handle for item in (await stores.dual.find(Query(now=NOW + 2))).items] == ["h2"]


@pytest.mark.gen_test
async def test_an_unfinished_move_is_finished_and_shown_once() -> None:
    stores = Stores()
    await stores.fallback.save([create("h1", data={"a": b"1"})])
    await stores.primary.save([create("h1", data={"a": b"1"})])
    assert [item.handle for item in (await stores.dual.find(Query(now=NOW + 1))).items] == ["h1"]
    await stores.before.save([change(now=NOW + 2, set={"a": b"2"}, last_seen_at=NOW + 2, expires_at=NOW + 1802)])
    found = (await stores.dual.load(["h1"], NOW + 3)).records[0]
    assert isinstance(found, Record)
    assert (found.data, found.last_seen_at) == ({"a": b"2"}, NOW + 2)
    assert not await is_live(stores.fallback.store, "h1", NOW + 3)
    await stores.dual.save([change(now=NOW + 4, set={"a": b"3"})])
    assert await stores.dual.count(Query(now=NOW + 4)) == Count(1, exact=True)
    found = (await stores.dual.load(["h1"], NOW + 5)).records[0]
    assert isinstance(found, Record)
    assert found.data == {"a": b"3"}


@pytest.mark.gen_test
async def test_an_unfinished_move_keeps_what_was_written_to_the_primary_since() -> None:
    stores = Stores()
    await stores.fallback.save([create("h1", data={"a": b"1"})])
    await stores.primary.save([create("h1", data={"a": b"1"})])
    await stores.primary.save([change(set={"a": b"2"}, last_seen_at=NOW + 1)])
    found = (await stores.dual.load(["h1"], NOW + 2)).records[0]
    assert isinstance(found, Record)
    assert found.data == {"a": b"2"}


@pytest.mark.gen_test
async def test_a_log_in_while_it_moves_follows() -> None:
    stores = Stores()
    await stores.fallback.save([create("h1", user=None, signed_in_at=None, data={"a": b"1", "b": b"1"})])
    rotation = Rotation(
        expected_hash=hash_of("first"),
        secret_hash=hash_of("second"),
        previous_hash=None,
        rotated_at=NOW + 1,
        confirmed_at=None,
        grace=0.0,
    )
    log_in = change(
        rotation=rotation,
        user="ada",
        signed_in_at=NOW + 1,
        ip="192.0.2.9",
        set={"a": b"2"},
        delete=frozenset("b"),
        lifetime=(NOW + 90, 90.0, True),
        expires_at=NOW + 90,
    )
    stores.fallback.meanwhile["before take"] = lambda: stores.before.save([log_in])
    found = (await stores.dual.load(["h1"], NOW + 2)).records[0]
    expected: dict[str, Any] = {
        "user": "ada",
        "signed_in_at": NOW + 1,
        "ip": "192.0.2.9",
        "data": {"a": b"2"},
        "expires_at": NOW + 90,
        "absolute_at": NOW + 90,
        "idle_timeout": 90.0,
        "persistent": True,
        "secret_hash": hash_of("second"),
        "rotated_at": NOW + 1,
        "confirmed_at": None,
    }
    assert found == make_record("h1", **expected)


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.gen_test
async def test_whoever_reads_while_another_process_moves_it_finds_it(moves: bool) -> None:
    stores = Stores()
    await stores.fallback.save([create("h1")])
    pair = (stores.primary, stores.fallback) if moves else (stores.fallback, stores.primary)
    reads = DualStore(*pair, moves=moves)
    # It has not arrived when the new store is read, and has left when the old one is.
    stores.fallback.meanwhile["before load"] = lambda: stores.other.load(["h1"], NOW + 1)
    stores.primary.meanwhile["after load"] = lambda: stores.other.load(["h1"], NOW + 1)
    assert isinstance((await reads.load(["h1"], NOW + 2)).records[0], Record)


@pytest.mark.gen_test
async def test_a_change_while_another_process_moves_it_is_saved() -> None:
    stores = Stores()
    await stores.fallback.save([create("h1")])
    stores.fallback.meanwhile["before save"] = lambda: stores.other.load(["h1"], NOW + 1)
    assert await stores.dual.save([change(set={"a": b"2"})]) == [Outcome.SAVED]
    found = (await stores.primary.load(["h1"], NOW + 2)).records[0]
    assert isinstance(found, Record)
    assert found.data == {"a": b"2"}


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("when", ["before find", "after find", "before load", "after load"])
@pytest.mark.parametrize("which", ["primary", "fallback"])
@pytest.mark.gen_test
async def test_a_list_read_while_another_process_moves_sessions_misses_none(which: str, when: str, moves: bool) -> None:
    stores = Stores()
    await stores.fallback.save([create("h1"), create("h2", last_seen_at=NOW + 1)])
    pair = (stores.primary, stores.fallback) if moves else (stores.fallback, stores.primary)
    getattr(stores, which).meanwhile[when] = lambda: stores.other.load(["h1"], NOW + 1)
    assert await walked(DualStore(*pair, moves=moves), now=NOW + 1, limit=5) == ["h2", "h1"]


@pytest.mark.gen_test
async def test_whoever_was_moved_back_is_used_where_it_is() -> None:
    stores = Stores()
    await stores.primary.save([create("h1", data={"a": b"1"})])
    # The switch was undone for a while: the primary gave the session away.
    await DualStore(stores.fallback.store, stores.primary.store).load(["h1"], NOW + 1)
    for key in ("b", "c"):
        assert isinstance((await stores.dual.load(["h1"], NOW + 2)).records[0], Record), key
        assert await stores.dual.save([change(now=NOW + 3, set={key: b"2"})]) == [Outcome.SAVED]
    found = (await stores.dual.load(["h1"], NOW + 3)).records[0]
    assert isinstance(found, Record)
    assert found.data == {"a": b"1", "b": b"2", "c": b"2"}
    assert await stores.dual.destroy(["h1"], end(NOW + 4)) == ["h1"]
    assert not await is_live(stores.fallback.store, "h1", NOW + 5)


def refusing(kind: type[FailingStore | CuttingStore]) -> FailingStore | CuttingStore:
    """A store that answers questions and fails to write."""

    class RefusesWrites(kind):  # type: ignore[misc, valid-type]
        async def before(self, method: str) -> None:
            if method not in ("load", "find", "count"):
                await super().before(method)

        async def after(self, method: str) -> None:
            if method not in ("load", "find", "count"):
                await super().after(method)

    made: FailingStore | CuttingStore = RefusesWrites(MemoryStore())
    return made


@pytest.mark.parametrize("kind", [FailingStore, CuttingStore])
@pytest.mark.parametrize("which", ["primary", "fallback"])
@pytest.mark.gen_test
async def test_a_store_that_fails_to_write_keeps_nobody_from_reading(
    which: str, kind: type[FailingStore | CuttingStore]
) -> None:
    broken = refusing(kind)
    whole = MemoryStore()
    dual = DualStore(broken, whole) if which == "primary" else DualStore(whole, broken)
    old, attribute = dual.fallback, "failing" if kind is FailingStore else "cutting"
    await old.save([create("h1"), create("old", created_at=NOW - 1)])
    await old.end_all(NOW, end(NOW))
    setattr(broken, attribute, True)
    for _ in range(2):
        assert await is_live(dual, "h1", NOW + 1)
        assert not await is_live(dual, "old", NOW + 1)
    setattr(broken, attribute, False)
    assert await dual.save([change(now=NOW + 2, set={"a": b"2"})]) == [Outcome.SAVED]
    assert await is_live(dual, "h1", NOW + 3)
    assert await is_live(dual.primary, "h1", NOW + 3)
    assert not await is_live(dual.fallback, "h1", NOW + 3)


@pytest.mark.parametrize("chosen", [None, NOW + 5])
@pytest.mark.parametrize("down", ["primary", "fallback"])
@pytest.mark.gen_test
async def test_ending_everybody_with_one_store_down_is_completed_by_a_second_call(
    down: str, chosen: float | None
) -> None:
    primary, fallback = FailingStore(MemoryStore()), FailingStore(MemoryStore())
    dual = DualStore(primary, fallback)
    await fallback.save([create("old")])
    await primary.save([create("new")])
    broken, up = (primary, fallback) if down == "primary" else (fallback, primary)
    broken.failing = True
    with pytest.raises(StoreUnavailable):
        await dual.end_all(chosen, end(NOW + 5))
    assert await up.count(Query(now=NOW + 6)) == Count(0, exact=True)
    broken.failing = False
    not_before = await dual.end_all(chosen, end(NOW + 6))
    for store in (primary, fallback):
        assert (await store.load([], NOW + 7)).not_before == not_before
        assert await store.count(Query(now=NOW + 7)) == Count(0, exact=True)


@pytest.mark.gen_test
async def test_what_ended_in_the_primary_is_not_written_to_in_the_fallback() -> None:
    stores = Stores()
    await stores.fallback.save([create("h1")])
    await stores.primary.save([create("h1")])
    await stores.primary.destroy(["h1"], LOGOUT)
    assert await stores.dual.save([change(now=NOW + 2, set={"a": b"2"})]) == [Outcome.GONE]
    assert await stores.dual.take("h1", end(NOW + 2)) is None
    assert await stores.lives() == [False] * 3
    assert not await is_live(stores.fallback.store, "h1", NOW + 3)


@pytest.mark.gen_test
async def test_a_handle_of_the_fallback_is_never_made_again() -> None:
    stores = Stores()
    await stores.fallback.save([create("h1"), create("h2")])
    await stores.fallback.destroy(["h2"], LOGOUT)
    answers = await stores.dual.save([create("h1"), create("h2"), create("h3"), change("h3", set={"a": b"2"})])
    assert answers == [Outcome.GONE, Outcome.GONE, Outcome.SAVED, Outcome.SAVED]


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.gen_test
async def test_a_copy_that_ran_out_of_time_does_not_end_the_session(swept: bool) -> None:
    stores = Stores()
    await stores.fallback.save([create("h1", expires_at=NOW + 10)])
    await stores.primary.save([create("h1", expires_at=NOW + 100)])
    if swept:
        await stores.fallback.store.expire(NOW + 20, 60)
    assert await stores.lives(now=NOW + 20) == [True] * 3


@pytest.mark.gen_test
async def test_a_value_is_swapped_in_the_primary() -> None:
    stores = Stores()
    assert await stores.dual.swap("name", None, b"value", NOW + 1e9) == Swapped(done=True, value=b"value")
    assert (await stores.primary.store.swap("name", None, None, NOW + 1e9)).value == b"value"
    assert (await stores.fallback.store.swap("name", None, None, NOW + 1e9)).value is None


@pytest.mark.gen_test
async def test_both_stores_are_heard_and_everybodys_end_once() -> None:
    stores = Stores()
    async with listening(stores.primary.store, stores.dual) as (events,):
        await stores.fallback.save([create("h1")])
        await stores.fallback.destroy(["h1"], LOGOUT)
        assert (await hear(events, lambda event: not event.handle.startswith("w"))).handle == "h1"
        await stores.dual.end_all(NOW + 5, end(NOW + 5))
        await stores.primary.save([create("h2", created_at=NOW + 6)])
        await stores.primary.destroy(["h2"], end(NOW + 6))
        assert [(await hear(events)).kind for _ in range(2)] == [EventKind.ENDED_ALL, EventKind.DESTROYED]


@pytest.mark.gen_test
async def test_pages_of_two_stores_pass_each_damaged_row_once() -> None:
    makers = DamageableMaker(), DamageableMaker()
    dual = await PairMaker(*makers).open()
    for number in range(24):
        at = {"last_seen_at": NOW - number, "signed_in_at": NOW - number, "expires_at": NOW + 500 + number}
        await (dual.primary, dual.fallback)[number % 2].save([create(f"h{number:02}", **at)])
    for number in (0, 1, 6, 7, 8, 13, 22, 23):
        makers[number % 2].data.damaged[f"h{number:02}"] = Damage("", "blank")
    dual.moves = False
    bad = makers[0].data.damaged | makers[1].data.damaged
    whole = [f"h{number:02}" for number in range(24) if f"h{number:02}" not in bad]
    for sort in Sort:
        for limit in (1, 2, 3, 5, 24):
            seen = await walked(dual, now=NOW + 1, sort=sort, limit=limit)
            assert sorted(seen) == [f"h{number:02}" for number in range(24)], (sort, limit, seen)
            assert [handle for handle in seen if handle not in bad] == whole, (sort, limit, seen)
            back = await walked_back(dual, now=NOW + 1, sort=sort, limit=limit)
            assert sorted(back) == sorted(seen), (sort, limit, back)
            assert [handle for handle in back if handle not in bad] == whole, (sort, limit, back)
            backwards = await walked(dual, now=NOW + 1, sort=sort, direction=opposite(sort), limit=limit)
            assert [handle for handle in backwards if handle not in bad] == whole[::-1], (sort, limit, backwards)


def opposite(sort: Sort) -> Direction:
    return Direction.DESCENDING if sort.usual is Direction.ASCENDING else Direction.ASCENDING


class ShortPages(MemoryStore):
    """Shows one row a page, as a store does that has looked through enough of others."""

    async def find(self, query: Query) -> Page:
        return await super().find(msgspec.structs.replace(query, limit=1))


@pytest.mark.gen_test
async def test_a_short_page_of_one_store_keeps_the_order() -> None:
    for primary, fallback in (
        (MemoryStore(), ShortPages()),
        (ShortPages(), MemoryStore()),
        (ShortPages(), ShortPages()),
    ):
        for number in range(9):
            await (primary, fallback)[number % 3 == 0].save([create(f"h{number}", last_seen_at=NOW - number)])
        dual = DualStore(primary, fallback)
        for limit in (1, 2, 9):
            assert await walked(dual, now=NOW + 1, limit=limit) == [f"h{number}" for number in range(9)], limit
            assert await walked_back(dual, now=NOW + 1, limit=limit) == [f"h{number}" for number in range(9)], limit


@pytest.mark.gen_test
async def test_a_cursor_is_good_for_its_order_alone() -> None:
    stores = Stores()
    await stores.primary.save([create("h1", last_seen_at=NOW + 1)])
    await stores.fallback.save([create("h2")])
    page = await stores.dual.find(Query(now=NOW + 1, limit=1))
    assert page.next_cursor is not None
    with pytest.raises(QueryError):
        await stores.dual.find(Query(now=NOW + 1, limit=1, sort=Sort.USER, cursor=page.next_cursor))
    rest = await stores.dual.find(Query(now=NOW + 1, limit=1, cursor=page.next_cursor))
    assert [item.handle for item in rest.items] == ["h2"]
    assert rest.next_cursor is None
