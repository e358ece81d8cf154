"""Encode and decode values: strict JSON per key, encrypted with AES-256-GCM if a key is configured.

A value is decoded with the type it was encoded from, or it is refused. It must not know sessions, stores or cookies.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from hashlib import sha256
from math import isfinite
from typing import Any, TypeAlias

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tornado_sessions.errors import DecodeError, NotStorable

__all__ = ["Codec", "JSONValue"]

#: The values of a session. Not recursive, because type checkers would refuse a ``list[int]`` as a list of JSON values.
JSONValue: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any] | None

MAX_DEPTH = 32

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
# msgspec decodes integers beyond 64 bits as floats; the shortest such integers have 19 digits.
_LONG = 19
_ALWAYS_JSON = frozenset({str, int, bool, type(None)})
_has_long_number = re.compile(rb"[0-9]{19}").search

# An encrypted value: this byte, which no JSON starts with, 4 bytes that identify the key, a nonce of 12 bytes, the ciphertext.
_SEALED = b"\x01"
_KEY_ID, _NONCE = 4, 12


class Codec:
    """Encodes and decodes the values of sessions.

    Args:
        encryption_keys: newest first; the newest encrypts, all decrypt. Empty: values are stored as plain JSON.
    """

    def __init__(self, encryption_keys: Sequence[str] = ()) -> None:
        derived = [sha256(b"tornado_sessions value\0" + key.encode()).digest() for key in encryption_keys]
        self._ciphers = {sha256(key).digest()[:_KEY_ID]: AESGCM(key) for key in derived}
        self._newest = next(iter(self._ciphers), b"")
        #: Whether values are stored encrypted.
        self.encrypts = bool(derived)

    def encode(self, key: str, value: JSONValue) -> bytes:
        """Return a value as JSON.

        Raises:
            NotStorable: the value has another type or is of a subclass (its type would be lost), is NaN or infinite, is text
                with a lone surrogate, or is nested deeper than 32.
        """
        # Text, integers, booleans and None are always valid JSON values, so they skip the recursive check.
        if type(value) not in _ALWAYS_JSON:
            _check(key, value, MAX_DEPTH)
        try:
            return _encode(value)
        except UnicodeEncodeError:
            raise NotStorable(key, "text with a lone surrogate is not Unicode") from None
        except ValueError:
            raise NotStorable(key, "an integer has more digits than Python converts") from None

    def read(self, handle: str, key: str, stored: bytes) -> tuple[JSONValue, bytes]:
        """Return a stored value, and its JSON. Raises ``DecodeError`` as ``unseal`` and ``decode`` do."""
        # The first test is that of ``unseal``, repeated because nearly every request reads a value that is not encrypted.
        plain = self.unseal(handle, key, stored) if stored[:1] == _SEALED else stored
        try:
            if len(plain) < _LONG:
                return _decode(plain), plain
        except (ValueError, RecursionError):
            pass
        return self.decode(handle, plain), plain

    def decode(self, handle: str, plain: bytes) -> JSONValue:
        """Return a value from its JSON.

        Raises:
            DecodeError: the bytes are damaged; the message names the session by its ``handle``.
        """
        try:
            # json.loads keeps long integers exact but is slower, so it decodes only values that may contain one.
            if len(plain) >= _LONG and _has_long_number(plain):
                return json.loads(plain)  # type: ignore[no-any-return]
            return _decode(plain)  # type: ignore[no-any-return]
        except (ValueError, RecursionError):
            raise DecodeError(handle, "a value is not JSON") from None

    def seal(self, handle: str, key: str, plain: bytes) -> bytes:
        """Encrypt a value if there is a key. The session and the value's key are authenticated, so values cannot be swapped."""
        if not self.encrypts:
            return plain
        # A new random nonce for each value: AES-GCM is broken if a key uses one twice.
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self._newest].encrypt(nonce, plain, _bound_to(handle, key))
        return _SEALED + self._newest + nonce + sealed

    def seal_all(self, handle: str, values: dict[str, bytes]) -> dict[str, bytes]:
        """Encrypt several values of one session."""
        return {key: self.seal(handle, key, plain) for key, plain in values.items()} if self.encrypts else values

    def unseal(self, handle: str, key: str, stored: bytes) -> bytes:
        """Decrypt a value. A value that is not encrypted is returned unchanged.

        Raises:
            DecodeError: the encryption key of the value is not configured, or the bytes were altered.
        """
        if stored[:1] != _SEALED:
            return stored
        cipher = self._ciphers.get(stored[1 : 1 + _KEY_ID])
        if cipher is None:
            raise DecodeError(handle, "a value is encrypted with a key that encryption_key does not hold")
        start = 1 + _KEY_ID
        try:
            return cipher.decrypt(stored[start : start + _NONCE], stored[start + _NONCE :], _bound_to(handle, key))
        except (InvalidTag, ValueError):
            raise DecodeError(handle, "an encrypted value was altered") from None


def _bound_to(handle: str, key: str) -> bytes:
    return f"{handle}\0{key}".encode()


def _check(key: str, value: object, depth: int) -> None:
    """Refuse values that JSON would change. Types must be exact: a subclass would be decoded as its base class."""
    if depth < 0:
        raise NotStorable(key, f"nested deeper than {MAX_DEPTH}")
    kind = type(value)
    if kind is list:
        for item in value:  # type: ignore[attr-defined]
            _check(key, item, depth - 1)
    elif kind is dict:
        for name, item in value.items():  # type: ignore[attr-defined]
            if type(name) is not str:
                raise NotStorable(key, f"a key inside is {name!r}; keys of a dict must be str")
            _check(key, item, depth - 1)
    elif kind is float:
        if not isfinite(value):  # type: ignore[arg-type]
            raise NotStorable(key, f"{value!r} is not a JSON number")
    elif value is not None and kind not in (str, int, bool):
        raise NotStorable(key, f"{kind.__name__} is not one of str, int, float, bool, None, list, dict")
