"""Compare a store with plain dicts: Hypothesis applies the same random steps to both::

    TestMyStore = store_machine(MyMaker).TestCase

It must not use the code with which stores apply a change: the expected results are computed here. Requires ``hypothesis``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tornado_sessions.query import Query, State
from tornado_sessions.record import Cause, Conflict, Outcome, Record, Rotation, Swapped, Tombstone
from tornado_sessions.stores.base import Store
from tornado_sessions.testing.maker import NOW, StoreMaker, change, create, end, hash_of

__all__ = ["store_machine"]

_HANDLES = st.sampled_from(["h1", "h2", "h3", "h4"])
_USERS = st.sampled_from([None, "ada", "bob"])
_KEYS = st.sampled_from(["a", "b.c", "$d"])
_VALUES = st.binary(max_size=4)
_DATA = st.dictionaries(_KEYS, _VALUES, max_size=3)
_KEPT = 100_000.0
# Seconds by which the clock of a host is ahead.
_AHEAD = st.sampled_from([0.0, 3.0])
_SMALL = st.sampled_from([None, b"", b"x", b"y"])


class _Model(RuleBasedStateMachine):
    """The expected behaviour, computed with dicts. ``store_machine`` sets ``make``."""

    make: Callable[[], StoreMaker]

    def __init__(self) -> None:
        super().__init__()
        # Use a separate event loop, so that the test runner's loop is not affected.
        self.loop = asyncio.new_event_loop()
        self.stores: list[Store] = []
        self.now = NOW
        self.not_before = 0.0
        self.live: dict[str, dict[str, Any]] = {}
        self.dead: dict[str, set[Cause]] = {}
        self.values: dict[str, bytes | None] = {}
        self.turn = 0

    @initialize()
    def open(self) -> None:
        """Open two clients of the same empty data."""
        self.maker = type(self).make()
        self.stores = [self.run(self.maker.open()), self.run(self.maker.open())]

    def run(self, awaitable: Any) -> Any:
        """Run one call of the store."""
        return self.loop.run_until_complete(awaitable)

    @property
    def store(self) -> Store:
        """One of the two clients of the same data, alternating."""
        self.turn += 1
        return self.stores[self.turn % 2]

    def teardown(self) -> None:
        """Close the store."""
        if self.stores:
            self.run(self.maker.close())
        self.loop.close()

    def is_live(self, handle: str) -> bool:
        """Return whether a session would be let in."""
        model = self.live.get(handle)
        return model is not None and model["expires_at"] > self.now and model["created_at"] >= self.not_before

    def bury(self, handle: str, *causes: Cause) -> None:
        """Move a session to the ended ones. The store may report any of the causes."""
        del self.live[handle]
        self.dead[handle] = set(causes)

    @rule(handle=_HANDLES, user=_USERS, data=_DATA, lives=st.sampled_from([5.0, 50.0]), ahead=_AHEAD)
    def create(self, handle: str, user: str | None, data: dict[str, bytes], lives: float, ahead: float) -> None:
        """Create a session. A used handle or a time before ``not_before`` is refused."""
        at = self.now + ahead
        fields: dict[str, Any] = {
            "user": user,
            "data": data,
            "created_at": at,
            "last_seen_at": at,
            "expires_at": at + lives,
            "absolute_at": at + 50.0,
            "secret_hash": hash_of("0"),
        }
        is_refused = handle in self.live or handle in self.dead or at < self.not_before
        expected = Outcome.GONE if is_refused else Outcome.SAVED
        assert self.run(self.store.save([create(handle, **fields)])) == [expected]
        if expected is Outcome.SAVED:
            self.live[handle] = {**fields, "data": dict(data)}

    @rule(handle=_HANDLES, new=_DATA, gone=st.frozensets(_KEYS, max_size=2), clear=st.booleans())
    def write(self, handle: str, new: dict[str, bytes], gone: frozenset[str], clear: bool) -> None:  # noqa: FBT001
        """Set keys, remove keys, or clear all."""
        gone -= new.keys()
        answer = self.run(self.store.save([change(handle, now=self.now, set=new, delete=gone, clear=clear)]))
        if not self.is_live(handle):
            assert answer == [Outcome.GONE]
            return
        assert answer == [Outcome.SAVED]
        kept = {} if clear else self.live[handle]["data"]
        self.live[handle]["data"] = {**{key: kept[key] for key in kept if key not in gone}, **new}

    @rule(handle=_HANDLES, key=_KEYS, seen=st.none() | _VALUES, new=_VALUES)
    def write_if(self, handle: str, key: str, seen: bytes | None, new: bytes) -> None:
        """Set a key if it still has the expected value."""
        answer = self.run(self.store.save([change(handle, now=self.now, set={key: new}, expect={key: seen})]))[0]
        if not self.is_live(handle):
            assert answer is Outcome.GONE
        elif self.live[handle]["data"].get(key) == seen:
            assert answer is Outcome.SAVED
            self.live[handle]["data"][key] = new
        else:
            assert isinstance(answer, Conflict)
            assert answer.record.data == self.live[handle]["data"]

    @rule(handle=_HANDLES, by=st.sampled_from([1.0, 20.0]), ip=st.sampled_from(["192.0.2.1", "2001:db8::1"]))
    def touch(self, handle: str, by: float, ip: str) -> None:
        """Touch a session; times only move forward."""
        fields: dict[str, Any] = {"last_seen_at": self.now, "expires_at": self.now + by, "ip": ip}
        answer = self.run(self.store.save([change(handle, now=self.now, **fields)]))
        if not self.is_live(handle):
            assert answer == [Outcome.GONE]
            return
        model = self.live[handle]
        model["last_seen_at"] = max(model["last_seen_at"], self.now)
        model["expires_at"] = max(model["expires_at"], self.now + by)
        model["ip"] = ip

    @rule(handle=_HANDLES, old=st.sampled_from("012"), new=st.sampled_from("012"), user=_USERS)
    def rotate(self, handle: str, old: str, new: str, user: str | None) -> None:
        """Rotate the secret if the old one is still the newest, perhaps with a sign-in."""
        rotation = Rotation(
            expected_hash=hash_of(old),
            secret_hash=hash_of(new),
            previous_hash=hash_of(old),
            rotated_at=self.now,
            confirmed_at=None,
            grace=30.0,
        )
        signed_in_at = self.now if user is not None else None
        item = change(handle, now=self.now, rotation=rotation, user=user, signed_in_at=signed_in_at)
        answer = self.run(self.store.save([item]))[0]
        if not self.is_live(handle):
            assert answer is Outcome.GONE
        elif self.live[handle]["secret_hash"] != hash_of(old):
            assert isinstance(answer, Conflict)
        else:
            self.live[handle]["secret_hash"] = hash_of(new)
            self.live[handle]["user"] = user or self.live[handle]["user"]

    @rule(handles=st.lists(_HANDLES, max_size=3))
    def destroy(self, handles: list[str]) -> None:
        """End sessions by handle."""
        ended = {handle for handle in handles if self.is_live(handle)}
        ending = end(self.now, cause=Cause.LOGOUT, keep_until=self.now + _KEPT)
        assert set(self.run(self.store.destroy(handles, ending))) == ended
        for handle in ended:
            self.bury(handle, Cause.LOGOUT)

    @rule(user=st.sampled_from(["ada", "bob"]), kept=_HANDLES)
    def destroy_user(self, user: str, kept: str) -> None:
        """End a user's sessions except one."""
        ended = {
            handle
            for handle, model in self.live.items()
            if model["user"] == user and handle != kept and self.is_live(handle)
        }
        ending = end(self.now, cause=Cause.PASSWORD, keep_until=self.now + _KEPT)
        assert set(self.run(self.store.destroy_user(user, ending, kept))) == ended
        for handle in ended:
            self.bury(handle, Cause.PASSWORD)

    @rule(back=st.sampled_from([0.0, 5.0]))
    def end_before(self, back: float) -> None:
        """End all sessions created before a time; it only moves forward."""
        at = self.now - back
        self.not_before = max(self.not_before, at)
        assert self.run(self.store.end_all(at, end(self.now, keep_until=self.now + _KEPT))) == self.not_before

    @rule()
    def end_everybody(self) -> None:
        """End all sessions, including those created by a fast clock."""
        times = {handle: max(model["created_at"], model["last_seen_at"]) for handle, model in self.live.items()}
        must = [at for handle, at in times.items() if self.is_live(handle)]
        answer = self.run(self.store.end_all(None, end(self.now, keep_until=self.now + _KEPT)))
        assert answer >= max(self.now, self.not_before)
        assert all(answer > at for at in must)
        # not_before is no later than ending the existing sessions requires.
        assert answer <= max(self.now, self.not_before, *times.values(), 0.0) + 2e-6
        self.not_before = answer

    @rule(name=st.sampled_from(["h1", "v"]), expected=_SMALL, value=_SMALL)
    def swap(self, name: str, expected: bytes | None, value: bytes | None) -> None:
        """Replace a small value if it is the expected one."""
        stored = self.values.get(name)
        done = stored == expected
        if done:
            self.values[name] = stored = value
        # Kept for longer than the run, by the real clock and by the model's.
        keep_until = max(time.time(), NOW) + 1e6
        assert self.run(self.store.swap(name, expected, value, keep_until)) == Swapped(done, stored)

    @rule(by=st.sampled_from([1.0, 10.0]))
    def wait(self, by: float) -> None:
        """Let time pass."""
        self.now += by

    @rule()
    def expire(self) -> None:
        """Run ``expire`` to its end."""
        expected = {handle for handle in self.live if not self.is_live(handle)}
        removed = 0
        while step := self.run(self.store.expire(self.now, _KEPT, 2)):
            removed += step
        assert removed == len(expected)
        for handle in expected:
            model = self.live[handle]
            causes = [Cause.OPERATOR] if model["created_at"] < self.not_before else []
            if model["expires_at"] <= self.now:
                causes.append(Cause.ABSOLUTE if model["absolute_at"] <= self.now else Cause.IDLE)
            self.bury(handle, *causes)
        assert self.run(self.maker.raw_handles()) == set(self.live)

    @invariant()
    def loads_are_equal(self) -> None:
        """Compare loads with the dicts. An ended session is never loaded as a record."""
        handles = ["h1", "h2", "h3", "h4"]
        loaded = self.run(self.store.load(handles, self.now))
        assert loaded.not_before == self.not_before
        for handle, found in zip(handles, loaded.records, strict=True):
            if handle in self.dead:
                assert isinstance(found, Tombstone), handle
                assert found.ending.cause in self.dead[handle]
            elif handle not in self.live:
                assert found is None
            elif self.live[handle]["expires_at"] <= self.now:
                assert isinstance(found, Tombstone), handle
            else:
                assert isinstance(found, Record), handle
                assert {name: getattr(found, name) for name in self.live[handle]} == self.live[handle]

    @invariant()
    def lists_are_equal(self) -> None:
        """Compare lists and counts with the dicts."""
        for user in (None, "ada"):
            expected = sorted(
                (-model["last_seen_at"], handle)
                for handle, model in self.live.items()
                if self.is_live(handle) and user in (None, model["user"])
            )
            page = self.run(self.store.find(Query(now=self.now, user=user)))
            assert [item.handle for item in page.items] == [handle for _, handle in expected]
            count = self.run(self.store.count(Query(now=self.now, user=user)))
            assert (count.total, count.exact) == (len(expected), True)
        ended = self.run(self.store.find(Query(now=self.now, state=State.ENDED)))
        assert {item.handle for item in ended.items} == set(self.dead)


def store_machine(make: Callable[[], StoreMaker]) -> type[RuleBasedStateMachine]:
    """Return the state machine for one kind of store. Pass its ``TestCase`` to a test runner.

    Args:
        make: returns the maker of one run, with its own data.
    """
    return type(f"{getattr(make, '__name__', 'Store')}Model", (_Model,), {"make": staticmethod(make)})
