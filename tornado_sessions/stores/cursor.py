"""Cursors of keyset paging: opaque to callers, ``(sort value, handle)`` inside.

It must not know what is paged. A cursor that was not made here is refused, never guessed at.
"""

from __future__ import annotations

import base64
import binascii
import math

import msgspec

from tornado_sessions.errors import ConfigError

__all__ = ["decode_cursor", "encode_cursor"]

_decoder = msgspec.msgpack.Decoder(tuple[float, str])


def encode_cursor(at: float, handle: str) -> str:
    """The cursor that stands behind the row ``(at, handle)``."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode((float(at), handle))).decode("ascii").rstrip("=")


def decode_cursor(cursor: str) -> tuple[float, str]:
    """The row that a cursor stands behind.

    Raises:
        ConfigError: it is no cursor.
    """
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        at, handle = _decoder.decode(packed)
        handle.encode()
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise ConfigError("the cursor is not one that a page gave; start from the first page") from None
    if not math.isfinite(at):
        raise ConfigError("the cursor is not one that a page gave; start from the first page")
    return at, handle
