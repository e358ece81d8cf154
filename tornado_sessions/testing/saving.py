"""Checks of loading and saving: each change is one atomic step and changes nothing else."""

from __future__ import annotations

import asyncio

from tornado_sessions.record import Conflict, Outcome, Record, Rotation
from tornado_sessions.stores.base import Store
from tornado_sessions.testing.maker import NOW, StoreMaker, change, create, end, hash_of, make_record

__all__: list[str] = []


async def load(store: Store, handle: str = "h1", now: float = NOW + 2) -> Record:
    """Return the live record of a handle."""
    found = (await store.load([handle], now)).records[0]
    assert isinstance(found, Record), found
    return found


async def check_a_session_comes_back_as_it_was_stored(maker: StoreMaker) -> None:
    """Every field of a record is loaded unchanged, also by another client."""
    fields: dict[str, object] = {
        "previous_hash": hash_of("old"),
        "confirmed_at": None,
        "grace": 30.5,
        "persistent": True,
        "user": None,
        "data": {"a": b"1", "b": b'{"c":[1.5]}'},
    }
    assert await (await maker.open()).save([create("h1", **fields)]) == [Outcome.SAVED]
    assert await load(await maker.open()) == make_record("h1", **fields)


async def check_an_unknown_handle_is_nothing(maker: StoreMaker) -> None:
    """A batch of loads answers in order, with ``None`` for an unknown handle."""
    store = await maker.open()
    await store.save([create("h1"), create("h2")])
    found = (await store.load(["h2", "none", "h1"], NOW)).records
    assert [item.handle if item else None for item in found] == ["h2", None, "h1"]


async def check_any_bytes_and_any_key_survive(maker: StoreMaker) -> None:
    """Values are any bytes; keys may contain dots, dollars, NUL and any letter."""
    store = await maker.open()
    data = {"": b"", "a.b": b"\x00\xff", "$set": b"{}", "nul\0": b"1", "键🔑": "值".encode(), "long": b"x" * 65000}
    await store.save([create("h1", data=data)])
    assert (await load(store)).data == data
    await store.save([change(set={"a.b": b"2", "$inc": b"3"}, delete=frozenset({"nul\0"}))])
    assert (await load(store)).data == {
        **{key: value for key, value in data.items() if key != "nul\0"},
        "a.b": b"2",
        "$inc": b"3",
    }


async def check_a_change_of_one_key_keeps_the_others(maker: StoreMaker) -> None:
    """Setting and deleting change only the named keys; deleting a missing key is no error."""
    store = await maker.open()
    await store.save([create("h1", data={"a": b"1", "b": b"2", "c": b"3"})])
    assert await store.save([change(set={"b": b"9"}, delete=frozenset({"c", "missing"}))]) == [Outcome.SAVED]
    assert (await load(store)).data == {"a": b"1", "b": b"9"}


async def check_two_clients_keep_both_keys(maker: StoreMaker) -> None:
    """Concurrent changes of different keys never undo each other."""
    one, two = await maker.open(), await maker.open()
    await one.save([create("h1", data={})])
    await asyncio.gather(*(store.save([change(set={f"{n}": b"1"})]) for n in range(20) for store in (one, two)))
    await asyncio.gather(one.save([change(set={"one": b"1"})]), two.save([change(set={"two": b"2"})]))
    assert {"one", "two"} <= set((await load(one)).data)


async def check_clear_comes_before_set(maker: StoreMaker) -> None:
    """``clear`` removes every key, then ``set`` is written."""
    store = await maker.open()
    await store.save([create("h1", data={"a": b"1", "b": b"2"})])
    await store.save([change(clear=True, set={"c": b"3"})])
    assert (await load(store)).data == {"c": b"3"}


async def check_a_used_handle_is_never_made_again(maker: StoreMaker) -> None:
    """Creating a session that exists or has ended is ``GONE`` and changes nothing."""
    store = await maker.open()
    await store.save([create("h1", data={"a": b"1"})])
    assert await store.save([create("h1", data={"a": b"2"})]) == [Outcome.GONE]
    assert (await load(store)).data == {"a": b"1"}


async def check_an_unmet_expectation_writes_nothing(maker: StoreMaker) -> None:
    """If the stored value is not the expected one, the result is a ``Conflict`` with the stored record."""
    store = await maker.open()
    await store.save([create("h1", data={"a": b"1"})])
    for expect in ({"a": b"2"}, {"a": None}, {"b": b"1"}):
        (answer,) = await store.save([change(set={"a": b"9"}, expect=expect, last_seen_at=NOW + 50)])
        assert isinstance(answer, Conflict)
        assert answer.record.data == {"a": b"1"}
    assert (await load(store)).last_seen_at == NOW
    assert await store.save([change(set={"a": b"9"}, expect={"a": b"1", "b": None})]) == [Outcome.SAVED]


async def check_counting_by_expectation_is_exact(maker: StoreMaker) -> None:
    """Counting with ``expect`` from two clients at once gives the exact sum."""
    one, two = await maker.open(), await maker.open()
    await one.save([create("h1", data={"n": b"0"})])

    async def count(store: Store) -> None:
        """Add one; retry until it is saved."""
        seen = b"0"
        while True:
            (answer,) = await store.save([change(set={"n": b"%d" % (int(seen) + 1)}, expect={"n": seen})])
            if answer is Outcome.SAVED:
                return
            assert isinstance(answer, Conflict), answer
            seen = answer.record.data["n"]

    await asyncio.gather(*(count(store) for _ in range(10) for store in (one, two)))
    assert (await load(one)).data == {"n": b"20"}


async def check_times_only_move_forward(maker: StoreMaker) -> None:
    """A late write of an earlier time does not move the last use or the expiry back."""
    store = await maker.open()
    await store.save([create("h1")])
    await store.save([change(last_seen_at=NOW + 9, expires_at=NOW + 1809)])
    await store.save([change(last_seen_at=NOW + 5, expires_at=NOW + 1805)])
    record = await load(store)
    assert (record.last_seen_at, record.expires_at) == (NOW + 9, NOW + 1809)


async def check_a_lifetime_replaces_the_limits(maker: StoreMaker) -> None:
    """``lifetime`` replaces the limits and may shorten them."""
    store = await maker.open()
    await store.save([create("h1")])
    await store.save([change(lifetime=(NOW + 60, 60.0, True), expires_at=NOW + 60)])
    record = await load(store)
    assert (record.absolute_at, record.idle_timeout, record.persistent) == (NOW + 60, 60.0, True)
    assert record.expires_at == NOW + 60


def _rotation(new: str, expected: str = "first") -> Rotation:
    return Rotation(
        expected_hash=hash_of(expected),
        secret_hash=hash_of(new),
        previous_hash=hash_of(expected),
        rotated_at=NOW + 1,
        confirmed_at=None,
        grace=30.0,
    )


async def check_one_of_two_rotations_wins(maker: StoreMaker) -> None:
    """A rotation requires the expected secret; the second of two rotations writes nothing."""
    store = await maker.open()
    await store.save([create("h1")])
    first, second = await store.save(
        [change(rotation=_rotation("x"), user="eve"), change(rotation=_rotation("y"), user="mallory")]
    )
    assert first is Outcome.SAVED
    assert isinstance(second, Conflict)
    record = await load(store)
    assert (record.secret_hash, record.previous_hash, record.user) == (hash_of("x"), hash_of("first"), "eve")
    assert (record.confirmed_at, record.grace, record.rotated_at) == (None, 30.0, NOW + 1)


async def check_only_the_newest_secret_is_confirmed_and_once(maker: StoreMaker) -> None:
    """``confirmed_at`` is stored once, and only for the stored secret."""
    store = await maker.open()
    await store.save([create("h1"), change(rotation=_rotation("x"))])
    await store.save([change(confirmed_at=NOW + 3, confirms=hash_of("first"))])
    assert (await load(store)).confirmed_at is None
    await store.save([change(confirmed_at=NOW + 4, confirms=hash_of("x"))])
    await store.save([change(confirmed_at=NOW + 5, confirms=hash_of("x"))])
    assert (await load(store)).confirmed_at == NOW + 4


async def check_each_of_a_batch_gets_its_own_answer(maker: StoreMaker) -> None:
    """Each change has its own result, in order, and sees the changes before it in the batch."""
    store = await maker.open()
    await store.save([create("h1")])
    answers = await store.save(
        [
            change("none", set={"a": b"2"}),
            create("h2", data={"a": b"1"}),
            change("h1", set={"a": b"2"}, expect={"a": b"x"}),
            change("h2", set={"a": b"2"}, expect={"a": b"1"}),
            change("h1", set={"a": b"3"}),
        ]
    )
    kinds = [answer if isinstance(answer, Outcome) else type(answer) for answer in answers]
    assert kinds == [Outcome.GONE, Outcome.SAVED, Conflict, Outcome.SAVED, Outcome.SAVED]
    assert (await load(store, "h2")).data == {"a": b"2"}
    assert (await load(store, "h1")).data == {"a": b"3"}


async def check_an_empty_batch_is_no_error(maker: StoreMaker) -> None:
    """Empty batches have empty answers."""
    store = await maker.open()
    assert (await store.load([], NOW)).records == []
    assert await store.save([]) == []
    assert await store.destroy([], end()) == []
    await store.ping()
