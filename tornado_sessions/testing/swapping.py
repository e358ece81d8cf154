"""Checks of ``swap``: small values on which several processes agree, kept beside the sessions.

It must not know what the values are for. They expire by the real clock, because ``swap`` takes no other.
"""

from __future__ import annotations

import asyncio
import time

from tornado_sessions.query import Count, Query, State
from tornado_sessions.record import Outcome, Swapped
from tornado_sessions.stores.base import Store
from tornado_sessions.testing.maker import NOW, StoreMaker, create, end

__all__: list[str] = []

_ODD_NAMES = ("", "h1", "a:b:c", "s:h1", "$set", "a.b", "%", "*", "'; --", "名前", "nul\0", "x" * 600, "H1", " h1")


def _later() -> float:
    return time.time() + 3600


async def check_a_value_is_swapped_only_for_the_expected_one(maker: StoreMaker) -> None:
    """A value is replaced only if it is the expected one; the result has the stored value. ``None`` means no value."""
    one, two = await maker.open(), await maker.open()
    keep = _later()
    steps: list[tuple[bytes | None, bytes | None, Swapped]] = [
        (b"a", b"b", Swapped(done=False, value=None)),
        (None, None, Swapped(done=True, value=None)),
        (None, b"a", Swapped(done=True, value=b"a")),
        (None, b"b", Swapped(done=False, value=b"a")),
        (b"b", b"c", Swapped(done=False, value=b"a")),
        (b"b", None, Swapped(done=False, value=b"a")),
        (b"a", b"a", Swapped(done=True, value=b"a")),
        (b"a", b"", Swapped(done=True, value=b"")),
        (None, b"b", Swapped(done=False, value=b"")),
        (b"", b"\x00\xff\x81{}", Swapped(done=True, value=b"\x00\xff\x81{}")),
        (b"\x00\xff\x81{}", None, Swapped(done=True, value=None)),
        (b"\x00\xff\x81{}", b"a", Swapped(done=False, value=None)),
        (None, b"again", Swapped(done=True, value=b"again")),
    ]
    for number, (expected, value, answer) in enumerate(steps):
        store = two if number % 2 else one
        assert await store.swap("name", expected, value, keep) == answer, (expected, value)


async def check_one_of_many_swaps_wins(maker: StoreMaker) -> None:
    """Of concurrent swaps, exactly one succeeds, and the others get its value."""
    clients = [await maker.open(), await maker.open()]
    seen: bytes | None = None
    for turn in range(5):
        values = [b"%d of %d" % (number, turn) for number in range(20)]
        answers = await asyncio.gather(
            *(clients[number % 2].swap("name", seen, value, _later()) for number, value in enumerate(values))
        )
        won = [value for value, answer in zip(values, answers, strict=True) if answer.done]
        assert len(won) == 1, won
        seen = won[0]
        assert {answer.value for answer in answers} == {seen}


async def check_counting_by_swaps_is_exact(maker: StoreMaker) -> None:
    """Counting with ``swap`` from two clients at once gives the exact sum."""
    one, two = await maker.open(), await maker.open()

    async def count(store: Store) -> None:
        """Add one; retry until it is done."""
        seen: bytes | None = None
        while True:
            answer = await store.swap("count", seen, b"%d" % (int(seen or b"0") + 1), _later())
            if answer.done:
                return
            seen = answer.value

    await asyncio.gather(*(count(store) for _ in range(10) for store in (one, two)))
    assert (await one.swap("count", None, None, _later())).value == b"20"


async def check_odd_names_of_values_are_only_names(maker: StoreMaker) -> None:
    """Any text can be a name, different texts are different names, and names do not collide with handles."""
    store = await maker.open()
    await store.save([create("h1")])
    keep = _later()
    for name in _ODD_NAMES:
        value = b"of " + name.encode()
        assert await store.swap(name, None, value, keep) == Swapped(done=True, value=value), name
    for name in _ODD_NAMES:
        assert (await store.swap(name, None, None, keep)).value == b"of " + name.encode(), name
    assert await store.destroy(["h1"], end()) == ["h1"]
    assert (await store.swap("h1", b"of h1", None, keep)).done
    assert (await store.swap("s:h1", b"of s:h1", None, keep)).done


async def check_values_are_no_sessions(maker: StoreMaker) -> None:
    """Lists, counts, loads and ``expire`` never treat a value as a session, and a swap never treats a session as a value."""
    store = await maker.open()
    await store.save([create("h1")])
    for name in ("v1", "h2", "ada"):
        await store.swap(name, None, b"value", _later())
    assert await maker.raw_handles() == {"h1"}
    for state, expected in ((State.LIVE, ["h1"]), (State.ENDED, [])):
        assert [item.handle for item in (await store.find(Query(now=NOW + 2, state=state))).items] == expected
    assert await store.count(Query(now=NOW + 2)) == Count(1, exact=True)
    assert (await store.load(["v1", "h2"], NOW + 2)).records == [None, None]
    assert await store.destroy(["v1", "h2"], end()) == []
    assert await store.save([create("h2")]) == [Outcome.SAVED]
    assert await store.expire(NOW + 9999, 60) == 2
    assert await store.swap("h1", None, b"new", _later()) == Swapped(done=True, value=b"new")


async def check_a_value_is_kept_until_its_time(maker: StoreMaker) -> None:
    """``expire`` keeps a value until ``keep_until``. Later the value may or may not exist, and a swap shows which."""
    store = await maker.open()
    now = time.time()
    await store.swap("old", None, b"value", now - 1)
    await store.swap("young", None, b"value", now + 3600)
    await store.expire(now + 1, 60)
    answer = await store.swap("old", None, b"new", now + 3600)
    assert answer in (Swapped(done=True, value=b"new"), Swapped(done=False, value=b"value"))
    assert await store.swap("young", None, b"new", now + 3600) == Swapped(done=False, value=b"value")
    assert await store.swap("young", b"value", b"new", now + 3600) == Swapped(done=True, value=b"new")
