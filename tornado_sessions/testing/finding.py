"""Checks of lists and counts: complete, in order, without ended sessions."""

from __future__ import annotations

from typing import Any

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Direction, Query, Sort, State
from tornado_sessions.record import Tombstone
from tornado_sessions.stores.base import Store
from tornado_sessions.testing.maker import NOW, StoreMaker, change, create, end

__all__ = ["ORDERS", "PEOPLE", "walked"]


async def _handles(store: Store, **filters: object) -> list[str]:
    query = Query(**{"now": NOW + 2, **filters})  # type: ignore[arg-type]
    page = await store.find(query)
    assert (await store.count(query)).total == len(page.items)
    return [item.handle for item in page.items]


async def walked(store: Store, **asked: object) -> list[str]:
    """Return the handles of all pages, in order."""
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(300):
        page = await store.find(Query(**{"now": NOW + 6, **asked, "cursor": cursor}))  # type: ignore[arg-type]
        seen += [item.handle for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return seen
    raise AssertionError(f"the list never ends: {asked}")


def _times(seen: float, signed_in: float, ends: float) -> dict[str, Any]:
    at = NOW + signed_in
    return {"last_seen_at": NOW + seen, "signed_in_at": at, "created_at": at - 2, "expires_at": NOW + ends}


async def check_the_list_is_newest_first(maker: StoreMaker) -> None:
    """Live sessions are listed by last use, latest first."""
    store = await maker.open()
    await store.save([create(f"h{n}", last_seen_at=NOW + n) for n in (2, 1, 3)])
    assert await _handles(store) == ["h3", "h2", "h1"]


async def check_paging_loses_and_doubles_nothing(maker: StoreMaker) -> None:
    """Pages show each session once, even if many have the same time."""
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
    """Exact filters work alone and combined."""
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
    """``text`` matches the beginning of a user, a handle or an address."""
    store = await maker.open()
    await store.save(
        [create("abc", user="xyz", ip="10.0.0.1"), create("h2", user="abba", ip="10.0.0.2"), create("h3", user=None)]
    )
    assert set(await _handles(store, text="ab")) == {"abc", "h2"}
    assert set(await _handles(store, text="10.0.0.")) == {"abc", "h2"}
    assert await _handles(store, text="b") == []


async def check_a_prefix_is_found_without_regard_to_case(maker: StoreMaker) -> None:
    """``text`` in any case finds users, handles and addresses in any case; the exact filters still mind it."""
    store = await maker.open()
    users = ["McDonald", "mcdonald", "MCDONALD", "Mcdougall", "Ünal", "ünal", "İnci", "straße", None]
    await store.save([create(f"h{n}", user=user, ip=f"2001:db8::{n}") for n, user in enumerate(users)])
    await store.save([create("HandleOfAda", user="eve"), create("handleOfBob", user="eve")])
    for text, found in (
        ("mcdonald", {"h0", "h1", "h2"}),
        ("MCD", {"h0", "h1", "h2", "h3"}),
        ("mcdoug", {"h3"}),
        ("ÜNAL", {"h4", "h5"}),
        ("ü", {"h4", "h5"}),
        ("STRA", {"h7"}),
        ("2001:DB8::7", {"h7"}),
        ("handleof", {"HandleOfAda", "handleOfBob"}),
        ("HANDLEOFA", {"HandleOfAda"}),
        ("HandleOfAda", {"HandleOfAda"}),
        ("mcdonalds", set()),
        ("cdonald", set()),
    ):
        for sort in Sort:
            seen = await walked(store, sort=sort, limit=2, text=text)
            assert sorted(seen) == sorted(found), (text, sort, seen)
        assert (await store.count(Query(now=NOW + 6, text=text))).total == len(found), text
    assert await _handles(store, user="mcdonald") == ["h1"]
    assert set(await _handles(store, user_prefix="Mc")) == {"h0", "h3"}


async def check_the_list_follows_a_change(maker: StoreMaker) -> None:
    """A new user or address moves the session in the lists."""
    store = await maker.open()
    await store.save([create("h1", user=None, ip="10.0.0.1")])
    await store.save([change(user="ada", signed_in_at=NOW + 1, ip="10.0.0.2", last_seen_at=NOW + 1)])
    assert await _handles(store, user="ada") == ["h1"]
    assert await _handles(store, ip="10.0.0.1") == []
    assert await _handles(store, ip="10.0.0.2") == ["h1"]


async def check_the_list_shows_no_dead_session(maker: StoreMaker) -> None:
    """No list and no count includes destroyed or expired sessions."""
    store = await maker.open()
    await store.save([create("live"), create("gone"), create("late", expires_at=NOW + 1)])
    await store.destroy(["gone"], end())
    for filters in ({}, {"user": "ada"}, {"ip": "192.0.2.1"}):
        assert await _handles(store, **filters) == ["live"]


async def check_tombstones_have_a_list_of_their_own(maker: StoreMaker) -> None:
    """Tombstones are listed latest ending first, with the same filters and pages."""
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
    """Text that is not a cursor raises ``QueryError``."""
    store = await maker.open()
    for cursor in ("x", "", "a" * 1000, "é", "AAAA", "lstLQ=="):
        try:
            await store.find(Query(now=NOW, cursor=cursor))
        except QueryError:
            continue
        raise AssertionError(f"{cursor!r} was taken for a cursor")


async def check_odd_user_names_are_only_names(maker: StoreMaker) -> None:
    """A name with quotes, patterns or markup finds its own sessions and no others."""
    store = await maker.open()
    names = ["'; DROP TABLE sessions; --", "%", "_", "*", "{$ne: 1}", "名前", "x" * 500, "a:b:c", ""]
    await store.save([create(f"h{n}", user=name) for n, name in enumerate(names)])
    for number, name in enumerate(names):
        assert await _handles(store, user=name) == [f"h{number}"]
    assert await store.destroy_user("%", end()) == ["h1"]


#: Live sessions of two users and of visitors.
PEOPLE = [
    create("a1", user="ada", ip="192.0.2.1", user_agent="Mozilla/5.0 (X11; Linux) Firefox/140.0", **_times(5, 9, 30)),
    create("a2", user="ada", ip="192.0.2.7", user_agent="Mozilla/5.0 (Windows) Chrome/140 Edg/140", **_times(1, 3, 40)),
    create("b1", user="bob", ip="198.51.100.9", user_agent="Mozilla/5.0 (Android) Chrome/140", **_times(3, 1, 20)),
    create("n1", user=None, ip="2001:db8:1::5", user_agent="curl/8", **{**_times(4, 2, 60), "signed_in_at": None}),
    create("n2", user=None, ip="2001:db8:2::5", user_agent="curl/8", **{**_times(2, 2, 50), "signed_in_at": None}),
]
#: The handles of ``PEOPLE`` in each order.
ORDERS = {
    Sort.LAST_SEEN: ["a1", "n1", "b1", "n2", "a2"],
    Sort.SIGNED_IN: ["a1", "a2", "b1", "n1", "n2"],
    Sort.EXPIRES: ["b1", "a1", "a2", "n2", "n1"],
    Sort.USER: ["a1", "a2", "b1", "n1", "n2"],
}


async def check_each_order_is_kept_page_by_page(maker: StoreMaker) -> None:
    """Every order holds across pages, with and without filters; visitors come last in the order of users."""
    store = await maker.open()
    await store.save(PEOPLE)
    for sort, expected in ORDERS.items():
        for limit in (1, 2, 50):
            assert await walked(store, sort=sort, limit=limit) == expected, (sort, limit)
        assert await walked(store, sort=sort, limit=1, user="ada") == [h for h in expected if h[0] == "a"], sort
        assert await walked(store, sort=sort, limit=1, signed_in=False) == [h for h in expected if h[0] == "n"], sort
        some = {"a1", "a2", "b1"}
        assert await walked(store, sort=sort, limit=2, users=("bob", "ada")) == [h for h in expected if h in some], sort


async def check_many_of_one_moment_are_paged_in_every_order(maker: StoreMaker) -> None:
    """If all times are equal, rows are ordered by handle."""
    store = await maker.open()
    await store.save([create(f"h{n:03}", user="ada" if n % 2 else None) for n in range(260)])
    for sort in Sort:
        seen = await walked(store, sort=sort, limit=7)
        assert len(seen) == len(set(seen)) == 260, sort


async def check_the_dead_do_not_hide_the_living(maker: StoreMaker) -> None:
    """Live sessions are found behind pages full of expired sessions that are not yet removed."""
    store = await maker.open()
    for first in range(0, 1200, 400):
        numbers = range(first, first + 400)
        await store.save(
            [create(f"d{n:04}", user=f"a{n:04}", expires_at=NOW + 10, last_seen_at=NOW + 5) for n in numbers]
        )
    await store.save([create("living", user="zoe", last_seen_at=NOW, expires_at=NOW + 99)])
    for sort in Sort:
        seen = await walked(store, now=NOW + 20, sort=sort, limit=50, device="no browser")
        assert seen == ["living"], (sort, seen)


async def check_a_cursor_of_another_order_is_refused(maker: StoreMaker) -> None:
    """A cursor of another order or direction raises ``QueryError``."""
    store = await maker.open()
    await store.save(PEOPLE)
    cursor = (await store.find(Query(now=NOW + 6, sort=Sort.USER, limit=1))).next_cursor
    for sort, direction in ((Sort.LAST_SEEN, None), (Sort.USER, Direction.DESCENDING)):
        try:
            await store.find(Query(now=NOW + 6, sort=sort, direction=direction, cursor=cursor))
        except QueryError:
            continue
        raise AssertionError(f"a cursor of another order was taken: {sort}, {direction}")


_FILTERS: tuple[tuple[dict[str, object], set[str]], ...] = (
    ({"user_prefix": "a"}, {"a1", "a2"}),
    ({"user_prefix": "ab"}, set()),
    ({"users": ("bob", "nobody")}, {"b1"}),
    ({"users": ()}, set()),
    ({"network": "192.0.2.0/24"}, {"a1", "a2"}),
    ({"network": "192.0.2.0/30"}, {"a1"}),
    ({"network": "2001:db8::/32"}, {"n1", "n2"}),
    ({"network": "2001:db8:1::/48"}, {"n1"}),
    ({"network": "0.0.0.0/0"}, {"a1", "a2", "b1"}),
    ({"device": "Firefox"}, {"a1"}),
    ({"device": "Chrome"}, {"b1"}),
    ({"device": "Edge"}, {"a2"}),
    ({"device": "Linux"}, {"a1"}),
    ({"device": "no browser"}, {"n1", "n2"}),
    ({"signed_in": True}, {"a1", "a2", "b1"}),
    ({"signed_in": False}, {"n1", "n2"}),
    ({"signed_in_since": NOW + 3}, {"a1", "a2"}),
    ({"idle_since": NOW + 2}, {"a2", "n2"}),
    ({"created_until": NOW - 1}, set()),
    ({"created_until": NOW + 1}, {"b1", "n1", "n2"}),
    ({"created_until": NOW + 3}, {"a2", "b1", "n1", "n2"}),
    ({"user": "ada", "network": "192.0.2.0/30"}, {"a1"}),
    ({"user": "ada", "device": "Edge", "signed_in": True}, {"a2"}),
    ({"ip": "192.0.2.1", "user": "bob"}, set()),
    ({"handle": "b1", "device": "Chrome"}, {"b1"}),
    ({"handle": "b1", "user": "ada"}, set()),
    ({"text": "192.", "device": "Firefox"}, {"a1"}),
)


async def check_every_filter_alone_and_combined(maker: StoreMaker) -> None:
    """Every filter finds the same sessions in every order, and the count agrees."""
    store = await maker.open()
    await store.save([*PEOPLE])
    for filters, expected in _FILTERS:
        for sort in Sort:
            seen = await walked(store, sort=sort, limit=1, **filters)
            assert set(seen) == expected, (filters, sort, seen)
            assert len(seen) == len(expected), (filters, sort, seen)
        count = await store.count(Query(**{"now": NOW + 6, **filters}))  # type: ignore[arg-type]
        assert (count.total, count.exact) == (len(expected), True), filters


async def check_ended_ones_are_filtered_as_well(maker: StoreMaker) -> None:
    """The list of tombstones accepts the same filters."""
    store = await maker.open()
    await store.save([*PEOPLE])
    await store.destroy([item.handle for item in PEOPLE], end(NOW + 6))
    for filters, expected in _FILTERS:
        seen = await walked(store, state=State.ENDED, limit=1, **filters)
        assert set(seen) == expected, (filters, seen)
