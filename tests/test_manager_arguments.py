"""Public arguments on every store: what cannot work is refused before the store is called, and the same everywhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from _pytest.mark import ParameterSet
from support.amount import in_turn, only_long
from support.urls import BACKENDS, url_of

from tornado_sessions import (
    Cause,
    Damaged,
    Loaded,
    QueryError,
    Sessions,
    Sort,
    Tombstone,
    UsageError,
    Where,
    open_store,
)
from tornado_sessions.change import Lifetime
from tornado_sessions.cookie import Presented
from tornado_sessions.request import RequestInfo
from tornado_sessions.testing.faults import WrappedStore
from tornado_sessions.validation import MAX_USER_ID

NAN, INF = float("nan"), float("inf")
NOW = 1_800_000_000.0
SURROGATE = "a\ud800"
TOO_LONG = "x" * (MAX_USER_ID + 1)


class Name(StrEnum):
    ADA = "ada"


class Text(str):
    """What a template library, a driver or a translation returns as text."""

    __slots__ = ()


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


NO_TEXT: list[Any] = [42, 0, 1.5, True, b"ada", UUID(int=1), ["ada"], {"ada": 1}, object, Unprintable(), 10**5000]
NO_USER = [*NO_TEXT, None, "", SURROGATE, "x" * 10_000, TOO_LONG, "é" * 257]
NO_WORDS = [*NO_TEXT, SURROGATE]
NO_TIME: list[Any] = [NAN, INF, -INF, True, "1800000000", b"1", 10**400, 1.8e12, datetime.now(UTC), timedelta(1), [1]]
NO_DURATION: list[Any] = [
    NAN,
    INF,
    -INF,
    0,
    -1,
    1e9,
    True,
    False,
    "60",
    b"60",
    10**400,
    timedelta(0),
    timedelta(-1),
    [60],
]
NO_FLAG: list[Any] = [0, 1, "yes", "", NAN, [], b"1"]
NO_FILTER = [value for value in NO_USER if value is not None]

Call = Callable[[Sessions, Any], Awaitable[object]]


class Door(NamedTuple):
    """One argument of one method: how to pass a value, which ones are refused, and with which error."""

    call: Call
    refused: list[Any]
    error: type[Exception]


async def log_in(sessions: Sessions, user: Any, lifetime: Lifetime | None = None) -> None:
    await sessions.log_in(sessions.new_request_session(RequestInfo(NOW)), user, lifetime)


def filtered(name: str) -> Call:
    return lambda sessions, value: sessions.find(**{name: value})


def filters(name: str, refused: list[Any]) -> dict[str, Door]:
    """The doors of one filter: every method that takes it, by its name and in a ``Where``."""
    return {
        f"find {name}": Door(lambda s, v: s.find(**{name: v}), refused, QueryError),
        f"find Where {name}": Door(lambda s, v: s.find(Where(**{name: v})), refused, QueryError),
        f"find ended {name}": Door(lambda s, v: s.find(state="ended", sort="user", **{name: v}), refused, QueryError),
        f"count {name}": Door(lambda s, v: s.count(**{name: v}), refused, QueryError),
        f"destroy_where {name}": Door(
            lambda s, v: s.destroy_where(**{"signed_in": True, name: v}), refused, QueryError
        ),
        f"destroy_where Where {name}": Door(lambda s, v: s.destroy_where(Where(**{name: v})), refused, QueryError),
    }


ENDERS: dict[str, Callable[..., Awaitable[object]]] = {
    "destroy": lambda s, **more: s.destroy("h1", **more),
    "destroy_many": lambda s, **more: s.destroy_many(["h1"], **more),
    "destroy_user": lambda s, **more: s.destroy_user("ada", **more),
    "destroy_where": lambda s, **more: s.destroy_where(user="ada", **more),
    "end_all": lambda s, **more: s.end_all(**more),
}


def endings(name: str, refused: list[Any]) -> dict[str, Door]:
    """The doors of an argument that every way to end sessions takes."""
    return {
        f"{ender} {name}": Door(lambda s, v, end=end: end(s, **{name: v}), refused, UsageError)  # type: ignore[misc]
        for ender, end in ENDERS.items()
    }


DOORS: dict[str, Door] = {
    "log_in": Door(log_in, NO_USER, UsageError),
    "log_in lifetime": Door(lambda s, v: log_in(s, "ada", Lifetime(v, True)), NO_DURATION, UsageError),
    "log_in idle_timeout": Door(lambda s, v: log_in(s, "ada", Lifetime(60, True, v)), NO_DURATION, UsageError),
    "log_in persistent": Door(lambda s, v: log_in(s, "ada", Lifetime(60, v)), [*NO_FLAG, None], UsageError),
    **filters("user", NO_FILTER),
    **filters("user_prefix", NO_FILTER),
    **filters("ip", NO_FILTER),
    **filters("network", [*NO_FILTER, "192.0.2", "192.0.2.0/33", "::/129", "x"]),
    **filters("handle", NO_FILTER),
    **filters("text", NO_FILTER),
    **filters("device", [*NO_FILTER, "Netscape"]),
    **filters("users", ["abc", b"abc", 42, True, {"a": 1}, [42], [None], [""], [SURROGATE], [["ada"]], (TOO_LONG,), ["a"] * 501]),
    **filters("signed_in", NO_FLAG),
    **filters("signed_in_since", NO_TIME),
    **filters("idle_since", NO_TIME),
    **filters("created_until", NO_TIME),
    **filters("ended_by", NO_FILTER),
    **filters("ended_action", NO_FILTER),
    **filters("ended_since", NO_TIME),
    **filters("ended_until", NO_TIME),
    **{
        f"{method} {name}": Door(lambda s, v, method=method, name=name: getattr(s, method)(**{name: v}), [1, "x"], QueryError)  # type: ignore[misc]
        for method in ("find", "count", "destroy_where")
        for name in ("no_such_filter", "now", "q", "Where")
    },
    "find where": Door(lambda s, v: s.find(v), ["ada", 42, {"user": "ada"}, ["ada"], True, Where], QueryError),
    "count where": Door(lambda s, v: s.count(v), ["ada", 42, {"user": "ada"}], QueryError),
    "destroy_where where": Door(lambda s, v: s.destroy_where(v), ["ada", 42, {"user": "ada"}, None, Where()], QueryError),
    "find limit": Door(
        lambda s, v: s.find(limit=v), [True, 2.5, 50.0, "50", None, 0, -1, 501, 10**5000, NAN, [5]], QueryError
    ),
    "find cursor": Door(lambda s, v: s.find(cursor=v), [42, True, b"x", ["x"], "x", "é", SURROGATE, "", "A" * 9999], QueryError),
    "find sort": Door(lambda s, v: s.find(sort=v), [None, 42, "", "name", b"user", ["user"], {}], QueryError),
    "find state": Door(lambda s, v: s.find(state=v), [None, 42, "", "dead", b"live", ["live"], {}], QueryError),
    "count state": Door(lambda s, v: s.count(state=v), [None, 42, "", "dead"], QueryError),
    "destroy_where nothing": Door(lambda s, v: s.destroy_where(**{v: None}), ["user", "users", "signed_in"], QueryError),  # type: ignore[arg-type]
    "destroy_where time alone": Door(lambda s, v: s.destroy_where(created_until=v), [NOW], QueryError),
    **{
        f"destroy_where {name}": Door(lambda s, v, name=name: s.destroy_where(user="ada", **{name: v}), ["live", 5], QueryError)  # type: ignore[misc]
        for name in ("state", "sort", "limit", "cursor")
    },
    "inspect": Door(lambda s, v: s.inspect(v), [*NO_TEXT, None], UsageError),
    "values_of": Door(lambda s, v: s.values_of(v), [*NO_TEXT, None], UsageError),
    "destroy handle": Door(lambda s, v: s.destroy(v), [*NO_TEXT, None], UsageError),
    "destroy_many handles": Door(
        lambda s, v: s.destroy_many(v), ["h1", b"h1", 42, None, ["h1", 42], [b"h1"], {"h1": 1}], UsageError
    ),
    "destroy_user user": Door(lambda s, v: s.destroy_user(v), NO_USER, UsageError),
    "destroy_user except": Door(lambda s, v: s.destroy_user("ada", v), NO_TEXT, UsageError),
    "destroy_user at most": Door(lambda s, v: s.destroy_user("ada", at_most=v), [True, 2.5, "5", -1, [5]], UsageError),
    "destroy_where at most": Door(lambda s, v: s.destroy_where(user="ada", at_most=v), [True, 2.5, "5", -1, [5]], UsageError),
    "destroy_where except": Door(lambda s, v: s.destroy_where(user="ada", except_handle=v), NO_TEXT, UsageError),
    **endings("by", NO_WORDS),
    **endings("reason", [*NO_WORDS, None]),
    **endings("action", [*NO_WORDS, None, "two\nlines", "x" * 65]),
    **endings("cause", [*NO_TEXT, None, "", "bored", SURROGATE]),
}  # fmt: skip


class Stand(NamedTuple):
    sessions: Sessions
    store: WrappedStore


@pytest.fixture(params=BACKENDS)
def stand(request: pytest.FixtureRequest, tmp_path: Path, io_loop: Any) -> Iterator[Stand]:
    store = WrappedStore(open_store(url_of(request.param, request, tmp_path)))
    sessions = Sessions(store, secret="x" * 40, clock=lambda: NOW)
    io_loop.run_sync(sessions.open)
    yield Stand(sessions, store)
    io_loop.run_sync(sessions.close)


def _in_front_of(name: str, kind: str) -> ParameterSet:
    """A door on a kind of store. Only a cursor gets as far as the store."""
    is_usual = kind == "memory" or (kind == "sqlite" and name == "find cursor")
    return pytest.param(name, kind, marks=[] if is_usual else [only_long])


@pytest.mark.parametrize(
    ("name", "stand"), [_in_front_of(name, kind) for name in DOORS for kind in BACKENDS], indirect=["stand"]
)
@pytest.mark.gen_test
async def test_what_cannot_work_is_refused_alike_before_the_store_is_asked(name: str, stand: Stand) -> None:
    door = DOORS[name]
    for value in door.refused:
        with pytest.raises(door.error):
            await door.call(stand.sessions, value)
            pytest.fail(f"accepted: {ascii(value) if not isinstance(value, Unprintable) else value}")
    # A cursor is text as far as the library knows; whether a page gave it the store finds out while it reads.
    allowed = {"find"} if name == "find cursor" else set()
    assert set(stand.store.calls) <= allowed


@pytest.mark.gen_test
async def test_a_refused_sign_in_leaves_everything_as_it_was(stand: Stand) -> None:
    sessions = stand.sessions
    request = sessions.new_request_session(RequestInfo(NOW))
    await sessions.log_in(request, "ada")
    handle, cookie = request.session.handle, request.set_cookie
    for wrong in NO_USER:
        with pytest.raises(UsageError):
            await sessions.log_in(request, wrong)
    with pytest.raises(UsageError):
        await sessions.log_in(request, "bob", Lifetime(NAN, True))
    assert (request.session.user, request.session.handle, request.set_cookie) == ("ada", handle, cookie)
    assert [item.user for item in (await sessions.find()).items] == ["ada"]


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (42, r"str\(user\.id\)"), (uuid4(), r"str\(user\.id\)"), (1.5, r"str\(user\.id\)"), (b"ada", "decode"),
        (None, "identifies"), (True, "identifies"), ("", "empty"), (SURROGATE, "surrogate"),
        (TOO_LONG, "512 bytes"),
    ],
)  # fmt: skip
@pytest.mark.gen_test
async def test_the_message_names_the_remedy(value: Any, remedy: str) -> None:
    sessions = Sessions("memory://", secret="x" * 40)
    with pytest.raises(UsageError, match=remedy):
        await log_in(sessions, value)


NAMES = [
    "ada", " ", "a b", "é", "\U0001f600", "*", "%", "_", "a'\"\\;--", "{x}", "None", "0", "x" * 512, "é" * 256, "\0", "a\0b", "\1",
    "a\nb", "\x7f", "\x85", "\u2028", "\uffff", "\U0010ffff", "\ufeffa", "Ａ", "e\u0301",
]  # fmt: skip


@pytest.mark.parametrize("user", NAMES)
@pytest.mark.gen_test
async def test_any_text_within_the_bounds_is_a_user_and_found_again(user: str, stand: Stand) -> None:
    sessions = stand.sessions
    for name in (user, user[:-1] + "~", user[:200] + "~", user[:200] + "\0~"):
        await log_in(sessions, name)
    wheres: list[dict[str, Any]] = [
        {"user": user},
        {"users": [user]},
        {"user": user, "text": user},
        {"user": user, "user_prefix": user[:1]},
    ]
    for number, where in enumerate(wheres, NAMES.index(user)):
        for sort in in_turn(list(Sort), number):
            assert [item.user for item in (await sessions.find(sort=sort, **where)).items] == [user]
        assert (await sessions.count(**where)).total == 1
    for sort in in_turn(list(Sort), NAMES.index(user), 2):
        found = [item.user or "" for item in (await sessions.find(user_prefix=user, sort=sort)).items]
        assert user in found
        assert all(name.startswith(user) for name in found)
    assert len(await sessions.destroy_user(user)) == 1
    assert len((await sessions.find(user=user, state="ended")).items) == 1
    assert (await sessions.count(user=user)).total == 0
    assert (await sessions.count()).total >= 2


@pytest.mark.parametrize("user", [Name.ADA, Text("ada")])
@pytest.mark.gen_test
async def test_a_kind_of_str_is_stored_as_plain_text(user: str, stand: Stand) -> None:
    sessions = stand.sessions
    request = sessions.new_request_session(RequestInfo(NOW))
    await sessions.log_in(request, user)
    assert type(request.session.user) is str
    assert [item.user for item in (await sessions.find(user=user)).items] == ["ada"]
    assert await sessions.destroy_user(user, by=user, reason=user) == [request.session.handle]


@pytest.mark.parametrize("handle", ["", "nobody", SURROGATE, "a\0b", "x" * 100_000, "h1' --"])
@pytest.mark.gen_test
async def test_a_text_that_no_session_can_have_is_simply_not_found(handle: str, stand: Stand) -> None:
    sessions = stand.sessions
    await log_in(sessions, "ada")
    assert await sessions.inspect(handle) is None
    assert await sessions.values_of(handle) is None
    assert await sessions.destroy(handle) is False
    assert await sessions.destroy_many([handle, handle]) == []
    assert len(await sessions.destroy_user("ada", handle)) == 1


@pytest.mark.gen_test
async def test_lists_may_be_long(stand: Stand) -> None:
    sessions = stand.sessions
    await log_in(sessions, "ada")
    await log_in(sessions, "bob")
    users = [f"{'x' * 500}{number}" for number in range(499)]
    assert [item.user for item in (await sessions.find(users=[*users, "ada"])).items] == ["ada"]
    found = [item.handle for item in (await sessions.find()).items]
    assert len(await sessions.destroy_many([f"h{number}" for number in range(5000)] + found)) == 2


@pytest.mark.gen_test
async def test_filters_that_match_nobody_end_nobody(stand: Stand) -> None:
    sessions = stand.sessions
    await log_in(sessions, "ada")
    nobody: list[dict[str, Any]] = [
        {"users": []}, {"users": ()}, {"user": "bob"}, {"signed_in_since": NOW + 1}, {"idle_since": -5}, {"idle_since": 0},
        {"user": "ada", "created_until": -1.0}, {"user_prefix": "ada "}, {"signed_in": False},
    ]  # fmt: skip
    for where in nobody:
        assert (await sessions.find(**where)).items == []
        assert (await sessions.count(**where)).total == 0
        assert await sessions.destroy_where(**where) == 0
    assert (await sessions.count()).total == 1


@pytest.mark.gen_test
async def test_what_is_left_out_and_none_mean_any(stand: Stand) -> None:
    sessions = stand.sessions
    await log_in(sessions, "ada")
    page = await sessions.find(None, user=None, users=None, signed_in=None, idle_since=None, cursor=None)
    assert [item.user for item in page.items] == ["ada"]
    assert await sessions.destroy_where(Where(user="ada"), ip=None) == 1


@pytest.mark.parametrize("reason", ["", "why", "two\nlines", "a\0b", "é\U0001f600", "x" * 500])
@pytest.mark.gen_test
async def test_words_are_kept_as_they_are(reason: str, stand: Stand) -> None:
    sessions = stand.sessions
    request = sessions.new_request_session(RequestInfo(NOW))
    await sessions.log_in(request, "ada")
    handle = request.session.handle or ""
    assert await sessions.destroy(handle, cause="theft", by="root", reason=reason)
    found = await sessions.inspect(handle)
    assert isinstance(found, Tombstone)
    assert (found.ending.cause, found.ending.by, found.ending.reason) == (Cause.THEFT, "root", reason)


class DamagedStore(WrappedStore):
    """Can read nothing of what it holds."""

    async def load(self, handles: Any, now: float) -> Loaded:
        loaded = await super().load(handles, now)
        return Loaded([found and Damaged(handle=found.handle, why="it is cut short") for found in loaded.records], 0.0)


@pytest.mark.gen_test
async def test_the_holder_of_a_damaged_session_is_a_visitor_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sessions = Sessions(store := DamagedStore(open_store("memory://")), secret="x" * 40, clock=lambda: NOW)
    request = sessions.new_request_session(RequestInfo(NOW))
    await sessions.log_in(request, "ada")
    handle, presented = request.session.handle or "", request.presented
    assert isinstance(presented, Presented)
    again = await sessions.fetch(presented, RequestInfo(NOW))
    assert (again.session.user, again.session.is_new, again.session.ended) == (None, True, None)
    lines = [record for record in caplog.records if record.name == "tornado_sessions.security"]
    assert [line.getMessage() for line in lines] == [f"session {handle} is damaged: it is cut short"]
    assert isinstance(await sessions.inspect(handle), Damaged)
    assert await sessions.values_of(handle) is None
    assert await sessions.live._still_live([handle]) == {}
    assert store.calls["destroy"] == 0
    await sessions.close()
