"""Rules, values and cookies: pure functions, without a loop."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.passwords import SECRET
from tornado.web import decode_signed_value

from tornado_sessions import SessionConfig, Sessions
from tornado_sessions.codec import Codec
from tornado_sessions.cookie import Cookies, new_token, split_token
from tornado_sessions.errors import ConfigError, DecodeError, NotStorable, SessionTooLarge
from tornado_sessions.session import Session
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.testing import make_record

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def types(value: Any) -> Any:
    if isinstance(value, list):
        return [types(item) for item in value]
    if isinstance(value, dict):
        return {key: types(item) for key, item in value.items()}
    return type(value)


class TestCodec:
    @pytest.mark.parametrize("codec", [Codec(), Codec(["key"])], ids=["plain", "encrypted"])
    @given(value=VALUES)
    def test_a_value_comes_back_with_its_type(self, codec: Codec, value: Any) -> None:
        stored = codec.seal("h", "k", codec.encode("k", value))
        back = codec.decode("h", codec.unseal("h", "k", stored))
        assert back == value
        assert types(back) == types(value)

    @pytest.mark.parametrize("value", [2**63, 2**64, -(10**40), [2**100, 1.5], 10**4000], ids=range(5))
    def test_an_integer_of_any_size_survives(self, value: Any) -> None:
        assert Codec().decode("h", Codec().encode("k", value)) == value

    @pytest.mark.parametrize(
        "value",
        [float("nan"), float("inf"), (1,), {1: 2}, b"x", "\ud800", {"\ud800": 1}, object(), {1}, 10**5000],
        ids=range(10),
    )
    def test_what_is_not_json_is_refused_with_its_key(self, value: Any) -> None:
        with pytest.raises(NotStorable, match="session\\['cart'\\]"):
            Codec().encode("cart", value)

    def test_a_value_that_contains_itself_is_refused(self) -> None:
        loop: list[Any] = []
        loop.append(loop)
        with pytest.raises(NotStorable):
            Codec().encode("k", loop)

    def test_an_encrypted_value_cannot_be_moved_or_altered(self) -> None:
        codec = Codec(["key"])
        stored = codec.seal("h", "k", b"1")
        for handle, key, value in (
            ("h2", "k", stored),
            ("h", "k2", stored),
            ("h", "k", stored[:-1] + bytes([stored[-1] ^ 1])),
        ):
            with pytest.raises(DecodeError):
                codec.unseal(handle, key, value)

    def test_an_older_encryption_key_still_opens(self) -> None:
        stored = Codec(["old"]).seal("h", "k", b"1")
        assert Codec(["new", "old"]).unseal("h", "k", stored) == b"1"
        with pytest.raises(DecodeError):
            Codec(["new"]).unseal("h", "k", stored)


COOKIES = Cookies(SessionConfig(), [SECRET])


class TestCookie:
    def test_tornado_itself_reads_it(self) -> None:
        token = new_token()
        value = COOKIES.sign(token.text, secure=False)
        assert decode_signed_value(SECRET, "sid", value) == token.text.encode()

    def test_an_older_key_verifies_and_the_newest_signs_anew(self) -> None:
        token = new_token()
        rotated = Cookies(SessionConfig(), ["the newest secret of them all", SECRET])
        (found,) = rotated.read("sid=" + COOKIES.sign(token.text, secure=False), secure=False)
        assert (found.handle, found.signed_by_newest) == (token.handle, False)
        (renewed,) = rotated.read("sid=" + rotated.renew(found, secure=False), secure=False)
        assert renewed.signed_by_newest

    @given(text=st.text(max_size=200) | st.from_regex(r"2(\|[0-9]{1,3}:[a-z0-9=]{0,20}){0,5}\|[0-9a-f]{64}"))
    def test_any_junk_is_a_new_visitor(self, text: str) -> None:
        assert COOKIES.read(text, secure=False) == []
        assert COOKIES.read("sid=" + text, secure=False) == []

    @pytest.mark.parametrize(
        "tamper", [str.upper, lambda v: v + "x", lambda v: "x" + v, lambda v: v[:-1], lambda v: v.replace("|", "", 1)]
    )
    def test_a_tampered_cookie_is_a_new_visitor(self, tamper: Any) -> None:
        value = COOKIES.sign(new_token().text, secure=False)
        assert COOKIES.read("sid=" + tamper(value), secure=False) == []

    def test_over_https_only_the_host_cookie_counts(self) -> None:
        value = COOKIES.sign(new_token().text, secure=True)
        assert COOKIES.read(f"__Host-sid={value}", secure=True)
        assert COOKIES.read(f"sid={value}", secure=True) == []
        header = COOKIES.header(value, max_age=None, secure=True)
        assert header == f"__Host-sid={value}; Path=/; HttpOnly; Secure; SameSite=Lax"

    def test_a_token_is_letters_and_digits_and_begins_with_a_letter(self) -> None:
        for _ in range(200):
            text = new_token().text
            assert split_token(text) is not None
            assert all(half.isalnum() and half[0].isalpha() for half in text.split("."))


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


NUMBER = (int, float, timedelta)
#: By option: the types of which a value may make sense.
OPTIONS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("idle_timeout", "absolute_timeout", "touch_after", "rotation_grace"), NUMBER),
    **dict.fromkeys(("keep_ended_for", "store_timeout"), NUMBER),
    "rotate_after": (*NUMBER, type(None)),
    **dict.fromkeys(("rolling", "persistent", "http_only", "partitioned", "end_on_theft"), (bool,)),
    "secure": (bool, str),
    **dict.fromkeys(("same_site", "path", "when_exceeded", "forwarded_header"), (str,)),
    **dict.fromkeys(("cookie_name", "domain", "priority"), (str, type(None))),
    "max_size": (int,),
    "max_sessions_per_user": (int, type(None)),
    **dict.fromkeys(("secret", "encryption_key"), (str, list, tuple, type(None))),
    "trusted_proxies": (list, tuple, set),
}
STRANGE = [None, True, 7, 1.5, "big", b"bytes", (), [], {}, {7}, object(), timedelta(hours=1), Path("x"), lambda: 7]


class TestConfig:
    def test_all_faults_are_told_at_once(self) -> None:
        with pytest.raises(ConfigError) as caught:
            SessionConfig(idle_timeout=0, same_site="None", domain="a b", cookie_name="a b", trusted_proxies=["x"])
        assert len(caught.value.faults) == 5

    @pytest.mark.parametrize("option", OPTIONS)
    @pytest.mark.parametrize("value", STRANGE, ids=range(len(STRANGE)))
    def test_a_value_of_a_wrong_type_is_a_fault_of_that_option(self, option: str, value: Any) -> None:
        if type(value) in OPTIONS[option]:
            return
        with pytest.raises(ConfigError) as caught:
            SessionConfig(**{option: value})
        assert any(fault.startswith(option) for fault in caught.value.faults)

    def test_each_option_has_its_types_above(self) -> None:
        assert {field.name for field in dataclasses.fields(SessionConfig)} == set(OPTIONS)

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("max_size", 0), ("max_size", -1), ("max_sessions_per_user", 0), ("idle_timeout", -1), ("touch_after", 10**400),
            ("store_timeout", 0), ("absolute_timeout", float("nan")), ("keep_ended_for", float("-inf")), ("path", ""),
            ("path", "/;"), ("domain", ""), ("cookie_name", ""), ("secret", ""), ("secret", []), ("secret", [""]),
            ("secret", "\ud800"), ("encryption_key", ["key", 5]), ("trusted_proxies", [5]), ("trusted_proxies", [b"::1"]),
            ("trusted_proxies", ["::1/200"]), ("trusted_proxies", "::1"), ("same_site", "lax"), ("secure", "no"),
            ("when_exceeded", "later"), ("priority", "high"),
        ],
    )  # fmt: skip
    def test_a_value_that_makes_no_sense_is_one_as_well(self, option: str, value: Any) -> None:
        with pytest.raises(ConfigError, match=option):
            SessionConfig(**{option: value})

    @pytest.mark.parametrize(
        "wrong",
        [
            {"store": None}, {"store": 42}, {"store": b"memory://"}, {"store": MemoryStore}, {"store": Path("x.db")},
            {"config": {}}, {"config": "x"}, {"secret": 42}, {"secret": b"x" * 40}, {"secret": [None]},
        ],
    )  # fmt: skip
    def test_sessions_are_made_of_the_right_parts_only(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            Sessions(**{"store": "memory://", "secret": SECRET, **wrong})

    def test_a_secret_is_never_shown(self) -> None:
        assert "hush" not in repr(SessionConfig(secret="hush", encryption_key="hush"))
