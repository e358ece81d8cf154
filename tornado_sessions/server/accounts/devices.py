"""``Devices``: a signed cookie that names the accounts that have signed in with a browser (OWASP, "device cookies").

It proves only that the browser is not a stranger: it signs nobody in, and holds no name and no session data. It must not know
HTTP, limits or stores.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence
from hashlib import sha256

from tornado_sessions.server.accounts.user import User

__all__ = ["DEVICE_LIFETIME", "Devices"]

#: How long a device stays known after its last sign-in, in seconds: 400 days, the longest that browsers keep a cookie.
DEVICE_LIFETIME = 400 * 86400
#: Maximum number of accounts of one browser; the one that signed in least recently is forgotten.
_MAX_ACCOUNTS = 8
_MAX_LENGTH = 2048
_ID_BYTES = 12


class Devices:
    """Reads and writes the cookie: entries ``ID.TIME.SIGNATURE``, the newest first.

    The signature covers the account and the time of its last password change, so an entry is valid for one account only, and a
    stolen one becomes invalid when the password changes. It does not name the account: verifying it for one shows whether it fits.

    Args:
        keys: the secrets of the server, newest first. The newest signs, all verify.
        clock: the time in UTC seconds.
    """

    def __init__(self, keys: Sequence[str], clock: Callable[[], float]) -> None:
        self._keys = [hmac.new(key.encode(), b"tornado_sessions devices", sha256).digest() for key in keys]
        self._clock = clock

    def find(self, cookie: str, user: User) -> str | None:
        """Return the ID of the entry for an account, or ``None`` if the browser is not known to it."""
        for entry in _entries(cookie):
            device, _, rest = entry.partition(".")
            at, _, _signature = rest.partition(".")
            if self._is_genuine(entry, device, at, user):
                return device
        return None

    def add(self, cookie: str, user: User) -> str:
        """Return the cookie with a new entry for an account, which replaces its former one.

        The ID is a new one, so a copy of the former entry does not share the attempts of the new one.
        """
        device, at = secrets.token_hex(_ID_BYTES), f"{int(self._clock())}"
        others = [entry for entry in _entries(cookie) if self.find(entry, user) is None]
        return ":".join([f"{device}.{at}.{self._sign(self._keys[0], device, at, user)}", *others][:_MAX_ACCOUNTS])

    def _is_genuine(self, entry: str, device: str, at: str, user: User) -> bool:
        if not (at.isascii() and at.isdigit() and len(at) < 16 and self._clock() - int(at) < DEVICE_LIFETIME):
            return False
        signature = entry.rpartition(".")[2].encode("utf-8", "replace")
        return any(hmac.compare_digest(self._sign(key, device, at, user).encode(), signature) for key in self._keys)

    @staticmethod
    def _sign(key: bytes, device: str, at: str, user: User) -> str:
        text = f"{user.id}\0{user.password_changed_at!r}\0{device}\0{at}"
        return hmac.new(key, text.encode("utf-8", "replace"), sha256).hexdigest()


def _entries(cookie: str) -> list[str]:
    """Return the entries of a cookie. It comes from the client, so work on it is bounded."""
    return cookie.split(":")[:_MAX_ACCOUNTS] if 0 < len(cookie) <= _MAX_LENGTH else []
