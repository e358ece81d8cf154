"""Decrypt sessions that connect-mongo encrypted, in the formats of its options ``crypto`` and ``cryptoAdapter``.

``crypto`` uses the package kruptein, whose 3.0 and 3.1 encode differently; ``createWebCryptoAdapter`` uses AES-GCM. All
options must have connect-mongo's defaults. It must not know stores. Functions block for milliseconds: run them in a thread.
"""

from __future__ import annotations

from base64 import b64decode
from functools import lru_cache
from hashlib import pbkdf2_hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["decrypt"]

# The iterations of PBKDF2 in kruptein up to 3.1.6 (which connect-mongo 6 contains), and later.
_ITERATIONS = (15_000, 20_000)
_KEY = 32
_WEB_SALT, _WEB_ITERATIONS, _WEB_IV = b"connect-mongo:webcrypto-default-salt", 310_000, 12


def decrypt(secret: str, stored: str) -> str:
    """Return the plain text of an encrypted session.

    Raises:
        ValueError: the secret is wrong, the text was altered, or other options were used.
    """
    raw = b64decode(stored, validate=True)
    parts = _octet_strings(raw)
    try:
        if len(parts) == 6:
            return _of_kruptein(secret, parts)
        return AESGCM(_web_key(secret)).decrypt(raw[:_WEB_IV], raw[_WEB_IV:], None).decode()
    except InvalidTag:
        raise ValueError("it cannot be decrypted with this secret") from None


def _of_kruptein(secret: str, parts: list[bytes]) -> str:
    # The order of kruptein's ASN.1 schema. 3.0 encodes two of the parts in base64 once more.
    ciphertext, _digest, nonce, salt, tag, associated = parts
    # The tag authenticates everything, so the digest needs no check: the wrong number of iterations gives a wrong tag.
    for iterations in _ITERATIONS:
        key = AESGCM(pbkdf2_hmac("sha512", secret.encode(), salt, iterations, _KEY))
        for text, bound in ((ciphertext, associated), (_decoded(ciphertext), _decoded(associated))):
            try:
                return key.decrypt(nonce, text + tag, bound).decode()
            except InvalidTag:
                continue
    raise InvalidTag


def _decoded(text: bytes) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return text


@lru_cache(8)
def _web_key(secret: str) -> bytes:
    return pbkdf2_hmac("sha256", secret.encode(), _WEB_SALT, _WEB_ITERATIONS, _KEY)


def _octet_strings(raw: bytes) -> list[bytes]:
    """Return the octet strings of a DER sequence (X.690); empty if this is none."""
    if raw[:1] != b"\x30":
        return []
    start, end = _length(raw, 1)
    found = []
    while start < end == len(raw) and raw[start] == 0x04:
        start, stop = _length(raw, start + 1)
        found.append(raw[start:stop])
        start = stop
    return found if start == len(raw) else []


def _length(raw: bytes, at: int) -> tuple[int, int]:
    """Return where the contents of a DER value start and end, whose length is encoded at ``at``."""
    first = raw[at] if at < len(raw) else 0
    if first < 0x80:
        return at + 1, at + 1 + first
    many = first & 0x7F
    start = at + 1 + many
    return start, start + int.from_bytes(raw[at + 1 : start], "big")
