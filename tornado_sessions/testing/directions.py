"""Checks of lists in both directions: reversed orders, and pages back."""

from __future__ import annotations

from itertools import product

import msgspec

from tornado_sessions.query import Direction, Query, Sort, State
from tornado_sessions.stores.base import Store
from tornado_sessions.stores.cursor import Edge, SortKey, encode_edge, sort_key
from tornado_sessions.testing.finding import ORDERS, PEOPLE, walked
from tornado_sessions.testing.maker import NOW, StoreMaker, create, end

__all__ = ["walked_back"]


async def walked_back(store: Store, **asked: object) -> list[str]:
    """Return the handles of all pages, in order, read by the cursors back from the last page."""
    page = await store.find(Query(**{"now": NOW + 6, **asked}))  # type: ignore[arg-type]
    for _ in range(300):
        if page.next_cursor is None:
            break
        page = await store.find(Query(**{"now": NOW + 6, **asked, "cursor": page.next_cursor}))  # type: ignore[arg-type]
    seen = [item.handle for item in page.items]
    for _ in range(300):
        if page.previous_cursor is None:
            return seen
        page = await store.find(Query(**{"now": NOW + 6, **asked, "cursor": page.previous_cursor}))  # type: ignore[arg-type]
        seen = [item.handle for item in page.items] + seen
    raise AssertionError(f"the list never begins: {asked}")


async def check_each_order_is_reversed(maker: StoreMaker) -> None:
    """In the other direction, every list is exactly reversed, but visitors still come last in the order of users."""
    store = await maker.open()
    await store.save(PEOPLE)
    for sort, usual in ORDERS.items():
        is_split = sort in (Sort.USER, Sort.SIGNED_IN)
        expected = usual[::-1]
        if is_split:
            expected.sort(key=lambda handle: handle.startswith("n"))
        for direction in Direction:
            right = usual if direction is sort.usual else expected
            for limit in (1, 2, 50):
                assert await walked(store, sort=sort, direction=direction, limit=limit) == right, (sort, limit)
            for filters, kept in (({"user": "ada"}, "a"), ({"signed_in": False}, "n"), ({"users": ("ada",)}, "a")):
                seen = await walked(store, sort=sort, direction=direction, limit=1, **filters)
                assert seen == [handle for handle in right if handle[0] == kept], (sort, direction, filters)


async def check_the_pages_back_are_the_pages_forward(maker: StoreMaker) -> None:
    """``previous_cursor`` leads back through the same pages; the first page has none, and rows are numbered on the way."""
    store = await maker.open()
    await store.save(PEOPLE)
    for sort in Sort:
        for direction in Direction:
            for asked in ({}, {"user": "ada"}, {"network": "192.0.2.0/24"}, {"device": "no browser"}):
                order = {"sort": sort, "direction": direction, "limit": 2, **asked}
                assert await walked_back(store, **order) == await walked(store, **order), order
    second = await store.find(
        Query(now=NOW + 6, limit=2, cursor=(await store.find(Query(now=NOW + 6, limit=2))).next_cursor)
    )
    first = await store.find(Query(now=NOW + 6, limit=2, cursor=second.previous_cursor))
    assert [item.handle for item in first.items] == ORDERS[Sort.LAST_SEEN][:2]
    assert first.previous_cursor is None
    assert first.start == 1
    # A store may leave a page without numbers.
    assert second.start in (3, None)


async def check_a_page_starts_at_any_place(maker: StoreMaker) -> None:
    """A cursor may name a place where no row can be, such as before every time: the page has the rows beyond it."""
    store = await maker.open()
    await store.save(PEOPLE)
    times = (-1e300, -1e12, -NOW - 3, 0.0, 1e12, 1e300)
    for sort, direction in product(Sort, Direction):
        order = Query(now=NOW + 6, sort=sort, direction=direction, limit=50)
        rows = (await store.find(order)).items
        for name, at in product(("", "bob", "zoe") if sort is Sort.USER else ("",), times):
            edge = Edge(SortKey(0, name, at, ""), is_after=True)
            beyond = [row for row in rows if edge.is_on_page(sort_key(row, sort), is_reversed=order.is_reversed)]
            page = await store.find(msgspec.structs.replace(order, cursor=encode_edge(edge, order)))
            assert [row.handle for row in page.items] == [row.handle for row in beyond], (order, edge)


async def check_tombstones_are_paged_in_both_directions(maker: StoreMaker) -> None:
    """Ended sessions can be listed earliest ending first, too, and page by page back."""
    store = await maker.open()
    await store.save([create(f"h{n}", user="ada" if n % 2 else "eve") for n in range(7)])
    for number in range(7):
        await store.destroy([f"h{number}"], end(NOW + number // 2))
    for direction in Direction:
        for asked in ({}, {"user": "ada"}, {"ip": "192.0.2.1"}):
            order = {"now": NOW + 9, "state": State.ENDED, "direction": direction, "limit": 2, **asked}
            seen = await walked(store, **order)
            ends = [int(handle[1]) // 2 for handle in seen]
            assert ends == sorted(ends, reverse=direction is Direction.DESCENDING), order
            assert len(seen) == (3 if "user" in asked else 7), order
            assert await walked_back(store, **order) == seen, order


async def check_many_of_one_moment_are_paged_back(maker: StoreMaker) -> None:
    """If all times are equal, the pages back have the same rows in the same order."""
    store = await maker.open()
    await store.save([create(f"h{n:03}", user="ada" if n % 2 else None) for n in range(60)])
    for sort in Sort:
        assert await walked_back(store, sort=sort, limit=7) == await walked(store, sort=sort, limit=7), sort
