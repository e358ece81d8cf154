"""Values to bytes and back, plain and encrypted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_sessions.codec import Codec
from tornado_sessions.errors import DecodeError, NotStorable

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
