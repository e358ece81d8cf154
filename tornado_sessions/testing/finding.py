"""Checks of lists and counts: complete, in order, without the dead."""

from __future__ import annotations

from tornado_sessions.errors import ConfigError
from tornado_sessions.record import Query, State, Tombstone
from tornado_sessions.stores.base import Store
from tornado_sessions.testing.maker import NOW, StoreMaker, change, create, end

__all__: list[str] = []


async def _handles(store: Store, **filters: object) -> list[str]:
    query = Query(**{"now": NOW + 2, **filters})  # type: ignore[arg-type]
    page = await store.find(query)
    assert (await store.count(query)).total == len(page.items)
    return [item.handle for item in page.items]


async def check_the_list_is_newest_first(maker: StoreMaker) -> None:
    """By last use, the latest first."""
    store = await maker.open()
    await store.save([create(f"h{n}", last_seen_at=NOW + n) for n in (2, 1, 3)])
    assert await _handles(store) == ["h3", "h2", "h1"]


async def check_paging_loses_and_doubles_nothing(maker: StoreMaker) -> None:
    """Page by page, also where many have the same time."""
    store = await maker.open()
    await store.save([create(f"h{n:02}", last_seen_at=NOW + n // 10) for n in range(25)])
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.find(Query(now=NOW + 2, limit=4, cursor=cursor))
        assert len(page.items) <= 4
        seen += [item.handle for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == 25
    assert len(set(seen)) == 25
    assert seen == await _handles(store)


async def check_filters_by_user_address_and_handle(maker: StoreMaker) -> None:
    """Each alone and all together, exact."""
    store = await maker.open()
    await store.save(
        [
            create("h1", user="ada", ip="192.0.2.1"),
            create("h2", user="ada", ip="192.0.2.2"),
            create("h3", user="eve", ip="192.0.2.1"),
        ]
    )
    assert set(await _handles(store, user="ada")) == {"h1", "h2"}
    assert set(await _handles(store, ip="192.0.2.1")) == {"h1", "h3"}
    assert await _handles(store, handle="h3") == ["h3"]
    assert await _handles(store, user="ada", ip="192.0.2.1", handle="h1") == ["h1"]
    assert await _handles(store, user="ADA") == []


async def check_a_prefix_finds_user_handle_and_address(maker: StoreMaker) -> None:
    """``text`` is how any of them begins."""
    store = await maker.open()
    await store.save(
        [create("abc", user="xyz", ip="10.0.0.1"), create("h2", user="abba", ip="10.0.0.2"), create("h3", user=None)]
    )
    assert set(await _handles(store, text="ab")) == {"abc", "h2"}
    assert set(await _handles(store, text="10.0.0.")) == {"abc", "h2"}
    assert await _handles(store, text="b") == []


async def check_the_list_follows_a_change(maker: StoreMaker) -> None:
    """A new user or address moves the session in the lists."""
    store = await maker.open()
    await store.save([create("h1", user=None, ip="10.0.0.1")])
    await store.save([change(user="ada", signed_in_at=NOW + 1, ip="10.0.0.2", last_seen_at=NOW + 1)])
    assert await _handles(store, user="ada") == ["h1"]
    assert await _handles(store, ip="10.0.0.1") == []
    assert await _handles(store, ip="10.0.0.2") == ["h1"]


async def check_the_list_shows_no_dead_session(maker: StoreMaker) -> None:
    """Neither destroyed nor expired ones, in no list and no count."""
    store = await maker.open()
    await store.save([create("live"), create("gone"), create("late", expires_at=NOW + 1)])
    await store.destroy(["gone"], end())
    for filters in ({}, {"user": "ada"}, {"ip": "192.0.2.1"}):
        assert await _handles(store, **filters) == ["live"]


async def check_tombstones_have_a_list_of_their_own(maker: StoreMaker) -> None:
    """The latest ending first, with the same filters and pages."""
    store = await maker.open()
    await store.save([create("h1"), create("h2"), create("h3", user="eve"), create("live")])
    for number in (1, 2, 3):
        await store.destroy([f"h{number}"], end(NOW + number))
    now = NOW + 9
    assert await _handles(store, state=State.ENDED, now=now) == ["h3", "h2", "h1"]
    assert await _handles(store, state=State.ENDED, now=now, user="ada") == ["h2", "h1"]
    page = await store.find(Query(now=now, state=State.ENDED, limit=2))
    rest = await store.find(Query(now=now, state=State.ENDED, limit=2, cursor=page.next_cursor))
    assert [item.handle for item in rest.items] == ["h1"]
    assert all(isinstance(item, Tombstone) for item in page.items)


async def check_a_cursor_that_makes_no_sense_is_refused(maker: StoreMaker) -> None:
    """With ``ConfigError``, whatever it is made of."""
    store = await maker.open()
    for cursor in ("x", "", "a" * 1000, "é", "AAAA", "lstLQ=="):
        try:
            await store.find(Query(now=NOW, cursor=cursor))
        except ConfigError:
            continue
        raise AssertionError(f"{cursor!r} was taken for a cursor")


async def check_odd_user_names_are_only_names(maker: StoreMaker) -> None:
    """Quotes, patterns, markup, length: a name finds its own sessions and no others."""
    store = await maker.open()
    names = ["'; DROP TABLE sessions; --", "%", "_", "*", "{$ne: 1}", "名前", "x" * 500, "a:b:c", ""]
    await store.save([create(f"h{n}", user=name) for n, name in enumerate(names)])
    for number, name in enumerate(names):
        assert await _handles(store, user=name) == [f"h{number}"]
    assert await store.destroy_user("%", end()) == ["h1"]
