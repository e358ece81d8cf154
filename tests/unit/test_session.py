"""The session's own doors: what each change accepts, what is refused whole, and what a finished session still allows."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Any

import pytest
from tornado.escape import json_decode, json_encode

from tornado_sessions import NotStorable, Session, SessionTooLarge, UsageError
from tornado_sessions.change import Lifetime
from tornado_sessions.codec import Codec
from tornado_sessions.testing import make_record

NAN, INF = float("nan"), float("inf")
DATA = {"n": b"1", "f": b"1.5", "cart": b'{"items":[1,{"a":[]}]}', "list": b"[3,1]", "text": b'"x"', "null": b"null"}


class Key(StrEnum):
    OTHER = "other"


def stored(**data: bytes) -> Session:
    async def transform(session: Session, key: str, function: Callable[[Any], Any], default: Any) -> Any:
        session[key] = function(session.get(key, default))
        return session[key]

    return Session(make_record(data={**DATA, **data}), Codec(), 65536, transform=transform)


def new() -> Session:
    return Session(None, Codec(), 65536)


def run(awaitable: Any) -> Any:
    async def wait() -> Any:
        return await awaitable

    return asyncio.run(wait())


BAD_KEYS: list[Any] = [42, None, 1.5, True, b"n", Key.OTHER, "\ud800", ("n",), ["n"], {}]

#: By name: every way to change a key.
CHANGES: dict[str, Callable[[Session, Any], object]] = {
    "assignment": lambda session, key: session.__setitem__(key, 1),
    "update": lambda session, key: session.update([(key, 1)]),
    "setdefault": lambda session, key: session.setdefault(key, 1),
    "increment": lambda session, key: session.increment(key),
    "transform": lambda session, key: run(session.transform(key, lambda value: value)),
}


@pytest.mark.parametrize("make", [stored, new])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
def test_a_key_that_is_no_plain_text_is_refused_everywhere(make: Callable[[], Session], change: str, key: Any) -> None:
    session = make()
    before = dict(session)
    # An update cannot even look at a key without a hash; everything else names the key.
    with pytest.raises(UsageError if change == "update" else NotStorable):
        CHANGES[change](session, key)
    assert dict(session) == before
    assert not session.delta()


@pytest.mark.parametrize("key", [42, None, b"n", ("n",)])
def test_a_key_of_another_type_is_missing(key: Any) -> None:
    session = stored()
    assert key not in session
    assert session.get(key, "nothing") == "nothing"
    assert session.pop(key, "nothing") == "nothing"
    with pytest.raises(KeyError):
        del session[key]


class TestIncrement:
    @pytest.mark.parametrize("make", [stored, new])
    @pytest.mark.parametrize("by", [NAN, INF, -INF, True, "1", None, b"1", [1], {}, 1j, 10**5000], ids=range(11))
    def test_only_numbers_that_can_be_stored_are_added(self, make: Callable[[], Session], by: Any) -> None:
        session = make()
        with pytest.raises(NotStorable):
            session.increment("n", by)
        assert session.get("n") == (1 if make is stored else None)
        assert not session.delta()

    @pytest.mark.parametrize("key", ["cart", "list", "text", "null"])
    def test_only_numbers_are_added_to(self, key: str) -> None:
        session = stored()
        with pytest.raises(NotStorable):
            session.increment(key)
        assert not session.delta()

    def test_an_int_stays_an_int_of_any_size(self) -> None:
        session = stored(n=str(10**40).encode())
        total: int = session.increment("n", 10**30)
        assert total == 10**40 + 10**30
        assert session.delta().set == {"n": str(total).encode()}

    @pytest.mark.parametrize(("start", "by"), [(b"1e308", 1e308), (b"1.5", 10**400), (b"1" + b"0" * 400, 1.5)])
    def test_a_sum_beyond_floats_is_refused_at_once(self, start: bytes, by: float) -> None:
        session = stored(n=start)
        before = session["n"]
        with pytest.raises(NotStorable):
            session.increment("n", by)
        assert session["n"] == before
        assert not session.delta()

    def test_what_is_added_up_may_not_pass_a_float_either(self) -> None:
        session = stored(n=b"-1e308")
        session.increment("n", 1e308)
        with pytest.raises(NotStorable):
            session.increment("n", 1e308)
        assert session.delta().increments == {"n": 1e308}

    def test_a_sum_that_others_made_too_large_is_refused_at_the_commit(self) -> None:
        session = stored(n=b"1.5")
        session.increment("n", 1e308)
        session.rebase(make_record(data={"n": b"1.7e308"}))
        with pytest.raises(NotStorable):
            session.delta()


class TestUpdate:
    @pytest.mark.parametrize("bad", [object(), NAN, (1,), {1: 2}, "x" * 70_000, 10**5000], ids=range(6))
    def test_all_or_nothing(self, bad: Any) -> None:
        session = stored()
        with pytest.raises((NotStorable, SessionTooLarge)):
            session.update({"a": 1, "b": bad, "c": 3})
        assert not session.delta()
        assert "a" not in session

    @pytest.mark.parametrize("bad", [42, None, "ab", [1], [(1, 2, 3)], True])
    def test_what_is_no_mapping_is_refused(self, bad: Any) -> None:
        with pytest.raises(UsageError):
            stored().update(bad)

    def test_mappings_pairs_and_names(self) -> None:
        session = new()
        session.update({"a": 1}, b=2)
        session.update([("c", 3)])
        session.update()
        assert dict(session) == {"a": 1, "b": 2, "c": 3}


class TestTransform:
    async def _later(self, value: Any) -> Any:
        return value

    @pytest.mark.parametrize("make", [stored, new])
    def test_only_a_plain_function_is_called(self, make: Callable[[], Session]) -> None:
        for wrong in (None, 42, "f", self._later):
            with pytest.raises(UsageError, match="plain function"):
                run(make().transform("n", wrong))  # type: ignore[arg-type]

    @pytest.mark.parametrize("make", [stored, new])
    @pytest.mark.parametrize(
        ("result", "error"), [(object(), NotStorable), ("x" * 70_000, SessionTooLarge)], ids=[0, 1]
    )
    def test_what_it_returns_is_checked(self, make: Callable[[], Session], result: Any, error: type[Exception]) -> None:
        session = make()
        with pytest.raises(error):
            run(session.transform("n", lambda _: result))
        assert not session.delta()


class TestLifetime:
    def test_seconds_and_timedelta(self) -> None:
        session = new()
        session.set_lifetime(timedelta(days=30), idle_timeout=3600, persistent=False)
        assert session.delta().lifetime == Lifetime(30 * 86400.0, False, 3600.0)

    @pytest.mark.parametrize("wrong", [0, -1, NAN, INF, True, "60", None, 1e9])
    def test_anything_else_is_refused(self, wrong: Any) -> None:
        session = stored()
        with pytest.raises(UsageError):
            session.set_lifetime(wrong)
        with pytest.raises(UsageError):
            session.set_lifetime(60, persistent="yes")  # type: ignore[arg-type]
        assert not session.delta()


WHY = "the response is finished"

#: By name: everything that changes a session.
MUTATIONS: dict[str, Callable[[Session], object]] = {
    **{name: lambda session, change=change: change(session, "n") for name, change in CHANGES.items()},  # type: ignore[misc]
    "setdefault": lambda session: session.setdefault("missing", 1),
    "deletion": lambda session: session.__delitem__("n"),
    "clear": lambda session: session.clear(),
    "pop": lambda session: session.pop("n"),
    "popitem": lambda session: session.popitem(),
    "set_lifetime": lambda session: session.set_lifetime(60),
}


def mutators_of(kind: type) -> set[str]:
    """The methods of a list or dict that change it: those that a frozen set or tuple has no equal of."""
    names = {"__setitem__", "__delitem__", "__iadd__", "__imul__", "__ior__"}
    names |= {
        "append",
        "extend",
        "insert",
        "pop",
        "remove",
        "clear",
        "sort",
        "reverse",
        "popitem",
        "setdefault",
        "update",
    }
    return {name for name in names if hasattr(kind, name)}


class TestFinished:
    @pytest.mark.parametrize("mutation", MUTATIONS)
    def test_every_change_is_refused(self, mutation: str) -> None:
        session = stored()
        session.finish(WHY)
        with pytest.raises(UsageError, match=WHY):
            MUTATIONS[mutation](session)
        assert not session.delta()

    @pytest.mark.parametrize("mutation", sorted(set(MUTATIONS) - {"deletion", "pop", "popitem"}))
    def test_also_of_a_new_one(self, mutation: str) -> None:
        session = new()
        session.finish(WHY)
        with pytest.raises(UsageError, match=WHY):
            MUTATIONS[mutation](session)

    def test_the_table_above_has_every_method_that_changes(self) -> None:
        reads = {"get", "items", "keys", "values"}
        ours = {"delta", "finish", "freeze", "changes", "rebase", "record", "reset", "mark_saved", "thaw"}
        facts = {
            "accessed",
            "created_at",
            "ended",
            "expires_at",
            "handle",
            "is_new",
            "last_seen_at",
            "signed_in_at",
            "user",
        }
        public = {name for name in dir(Session) if not name.startswith("_")} | {"ended"}
        assert public - reads - ours - facts == set(MUTATIONS) - {"assignment", "deletion"}

    @pytest.mark.parametrize("read_before", [True, False])
    def test_reads_go_on(self, read_before: bool) -> None:
        session = stored()
        before = dict(session) if read_before else None
        session.finish(WHY)
        read = dict(session)
        assert read == (before or dict(stored()))
        assert (len(session), "n" in session, session.get("x", 5)) == (len(DATA), True, 5)
        assert json_decode(json_encode(read)) == read

    @pytest.mark.parametrize("read_before", [True, False])
    def test_what_is_read_cannot_be_changed_however_deep(self, read_before: bool) -> None:
        session = stored()
        if read_before:
            dict(session)
        session.finish(WHY)
        cart, numbers = session["cart"], session["list"]
        for value in (cart, cart["items"], cart["items"][1], cart["items"][1]["a"], numbers):
            kind = next(base for base in (list, dict) if isinstance(value, base))
            for name in mutators_of(kind):
                arguments: list[Any] = [0, 0] if name in ("__setitem__", "insert", "setdefault") else [0]
                with pytest.raises(UsageError, match=WHY):
                    getattr(value, name)(*arguments[: 0 if name in ("clear", "sort", "reverse", "popitem") else None])
        assert session["cart"] == {"items": [1, {"a": []}]}
        assert session["list"] == [3, 1]

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
    def test_a_copy_is_plain(self, copied: Callable[[Any], Any]) -> None:
        session = stored()
        session.finish(WHY)
        mine = copied(session["list"])
        mine.append(2)
        assert (type(mine), mine) == (list, [3, 1, 2])
        assert type(copied(session["cart"])) is dict

    def test_what_was_changed_before_is_still_to_be_stored(self) -> None:
        session = stored()
        session["cart"]["items"].append(2)
        session["b"] = [1]
        session.increment("n")
        session.finish(WHY)
        assert session["cart"] == {"items": [1, {"a": []}, 2]}
        delta = session.delta()
        assert delta.set == {"cart": b'{"items":[1,{"a":[]},2]}', "b": b"[1]", "n": b"2"}
        session.mark_saved(make_record(data={**DATA, **delta.set}), delta)
        assert not session.delta()
        assert session["n"] == 2

    def test_it_stays_finished_when_it_ends(self) -> None:
        session = stored()
        session.finish(WHY)
        session.reset(None)
        assert dict(session) == {}
        with pytest.raises(UsageError, match=WHY):
            session["a"] = 1

    def test_thawed_it_accepts_changes(self) -> None:
        session = stored()
        session.finish(WHY)
        session.thaw()
        session["list"].append(2)
        assert session.delta().set == {"list": b"[3,1,2]"}


TOO_LATE = "the headers have been sent"


class TestHeadersSent:
    def test_a_stored_session_may_still_change(self) -> None:
        session = stored()
        session.freeze(TOO_LATE)
        session["a"] = 1
        session["list"].append(2)
        assert session.delta().set == {"a": b"1", "list": b"[3,1,2]"}

    def test_a_new_one_may_not(self) -> None:
        session = new()
        session.freeze(TOO_LATE)
        with pytest.raises(UsageError, match=TOO_LATE):
            session["a"] = 1

    def test_nor_may_what_comes_after_a_stored_one_that_ended(self) -> None:
        session = stored()
        session.freeze(TOO_LATE)
        session.reset(None)
        with pytest.raises(UsageError, match=TOO_LATE):
            session["a"] = 1

    def test_finishing_comes_on_top(self) -> None:
        session = stored()
        session.freeze(TOO_LATE)
        session.finish(WHY)
        session.freeze(TOO_LATE)
        with pytest.raises(UsageError, match=WHY):
            session["a"] = 1
