"""``FormTokens``: the second protection against forged requests, after ``origins.py``: tokens that only our own pages know.

A token is bound to a session, or to a signed cookie for people without one. It must not know requests.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256

__all__ = ["FormTokens"]

#: Bytes of a token and of its mask.
_LENGTH = 16
# Of a form like that of Tornado's own tokens.
_shape = re.compile(rf"2\|([0-9a-f]{{{2 * _LENGTH}}})\|([0-9a-f]{{{2 * _LENGTH}}})").fullmatch


class FormTokens:
    """Makes and checks tokens.

    Args:
        secrets: signing keys, newest first. The newest signs, all verify.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [hmac.new(secret.encode(), b"tornado_sessions xsrf", sha256).digest() for secret in secrets]

    def new_visitor(self, name: str) -> str:
        """Return the value of a cookie for a person without a session.

        A value that somebody else has made up is refused, so another host of our domain cannot plant one. It could plant a
        genuine value of its own only where the cookie's name has no ``__Host-`` prefix; ``origins.py`` stops it there.

        Args:
            name: of the cookie. The value is refused in a cookie of another name.
        """
        nonce = os.urandom(16).hex()
        return f"{nonce}.{_sign(self._keys[0], 'visitor', name, nonce).hex()}"

    def is_visitor(self, name: str, value: str) -> bool:
        """Return whether a cookie's value is genuine."""
        nonce, _, signature = value.partition(".")
        given = signature.encode("utf-8", "replace")
        return any(hmac.compare_digest(_sign(key, "visitor", name, nonce).hex().encode(), given) for key in self._keys)

    def make(self, *bound_to: str) -> str:
        """Return a token, different at each call.

        Args:
            bound_to: the handle and the user of the session, or the value of the cookie. In any other, the token is refused.
        """
        # A response that is compressed and shows something the attacker chose would give away a constant (BREACH).
        mask = os.urandom(_LENGTH)
        return f"2|{mask.hex()}|{_mixed(mask, _token(self._keys[0], bound_to)).hex()}"

    def accepts(self, given: str, *bound_to: str) -> bool:
        """Return whether a request has the right token."""
        found = _shape(given)
        if found is None:
            return False
        token = _mixed(bytes.fromhex(found[1]), bytes.fromhex(found[2]))
        return any(hmac.compare_digest(_token(key, bound_to), token) for key in self._keys)


def _token(key: bytes, bound_to: Iterable[str]) -> bytes:
    return _sign(key, "form", *bound_to)[:_LENGTH]


def _sign(key: bytes, *parts: str) -> bytes:
    return hmac.new(key, "\0".join(parts).encode("utf-8", "replace"), sha256).digest()


def _mixed(mask: bytes, text: bytes) -> bytes:
    return bytes(left ^ right for left, right in zip(mask, text, strict=True))
