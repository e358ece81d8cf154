"""The signed cookie: what is believed and what is a new visitor."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.passwords import SECRET
from tornado.web import decode_signed_value

from tornado_sessions import SessionConfig
from tornado_sessions.cookie import Cookies, new_token, split_token

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

    def test_a_secret_has_far_more_than_128_bits_and_never_comes_twice(self) -> None:
        halves = [half for _ in range(500) for half in new_token().text.split(".")]
        letters = set("".join(halves))
        assert len(set(halves)) == 1000
        assert min(map(len, halves[1::2])) * math.log2(len(letters)) > 256

    def test_a_token_is_letters_and_digits_and_begins_with_a_letter(self) -> None:
        for _ in range(200):
            text = new_token().text
            assert split_token(text) is not None
            assert all(half.isalnum() and half[0].isalpha() for half in text.split("."))
