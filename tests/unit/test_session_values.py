"""The session as a mapping that knows its changes."""

from __future__ import annotations

import pytest

from tornado_sessions.codec import Codec
from tornado_sessions.errors import DecodeError, SessionTooLarge
from tornado_sessions.session import Session
from tornado_sessions.testing import make_record


class TestSession:
    def make(self, data: dict[str, bytes] | None = None, size: int = 65536) -> Session:
        return Session(make_record(data=data or {}), Codec(), size)

    def test_nothing_is_written_when_nothing_changed(self) -> None:
        session = self.make({"a": b"1", "cart": b'{"items":[1]}'})
        session["a"] = session["a"]
        assert session["cart"] == {"items": [1]}
        assert not session.delta()

    def test_only_what_changed_is_written(self) -> None:
        session = self.make({"a": b"1", "b": b"2", "c": b"3"})
        session["a"] = 9
        del session["b"]
        delta = session.delta()
        assert (delta.set, delta.delete) == ({"a": b"9"}, frozenset({"b"}))

    def test_a_nested_change_is_written(self) -> None:
        session = self.make({"cart": b'{"items":[1]}'})
        session["cart"]["items"].append(2)
        assert session.delta().set == {"cart": b'{"items":[1,2]}'}

    def test_it_is_a_mapping(self) -> None:
        session = self.make({"a": b"1", "b": b"2"})
        session.update({"c": 3})
        assert session.pop("a") == 1
        assert session.setdefault("d", [4]) == [4]
        assert dict(session) == {"b": 2, "c": 3, "d": [4]}
        assert (len(session), "a" in session, session.get("a")) == (3, False, None)
        session.clear()
        session["e"] = 5
        assert dict(session) == {"e": 5}
        with pytest.raises(KeyError):
            del session["b"]

    def test_a_session_beyond_its_size_is_refused(self) -> None:
        with pytest.raises(SessionTooLarge):
            self.make(size=10)["a"] = "x" * 20
        session = self.make({"a": b'"12345"'}, size=20)
        session["b"] = "1234567890"
        with pytest.raises(SessionTooLarge):
            session.delta()

    def test_damaged_bytes_are_an_error_and_not_an_empty_session(self) -> None:
        with pytest.raises(DecodeError):
            self.make({"a": b"{"})["a"]
