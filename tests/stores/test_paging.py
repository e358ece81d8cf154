"""Paging and counting, without any store: a table of rows answers what the algorithm asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.amount import amount

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Count, Direction, Page, Query, Sort, State
from tornado_sessions.record import Damaged, SessionSummary
from tornado_sessions.stores import paging
from tornado_sessions.stores.cursor import END, UNPLACED, Edge, SortKey, encode_edge
from tornado_sessions.stores.indexes import Index, IndexScan, Range, key_in, list_for
from tornado_sessions.stores.networks import spellings_of
from tornado_sessions.stores.paging import CountIndex, ProbeRanges, ReadRanges, Row, Rows

NOW = 1_800_000_000.0


class Condition(Enum):
    """What is the matter with a stored session."""

    LIVE = "live"
    DEAD = "expired, or an entry that points at nothing"
    DAMAGED = "cannot be read, but keeps its place in every index"
    UNPLACED = "cannot be read, and no index of an order has it"


class Stored(NamedTuple):
    """A session of the table."""

    item: SessionSummary
    condition: Condition = Condition.LIVE

    @property
    def shown(self) -> SessionSummary | None:
        """What a list shows."""
        if self.condition is Condition.DEAD:
            return None
        if self.condition is Condition.LIVE:
            return self.item
        return Damaged(handle=self.item.handle, user=self.item.user, ip=self.item.ip, why="x")


HOLDS: dict[Index, Callable[[SessionSummary, str], bool]] = {
    Index.LAST_SEEN: lambda _item, _value: True,
    Index.EXPIRES: lambda _item, _value: True,
    Index.SIGNED_IN: lambda item, _value: item.user is not None,
    Index.USERS: lambda item, _value: item.user is not None,
    Index.VISITORS: lambda item, _value: item.user is None,
    Index.OF_USER: lambda item, value: item.user == value,
    Index.OF_IP: lambda item, value: item.ip == value,
}


class Table:
    """Rows that are filtered and sorted anew for every request."""

    def __init__(self, stored: Sequence[Stored], query: Query, *, knows_ranges: bool = True) -> None:
        self.stored = stored
        self.query = query
        self.knows_ranges = knows_ranges
        self.examined = 0

    def scan(self, request: IndexScan) -> Rows:
        if request.index is Index.UNPLACED:
            rows = self._unplaced()
        else:
            holds, query = HOLDS[request.index], self.query
            if request.index is Index.SIGNED_IN:
                query = Query(**{**_fields(query), "sort": Sort.SIGNED_IN})
            rows = [
                Row(key_in(query, one.item), one.shown)
                for one in self.stored
                if one.condition is not Condition.UNPLACED and holds(one.item, request.value)
            ]
        rows = sorted((row for row in rows if request.is_due(row.key)), reverse=request.is_backwards)
        assert all(row.key.part == request.part for row in rows)
        self.examined += len(rows[: request.limit])
        return Rows(rows[: request.limit], is_end=len(rows) <= request.limit)

    def _unplaced(self) -> list[Row]:
        scans = [scan for scan in list_for(self.query) if scan.index is not Index.UNPLACED]
        return [
            Row(SortKey(UNPLACED, "", float(number), ""), one.shown)
            for number, one in enumerate(self.stored)
            if one.condition is Condition.UNPLACED and any(HOLDS[scan.index](one.item, scan.value) for scan in scans)
        ]

    def ranges(self, request: ReadRanges) -> list[SessionSummary] | None:
        if not self.knows_ranges and request.ranges[0].field != "handle":
            return None
        found = [one for one in self.stored if any(self._is_in(part, one.item) for part in request.ranges)]
        return [one.shown for one in found if one.shown is not None]

    @staticmethod
    def _is_in(part: Range, item: SessionSummary) -> bool:
        value = getattr(item, part.field) or ""
        return value.startswith(part.value) if part.is_prefix else value == part.value

    def probe(self, request: ProbeRanges) -> list[bool] | None:
        if not self.knows_ranges:
            return None
        return [any(self._is_in(part, one.item) for one in self.stored) for part in request.ranges]

    def count(self, request: CountIndex) -> Count | None:
        return None


class AsyncTable:
    """The same table behind coroutines."""

    def __init__(self, table: Table) -> None:
        self.table = table

    async def scan(self, request: IndexScan) -> Rows:
        return self.table.scan(request)

    async def ranges(self, request: ReadRanges) -> list[SessionSummary] | None:
        return self.table.ranges(request)

    async def probe(self, request: ProbeRanges) -> list[bool] | None:
        return self.table.probe(request)

    async def count(self, request: CountIndex) -> Count | None:
        return self.table.count(request)


def session(number: int, **fields: Any) -> SessionSummary:
    made = {"user": "ada", "ip": "192.0.2.1", "created_at": NOW, "last_seen_at": NOW, "expires_at": NOW + 60}
    return SessionSummary(handle=f"h{number:04}", **{**made, **fields})


def find(stored: Sequence[Stored], query: Query, **options: bool) -> Page:
    return paging.run(paging.find(query), Table(stored, query, **options))


def walk(stored: Sequence[Stored], query: Query, **options: bool) -> list[SessionSummary]:
    """The rows of all pages, each no longer than the limit."""
    rows: list[SessionSummary] = []
    for _ in range(500):
        page = find(stored, query, **options)
        assert len(page.items) <= query.limit
        rows += page.items
        if page.next_cursor is None:
            return rows
        query = Query(**{**_fields(query), "cursor": page.next_cursor})
    raise AssertionError(f"the list never ends: {query}")


def walk_back(stored: Sequence[Stored], query: Query, **options: bool) -> list[list[SessionSummary]]:
    """The pages before a cursor, nearest first."""
    pages = []
    for _ in range(500):
        page = find(stored, query, **options)
        assert len(page.items) <= query.limit
        pages.append(page.items)
        if page.previous_cursor is None:
            return pages
        query = Query(**{**_fields(query), "cursor": page.previous_cursor})
    raise AssertionError(f"the list never begins: {query}")


def _fields(query: Query) -> dict[str, Any]:
    return {name: getattr(query, name) for name in query.__struct_fields__}


TIMES = st.sampled_from([NOW - 3, NOW - 2.5, NOW - 1, NOW])
USERS = st.sampled_from([None, None, "ada", "adam", "ADAM", "Adamant", "bob", "", "名前"])
IPS = st.sampled_from(["192.0.2.1", "192.0.2.7", "::ffff:192.0.2.1", "2001:db8::1", ""])
CONDITIONS = st.sampled_from([Condition.LIVE] * 5 + list(Condition))


@st.composite
def tables(draw: st.DrawFn) -> list[Stored]:
    stored = []
    for number in range(draw(st.integers(0, 40))):
        user = draw(USERS)
        item = session(
            number,
            user=user,
            ip=draw(IPS),
            user_agent=draw(st.sampled_from(["Mozilla/5.0 Firefox/140", "curl/8"])),
            last_seen_at=draw(TIMES),
            signed_in_at=draw(TIMES) if user is not None else None,
            expires_at=draw(TIMES) + 60,
        )
        stored.append(Stored(item, draw(CONDITIONS)))
    return stored


FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["ada", "bob", ""]),
        "users": st.sampled_from([(), ("ada", "bob"), ("bob", "bob")]),
        "user_prefix": st.sampled_from(["a", "ada", ""]),
        "ip": st.sampled_from(["192.0.2.1", ""]),
        "network": st.sampled_from(["192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32"]),
        "text": st.sampled_from(["a", "192.", "h000", "A", "aDAM", "H0001", "2001:DB8"]),
        "handle": st.sampled_from(["h0001", "none"]),
        "device": st.sampled_from(["Firefox", "no browser"]),
        "signed_in": st.booleans(),
        "idle_since": TIMES,
        "signed_in_since": TIMES,
    },
)
LIMITS = st.sampled_from([1, 2, 3, 7, 50])
ORDERS = st.fixed_dictionaries({"sort": st.sampled_from(list(Sort)), "direction": st.sampled_from([None, *Direction])})


def matches(item: SessionSummary, filters: dict[str, Any]) -> bool:
    """What each filter means, said a second time."""
    agent = {"Firefox": "Firefox/" in item.user_agent, "no browser": "Mozilla/" not in item.user_agent}
    tests: dict[str, Callable[[Any], bool]] = {
        "user": lambda value: item.user == value,
        "users": lambda value: item.user in value,
        "user_prefix": lambda value: item.user is not None and item.user[: len(value)] == value,
        "ip": lambda value: item.ip.removeprefix("::ffff:") == value,
        "network": lambda value: {"192.0.2.0/24": "192.0.2" in item.ip, "0.0.0.0/0": "." in item.ip}.get(
            value, item.ip == "2001:db8::1"
        ),
        "text": lambda value: any(
            word.lower().startswith(value.lower()) for word in (item.user or "", item.ip, item.handle)
        ),
        "handle": lambda value: item.handle == value,
        "device": lambda value: agent[value],
        "signed_in": lambda value: value == (item.user is not None),
        "idle_since": lambda value: item.last_seen_at <= value,
        "signed_in_since": lambda value: (item.signed_in_at or 0) >= value,
    }
    return all(tests[name](value) for name, value in filters.items())


def sorted_as(items: Sequence[SessionSummary], query: Query) -> list[SessionSummary]:
    """What each order means, said a second time."""
    latest: list[Any] = sorted(items, key=lambda item: (-item.last_seen_at, item.handle))
    people, visitors = (
        [item for item in latest if item.user is not None],
        [item for item in latest if item.user is None],
    )
    parts = {
        Sort.LAST_SEEN: [latest],
        Sort.EXPIRES: [sorted(items, key=lambda item: (item.expires_at, item.handle))],
        Sort.USER: [sorted(people, key=lambda item: item.user), visitors],
        Sort.SIGNED_IN: [sorted(people, key=lambda item: (-(item.signed_in_at or 0), item.handle)), visitors],
    }[query.sort]
    if query.ip and query.user is None and query.sort is Sort.LAST_SEEN:
        # Further spellings of an address come after the first.
        parts = [[item for item in latest if item.ip == spelling] for spelling in spellings_of(query.ip)]
    usual = "asc" if query.sort in (Sort.EXPIRES, Sort.USER) else "desc"
    step = 1 if query.direction in (None, usual) else -1
    return [item for part in parts for item in part[::step]]


@settings(max_examples=amount(80, 1_000), deadline=None)
@given(tables(), FILTERS, ORDERS, LIMITS, st.booleans())
def test_all_pages_together_show_every_match_once_and_in_order(
    stored: list[Stored], filters: dict[str, Any], order: dict[str, Any], limit: int, knows_ranges: bool
) -> None:
    query = Query(now=NOW, limit=limit, **order, **filters)
    rows = walk(stored, query, knows_ranges=knows_ranges)
    shown = [one.shown for one in stored if one.shown is not None]
    expected = [item.handle for item in shown if matches(item, filters)]
    assert sorted(item.handle for item in rows) == sorted(expected)
    assert find(stored, query, knows_ranges=knows_ranges).total in (None, len(expected))
    healthy = [item for item in rows if not isinstance(item, Damaged)]
    assert healthy == sorted_as(healthy, query)


@settings(max_examples=amount(50, 2_000), deadline=None)
@given(tables(), FILTERS, ORDERS, LIMITS, st.booleans())
def test_the_pages_back_are_the_pages_forward(
    stored: list[Stored], filters: dict[str, Any], order: dict[str, Any], limit: int, knows_ranges: bool
) -> None:
    """From each page, also from the end of the list; and each row has its number."""
    query, number = Query(now=NOW, limit=limit, **order, **filters), 1
    passed: list[list[SessionSummary]] = []
    while True:
        page = find(stored, query, knows_ranges=knows_ranges)
        assert page.start == (number if page.items else None)
        assert (page.previous_cursor is None) == (query.cursor is None)
        if page.previous_cursor is not None:
            back = Query(**{**_fields(query), "cursor": page.previous_cursor})
            assert walk_back(stored, back, knows_ranges=knows_ranges) == passed[::-1]
        passed, number = [*passed, page.items], number + len(page.items)
        if page.next_cursor is None:
            break
        query = Query(**{**_fields(query), "cursor": page.next_cursor})
    last = Query(**{**_fields(query), "cursor": encode_edge(END, query)})
    from_the_end = [item for items in walk_back(stored, last, knows_ranges=knows_ranges)[::-1] for item in items]
    assert from_the_end == [item for items in passed for item in items]


@settings(max_examples=amount(66, 2_000), deadline=None)
@given(tables(), FILTERS, st.booleans())
def test_a_count_says_as_many_as_the_pages_show(
    stored: list[Stored], filters: dict[str, Any], knows_ranges: bool
) -> None:
    query = Query(now=NOW, **filters)
    counted = paging.run(paging.count(query), Table(stored, query, knows_ranges=knows_ranges))
    assert counted == Count(len(walk(stored, query, knows_ranges=knows_ranges)), exact=True)


@settings(max_examples=amount(66, 2_000), deadline=None)
@given(tables(), FILTERS, ORDERS, LIMITS, st.data())
def test_a_cursor_survives_changes_between_two_pages(
    stored: list[Stored], filters: dict[str, Any], order: dict[str, Any], limit: int, data: st.DataObject
) -> None:
    """What was there throughout is shown exactly once, whatever ended or began in between."""
    query = Query(now=NOW, limit=limit, **order, **filters)
    first = find(stored, query, knows_ranges=False)
    removed = data.draw(st.sets(st.sampled_from(range(len(stored))))) if stored else set()
    # The number of a row stands for its place among the unplaced, so those stay where they are.
    changed = [
        one._replace(condition=Condition.DEAD) if number in removed and one.condition is Condition.LIVE else one
        for number, one in enumerate(stored)
    ]
    changed += [Stored(session(1000 + number, last_seen_at=NOW - 2)) for number in range(data.draw(st.integers(0, 3)))]
    rest = []
    if first.next_cursor is not None:
        rest = walk(changed, Query(**{**_fields(query), "cursor": first.next_cursor}), knows_ranges=False)
    seen = [item.handle for item in [*first.items, *rest]]
    stayed = [new.shown.handle for old, new in zip(stored, changed, strict=False) if old == new and new.shown]
    expected = [
        h for h in stayed if any(h == one.item.handle and one.shown and matches(one.shown, filters) for one in stored)
    ]
    assert len(seen) == len(set(seen))
    assert set(expected) <= set(seen)


@pytest.mark.gen_test
async def test_the_asynchronous_driver_finds_and_counts_the_same() -> None:
    stored = [Stored(session(number, last_seen_at=NOW + number)) for number in range(9)]
    for query in (Query(now=NOW, limit=4), Query(now=NOW, users=("ada",), limit=4), Query(now=NOW, handle="h0001")):
        table = Table(stored, query)
        assert await paging.run_async(paging.find(query), AsyncTable(table)) == paging.run(paging.find(query), table)
        assert await paging.run_async(paging.count(query), AsyncTable(table)) == paging.run(paging.count(query), table)


MANY = [Stored(session(number, last_seen_at=NOW - number)) for number in range(5_000)]


def test_a_page_that_nothing_matches_examines_a_bounded_number_of_rows() -> None:
    query = Query(now=NOW, device="Firefox")
    table = Table(MANY, query)
    page = paging.run(paging.find(query), table)
    assert page.items == []
    assert page.next_cursor is not None
    assert table.examined == paging.MAX_EXAMINED
    assert walk(MANY, query) == []


def test_a_page_without_filters_examines_little_more_than_it_shows() -> None:
    query = Query(now=NOW, limit=50)
    table = Table(MANY, query)
    assert len(paging.run(paging.find(query), table).items) == 50
    assert table.examined == 51


def test_a_count_that_stops_at_a_bound_is_a_lower_bound() -> None:
    for query, bound in (
        (Query(now=NOW, device="no browser"), paging.MAX_EXAMINED_BY_COUNT),
        (Query(now=NOW), len(MANY)),
    ):
        table = Table(MANY, query)
        counted = paging.run(paging.count(query), table)
        assert (counted.total, counted.exact) == (bound, bound == len(MANY))


def test_a_list_that_ends_exactly_at_the_bound_ends_on_that_page() -> None:
    query = Query(now=NOW, device="Firefox")
    assert find(MANY[: paging.MAX_EXAMINED], query) == Page([], None, total=0)


def test_a_store_that_counts_an_index_by_itself_is_believed() -> None:
    class Counting(Table):
        def count(self, request: CountIndex) -> Count | None:
            return Count(7_000_000, exact=True)

    query = Query(now=NOW)
    assert paging.run(paging.count(query), Counting([], query)) == Count(7_000_000, exact=True)
    query = Query(now=NOW, device="Firefox")
    assert paging.run(paging.count(query), Counting([], query)) == Count(0, exact=True)


def test_more_candidates_than_are_sorted_are_found_by_the_index_of_the_order() -> None:
    query = Query(now=NOW, user_prefix="a", sort=Sort.EXPIRES, limit=2)
    assert walk(MANY[:9], query, knows_ranges=False) == [one.item for one in MANY[:9]]


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, Index.LAST_SEEN),
        ({"user": "ada"}, Index.OF_USER),
        ({"user": "ada", "sort": Sort.USER}, Index.OF_USER),
        ({"user": "ada", "sort": Sort.EXPIRES}, Index.EXPIRES),
        ({"ip": "::1"}, Index.OF_IP),
        ({"ip": "::1", "user": "ada"}, Index.OF_USER),
        ({"signed_in": False}, Index.VISITORS),
        ({"signed_in": False, "sort": Sort.EXPIRES}, Index.EXPIRES),
        ({"state": State.ENDED, "user": "ada"}, Index.ENDED),
    ],
    ids=str,
)
def test_a_list_is_read_from_the_narrowest_index_of_its_order(filters: dict[str, Any], index: Index) -> None:
    scans = list_for(Query(now=NOW, **filters))
    assert scans[0].index is index
    assert scans[-1].index is Index.UNPLACED
    assert [scan.part for scan in scans] == sorted({scan.part for scan in scans})


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "AAAA",
        "a" * 1000,
        encode_edge(Edge(SortKey(0, "", 1.0, "h"), is_after=True), Query(now=NOW, sort=Sort.USER)),
    ],
)
def test_a_cursor_that_no_page_of_this_order_returned_is_refused(cursor: str) -> None:
    for knows_ranges in (True, False):
        with pytest.raises(QueryError):
            find(MANY[:3], Query(now=NOW, cursor=cursor, users=("ada",)), knows_ranges=knows_ranges)


def test_an_empty_list_is_one_empty_page() -> None:
    assert find([], Query(now=NOW)) == Page([], None, total=0)


@pytest.mark.parametrize(
    ("page", "count", "position"),
    [
        (Page([session(1)], None, None, 1), Count(1, True), (1, 1)),
        (Page([session(1)], "next", None, 1), Count(20, True), (1, 1)),
        (Page([session(1), session(2)], "next", "previous", 51), Count(2_000, False), (51, 52)),
        (Page([session(1), session(2)], None, "previous", 19), Count(20, True), (19, 20)),
        (Page([], None), Count(0, True), None),
        (Page([session(1)], "next", "previous", None), Count(20, True), None),
        # The last page, but there are more, or fewer.
        (Page([session(1)], None, "previous", 19), Count(20, True), None),
        (Page([session(1)], None, "previous", 21), Count(20, True), None),
        (Page([session(1)], "next", "previous", 21), Count(20, True), None),
    ],
    ids=str,
)
def test_a_page_has_a_position_only_if_it_agrees_with_the_count(
    page: Page, count: Count, position: tuple[int, int] | None
) -> None:
    assert page.position(count) == position


def test_numbers_are_dropped_when_rows_have_come_or_gone() -> None:
    query = Query(now=NOW, limit=10)
    first = find(MANY[10:50], query)
    second = find(MANY[10:50], Query(now=NOW, limit=10, cursor=first.next_cursor))
    assert (first.start, second.start) == (1, 11)
    # Ten new rows at the front: the page back is not the first page any more, so its first row is not the first.
    back = find(MANY[:50], Query(now=NOW, limit=10, cursor=second.previous_cursor))
    assert (back.items, back.start) == (first.items, None)
    again = find(MANY[:50], Query(now=NOW, limit=10, cursor=back.next_cursor))
    assert (again.items, again.start) == (second.items, None)
    # Five rows have gone: the first page is known, and numbers start again.
    short = find(MANY[15:50], Query(now=NOW, limit=10, cursor=second.previous_cursor))
    assert (short.start, short.previous_cursor) == (1, None)
    assert find(MANY[15:50], Query(now=NOW, limit=10, cursor=short.next_cursor)).start == 6
