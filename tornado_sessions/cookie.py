"""Convert between tokens and signed cookies: read the ``Cookie`` header, format ``Set-Cookie``.

The secret of a token leaves this module only for a ``Set-Cookie`` header; other modules work with its SHA-256. It must not know
stores, records or handlers.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple, TypeVar

from tornado.httputil import HTTPHeaders
from tornado.web import create_signed_value, decode_signed_value

from tornado_sessions.config import MAX_LIFETIME, SessionConfig

__all__ = [
    "Cookies",
    "Issued",
    "Presented",
    "cookie_values",
    "join_cookie_lines",
    "new_token",
    "remove_set_cookie",
    "split_token",
]

Key = TypeVar("Key")
Value = TypeVar("Value")

HANDLE_LENGTH = 18  # 18 × log2(62) ≈ 107 bits
SECRET_LENGTH = 44  # 44 × log2(62) ≈ 262 bits

#: Limit of a cookie in the header, in bytes; browsers have the same limit (RFC 6265bis 5.6).
MAX_COOKIE = 4096

# Maximum number of verified cookies in each cache, which spare a signature check at every request.
_MAX_VERIFIED = 10_000
# Maximum length of a ``Cookie`` header in the cache of headers: 10 MB for all of them.
_MAX_CACHED_HEADER = 1024
# Maximum number of different genuine cookies that one request may present: each costs a load from the store.
_MAX_RIVALS = 16

_SYMBOLS = (string.ascii_letters + string.digits).encode()
# Random bytes 0–247 map evenly to 62 symbols (4 × 62). Bytes 248–255 are dropped; they would make some symbols more likely.
_TABLE = _SYMBOLS * 4 + bytes(8)
_SURPLUS = bytes(range(248, 256))
_is_token = re.compile(
    rf"[A-Za-z][A-Za-z0-9]{{{HANDLE_LENGTH - 1}}}\.[A-Za-z][A-Za-z0-9]{{{SECRET_LENGTH - 1}}}"
).fullmatch
# The form of Tornado's signed value, version 2. Other values never reach Tornado's reader, which asserts on some junk.
_is_signed_value = re.compile(
    r"2\|[0-9]{1,2}:([0-9]{1,10})\|[0-9]{1,2}:[0-9]{1,12}\|[0-9]{1,3}:[^|]+\|[0-9]{1,3}:[A-Za-z0-9+/=]+\|[0-9a-f]{64}"
).fullmatch
# Tornado refuses values older than 31 days by default. Here only the record decides how long a session lives.
_ANY_AGE_DAYS = 36500


class Presented(NamedTuple):
    """The token of a valid cookie: the handle, the hash of its secret, and the signed value as it arrived."""

    handle: str
    secret_hash: bytes
    value: str
    signed_by_newest: bool


class Issued(NamedTuple):
    """A new token: the handle, the hash of its secret, and the text for the cookie."""

    handle: str
    secret_hash: bytes
    text: str


def new_token(handle: str | None = None) -> Issued:
    """Create a token. With a ``handle``, create only a new secret for it (rotation)."""
    handle = handle or _random_word(HANDLE_LENGTH)
    secret = _random_word(SECRET_LENGTH)
    return Issued(handle, sha256(secret.encode()).digest(), f"{handle}.{secret}")


def split_token(text: str) -> tuple[str, bytes] | None:
    """Return the handle and the SHA-256 of the secret, or ``None`` if the text is not a token."""
    if not _is_token(text):
        return None
    handle, _, secret = text.partition(".")
    return handle, sha256(secret.encode()).digest()


def join_cookie_lines(headers: HTTPHeaders) -> str | None:
    """Join several ``Cookie`` lines with ``"; "`` (RFC 9113 8.2.3), and return the line. Tornado would join them with a comma.

    HTTP/2 lets a browser send each cookie on its own line, and not every proxy joins them.
    """
    lines = headers.get_list("Cookie")
    if not lines:
        return None
    if len(lines) == 1:
        return lines[0]
    line = headers["Cookie"] = "; ".join(lines)
    return line


def remove_set_cookie(headers: HTTPHeaders, name: str) -> None:
    """Remove the ``Set-Cookie`` lines of one cookie from a response's headers."""
    lines = [line for line in headers.get_list("Set-Cookie") if not line.startswith(f"{name}=")]
    headers.pop("Set-Cookie", None)
    for line in lines:
        headers.add("Set-Cookie", line)


def _random_word(length: int) -> str:
    """Return random letters and digits that start with a letter; other symbols trip web application firewalls."""
    while True:
        word = os.urandom(2 * length).translate(_TABLE, _SURPLUS).lstrip(string.digits.encode())
        if len(word) >= length:
            return word[:length].decode("ascii")


class Cookies:
    """Read and write the session cookie.

    Args:
        config: name and attributes of the cookie.
        secrets: signing keys, newest first.
    """

    def __init__(self, config: SessionConfig, secrets: Sequence[str]) -> None:
        self._config = config
        # The version is derived from the key, not from its index, so adding or removing other keys does not change it.
        self._keys = {_key_version(secret): secret for secret in secrets}
        self._newest = _key_version(secrets[0])
        # Keyed by name and value: the signature covers the name, so a value signed for __Host-sid must not pass as sid.
        self._verified: dict[tuple[str, str], Presented] = {}
        # A browser repeats its whole header from page to page. Keyed by ``secure``, too, on which the name depends.
        self._read: dict[tuple[str, bool], list[Presented]] = {}

    def name(self, *, secure: bool) -> str:
        """Return the configured name, ``__Host-sid`` where browsers allow that prefix, or ``sid``."""
        config = self._config
        if config.cookie_name is not None:
            return config.cookie_name
        return "__Host-sid" if secure and config.domain is None and config.path == "/" else "sid"

    def read(self, header: str | None, *, secure: bool) -> list[Presented]:
        """Return every genuine session cookie of a request. Equal values count once; values with a bad signature are ignored.

        A browser sends several cookies of one name if they were set with a different ``Path`` or ``Domain``. The list is cached:
        do not change it.

        Args:
            header: the ``Cookie`` header, with several lines joined by ``join_cookie_lines``.
            secure: whether the request came over https.
        """
        if not header:
            return []
        known = self._read.get((header, secure))
        if known is not None:
            return known
        name = self.name(secure=secure)
        found: list[Presented] = []
        for value in dict.fromkeys(cookie_values(header, name)):
            presented = self._verified.get((name, value)) or self._verify(name, value)
            if presented is not None:
                found.append(presented)
        del found[_MAX_RIVALS:]
        if found and len(header) <= _MAX_CACHED_HEADER:
            _remember(self._read, (header, secure), found)
        return found

    def _verify(self, name: str, value: str) -> Presented | None:
        shape = _is_signed_value(value) if len(value) <= MAX_COOKIE else None
        if shape is None or int(shape[1]) not in self._keys:
            return None
        text = decode_signed_value(self._keys, name, value, max_age_days=_ANY_AGE_DAYS, min_version=2)
        halves = split_token(text.decode("latin-1")) if text else None
        if halves is None:
            return None
        # Only genuine cookies are cached, so a flood of forged ones cannot evict them.
        presented = Presented(*halves, value, int(shape[1]) == self._newest)
        _remember(self._verified, (name, value), presented)
        return presented

    def sign(self, token: str, *, secure: bool) -> str:
        """Return the value of the cookie for a new token."""
        name = self.name(secure=secure)
        return create_signed_value(self._keys, name, token, version=2, key_version=self._newest).decode("ascii")

    def renew(self, presented: Presented, *, secure: bool) -> str:
        """Return the value of a presented cookie, signed again if its signature is of an older key."""
        if presented.signed_by_newest:
            return presented.value
        name = self.name(secure=secure)
        text = decode_signed_value(self._keys, name, presented.value, max_age_days=_ANY_AGE_DAYS, min_version=2)
        return self.sign(text.decode("latin-1"), secure=secure) if text else presented.value

    def header(self, value: str, *, max_age: float | None, secure: bool) -> str:
        """Return the ``Set-Cookie`` header (RFC 6265bis).

        Args:
            value: the signed value; empty to clear the cookie.
            max_age: seconds; ``None`` for a cookie that ends with the browser.
            secure: whether the request came over https.
        """
        config = self._config
        parts = [f"{self.name(secure=secure)}={value}", f"Path={config.path}"]
        if config.domain is not None:
            parts.append(f"Domain={config.domain}")
        if not value:
            parts += ["Max-Age=0", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"]
        elif max_age is not None:
            parts.append(f"Max-Age={max(0, min(int(max_age), MAX_LIFETIME))}")
        if config.http_only:
            parts.append("HttpOnly")
        if secure:
            parts.append("Secure")
        parts.append(f"SameSite={config.same_site}")
        if config.partitioned:
            parts.append("Partitioned")
        if config.priority is not None:
            parts.append(f"Priority={config.priority}")
        return "; ".join(parts)


def cookie_values(header: str, name: str) -> list[str]:
    """Return the values of all cookies of one name, in order.

    Only spaces and tabs are stripped. Stripping all Unicode spaces would accept a name such as NBSP + ``__Host-sid``, which a
    sibling host can set because browsers do not see the ``__Host-`` prefix.
    """
    found = []
    for pair in header.split(";"):
        key, _, value = pair.partition("=")
        if key.strip(" \t") == name:
            found.append(value.strip(" \t").strip('"'))
    return found


def _remember(cache: dict[Key, Value], key: Key, value: Value) -> None:
    """Keep an entry; drop the oldest one if there are too many."""
    if len(cache) >= _MAX_VERIFIED:
        del cache[next(iter(cache))]
    cache[key] = value


def _key_version(secret: str) -> int:
    return int.from_bytes(sha256(b"tornado_sessions key version\0" + secret.encode()).digest()[:4], "big") >> 1
