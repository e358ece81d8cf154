"""``Flow``: a sign-in in progress. The browser keeps it, encrypted and signed, in a short-lived cookie for each tab.

So a stranger who starts sign-ins stores nothing here. Pure functions. It must not know handlers, sessions or providers.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tornado_sessions.errors import UsageError

__all__ = [
    "FLOW_LIFETIME",
    "Flow",
    "cookie_of",
    "forgotten",
    "local_path",
    "open_flow",
    "seal",
    "seal_flow",
    "state_of",
    "unseal",
]

#: Seconds that somebody may take at the provider.
FLOW_LIFETIME = 900.0
#: Names of the cookies, before the state. Only a cookie with the first prefix cannot come from another host of our domain.
_SECURE, _PLAIN = "__Host-oidc_", "oidc_"
#: Characters of all these cookies of a browser together. Many proxies allow 8 KiB for all cookies of a host.
_MAX_TOTAL = 4096
#: Maximum length of the path to go to afterwards.
_LONGEST_PATH = 1024
_NONCE = 12


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in in progress.

    Attributes:
        state, nonce, verifier: random; the verifier is a secret until the code is redeemed (PKCE, RFC 7636).
        following: the local path to go to afterwards.
        prove: whether the user has to prove who they are.
        at: when it began, in UTC seconds.
    """

    state: str
    nonce: str
    verifier: str
    following: str = ""
    prove: bool = False
    at: float

    def is_open(self, now: float, skew: float) -> bool:
        """Return whether it may still be finished. ``skew`` is the difference between the clocks of our own hosts, in seconds."""
        return -skew <= now - self.at < FLOW_LIFETIME


def local_path(path: str) -> str:
    """Return a path of this site; empty if browsers might take it for another site's address."""
    if not isinstance(path, str):
        raise UsageError("following must be a path")
    is_local = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable()
    return path if is_local and len(path.encode()) <= _LONGEST_PATH else ""


def cookie_of(state: str, *, is_host_only: bool) -> str:
    """Return the name of the cookie of a flow.

    Args:
        state: of the flow.
        is_host_only: whether the cookie is secure and for the path ``/``, which the prefix ``__Host-`` demands.
    """
    return (_SECURE if is_host_only else _PLAIN) + state


def state_of(cookie: str, *, is_host_only: bool) -> str:
    """Return the state of a cookie's name; empty for any other cookie."""
    prefix = _SECURE if is_host_only else _PLAIN
    return cookie.removeprefix(prefix) if cookie.startswith(prefix) else ""


def seal_flow(keys: Sequence[str], client: str, flow: Flow) -> str:
    """Return the value of a flow's cookie.

    Args:
        keys: the application's secrets, newest first.
        client: names the provider and the client. Only the same one can open the cookie, so no provider can answer for another.
        flow: to seal.
    """
    return seal(keys, f"flow {flow.state} {client}", msgspec.json.encode(flow))


def open_flow(keys: Sequence[str], client: str, state: str, value: str) -> Flow | None:
    """Return the flow of a cookie, or ``None`` if it was not created for this state and client."""
    plain = unseal(keys, f"flow {state} {client}", value)
    return msgspec.json.decode(plain, type=Flow) if plain is not None else None


def forgotten(flows: Iterable[tuple[Flow, int]], room: int) -> list[Flow]:
    """Return the oldest flows: those to remove so that a new one fits.

    Args:
        flows: of the browser, with the length of each cookie.
        room: length of the new cookie.
    """
    left, gone = _MAX_TOTAL - room, []
    for flow, length in sorted(flows, key=lambda each: each[0].at, reverse=True):
        left -= length
        if left < 0:
            gone.append(flow)
    return gone


def seal(keys: Sequence[str], purpose: str, plain: bytes) -> str:
    """Encrypt and sign a text for one purpose (AES-256-GCM). Only ``unseal`` with the same purpose opens it."""
    nonce = os.urandom(_NONCE)
    sealed = nonce + _cipher(keys[0], purpose).encrypt(nonce, plain, None)
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def unseal(keys: Sequence[str], purpose: str, sealed: str) -> bytes | None:
    """Return what was sealed with one of the keys for the same purpose, or ``None``."""
    try:
        found = base64.b64decode(sealed + "=" * (-len(sealed) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    for key in keys:
        try:
            return _cipher(key, purpose).decrypt(found[:_NONCE], found[_NONCE:], None)
        except (InvalidTag, ValueError):
            continue
    return None


def _cipher(key: str, purpose: str) -> AESGCM:
    # A key for each purpose, which names a flow or a session: so few texts have the same key, and random nonces do not repeat.
    return AESGCM(sha256(f"tornado_sessions oidc\0{key}\0{purpose}".encode()).digest())
