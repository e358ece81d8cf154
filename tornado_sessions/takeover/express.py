"""``Express``: take over sessions of express-session that connect-redis or connect-mongo stores.

It must not know our own sessions.
"""

from __future__ import annotations

import hmac
import json
import logging
import math
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from typing_extensions import override

from tornado_sessions.cookie import cookie_values
from tornado_sessions.drivers.backends import scheme_of
from tornado_sessions.errors import ConfigError, StoreMismatch
from tornado_sessions.extras import import_extra
from tornado_sessions.takeover.base import ForeignSession, Takeover
from tornado_sessions.takeover.stored import Stored
from tornado_sessions.validation import MAX_USER_ID, shown

__all__ = ["Express"]

security = logging.getLogger("tornado_sessions.security")

FindUser = Callable[[str], Awaitable[str | None]]

# Characters; express-session makes ids of 32.
_MAX_ID = 512
_REDIS = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_MONGO = ("mongodb", "mongodb+srv")


class Express(Takeover):
    """The sessions of an application with express-session.

    Args:
        url: of the store: ``redis://…`` (connect-redis 7 to 10; option ``prefix``) or ``mongodb://…/database`` (connect-mongo 4 to
            6; option ``collection``), with all options of our own stores' URLs.
        secret: the ``secret`` of express-session, or a list of all that may have signed a cookie.
        cookie_name: the ``name`` of express-session.
        user_key: the key of the user's id in ``req.session``; dots separate nested keys, such as ``passport.user``. ``None``: users
            are not taken over, only values.
        prefix: connect-redis' ``prefix``; ``None``: the URL's, or ``sess:``.
        collection: connect-mongo's ``collectionName``; ``None``: the URL's, or ``sessions``.
        crypto_secret: connect-mongo's ``crypto.secret``; ``None``: sessions are not encrypted.
        path, domain: of Express' cookie, so that it can be removed from browsers.
        find_user: returns our id of the user with Express' id, or ``None`` to take over the values only. By default, both are
            the same.

    Raises:
        ConfigError: an argument is wrong, or the driver of the store is not installed.
    """

    remembers_ends = True

    def __init__(
        self,
        url: str,
        *,
        secret: str | Sequence[str],
        cookie_name: str = "connect.sid",
        user_key: str | None = None,
        prefix: str | None = None,
        collection: str | None = None,
        crypto_secret: str | None = None,
        path: str = "/",
        domain: str | None = None,
        find_user: FindUser | None = None,
    ) -> None:
        secrets: list[Any] = [secret] if isinstance(secret, str) else list(secret or ())
        if not secrets or not all(isinstance(each, str) and each for each in secrets):
            raise ConfigError("Express(secret=…) must be the secret of express-session, or a list of its secrets")
        if not cookie_name:
            raise ConfigError(f"Express(cookie_name=…) must be the name of a cookie, not {shown(cookie_name)}")
        self._secrets = [each.encode() for each in secrets]
        self.cookie_name = cookie_name
        self._user_key = user_key.split(".") if user_key else []
        self._path, self._domain = path, domain
        self.find_user = find_user
        self._store = _store_of(url, prefix, collection, crypto_secret)

    def __repr__(self) -> str:
        return f"<Express {self.cookie_name}>"

    @override
    async def open(self) -> None:
        await self._store.open()

    @override
    async def close(self) -> None:
        await self._store.close()

    @override
    def read_cookie(self, header: str) -> str | None:
        # Like express-session, which reads the first of several cookies of one name.
        for value in cookie_values(header, self.cookie_name)[:1]:
            text = unquote(value)
            session_id, _, signature = text.removeprefix("s:").rpartition(".")
            is_whole = text.startswith("s:") and 0 < len(session_id) <= _MAX_ID
            if is_whole and self._is_signed(session_id, signature):
                return session_id
        return None

    def _is_signed(self, session_id: str, signature: str) -> bool:
        """Compare with the signature by each secret, in constant time."""
        given = signature.encode("utf-8", "replace")
        text = session_id.encode("utf-8", "replace")
        expected = [b64encode(hmac.digest(secret, text, "sha256")).rstrip(b"=") for secret in self._secrets]
        return any(hmac.compare_digest(given, each) for each in expected)

    @override
    async def read(self, session_id: str, now: float) -> ForeignSession | None:
        try:
            stored = await self._store.read(session_id, now)
            session = _object_of(stored)
            expires_at = _time_of(session["cookie"].get("expires")) if session is not None else None
        except (ValueError, RecursionError, StoreMismatch) as error:
            # Not its value: that is a secret of its user.
            security.error("a session of Express cannot be read, and was left alone: %s", type(error).__name__)
            return None
        if stored is None or session is None:
            return None
        cookie = session["cookie"]
        ends_at = stored.expires_at
        # The cookie's end is also the store's, unless the application configured otherwise: the earlier one counts.
        if any(end is not None and end <= now for end in (expires_at, ends_at)):
            return None
        values = {key: value for key, value in session.items() if key != "cookie"}
        return ForeignSession(
            values,
            await self._user_of(session),
            _idle_timeout(cookie, expires_at, ends_at, now),
            expires_at is not None,
        )

    async def _user_of(self, session: dict[str, Any]) -> str | None:
        found: Any = session if self._user_key else None
        for key in self._user_key:
            found = found.get(key) if isinstance(found, dict) else None
        # JavaScript has no integers: MongoDB may return 5.0 for 5.
        if isinstance(found, float) and found.is_integer():
            found = int(found)
        if isinstance(found, int) and not isinstance(found, bool):
            found = str(found)
        if found is None or found == "":
            return None
        if not isinstance(found, str) or len(found.encode("utf-8", "surrogatepass")) > MAX_USER_ID:
            security.warning(
                "the value of user_key %r is no user id, but of type %s", self._user_key, type(found).__name__
            )
            return None
        return await self.find_user(found) if self.find_user is not None else found

    @override
    async def end(self, session_id: str) -> bool:
        return bool(await self._store.end(session_id))

    @override
    async def forget(self, session_id: str) -> None:
        await self._store.forget(session_id)

    @override
    def clearing_cookie(self, *, secure: bool) -> str:
        parts = [f"{self.cookie_name}=", f"Path={self._path}", *([f"Domain={self._domain}"] if self._domain else [])]
        parts += ["Max-Age=0", "Expires=Thu, 01 Jan 1970 00:00:00 GMT", "HttpOnly", *(["Secure"] if secure else [])]
        return "; ".join(parts)


def _store_of(url: str, prefix: str | None, collection: str | None, crypto_secret: str | None) -> Any:
    scheme = scheme_of(url)
    if scheme not in _REDIS + _MONGO:
        raise ConfigError(f"Express' sessions are in redis://… or mongodb://…, not in {scheme}://")
    is_redis = scheme in _REDIS
    extra = "redis" if is_redis else "mongo"
    module = import_extra(f"tornado_sessions.takeover.express_{extra}", extra, f"{scheme}://")
    if is_redis:
        return module.ConnectRedis(url, prefix)
    return module.ConnectMongo(url, collection, crypto_secret)


def _object_of(stored: Stored | None) -> dict[str, Any] | None:
    """Return a session as an object; raise ``ValueError`` if it is no session of Express."""
    if stored is None:
        return None
    session: Any = stored.session
    if isinstance(session, str):
        session = json.loads(session)
    if not isinstance(session, dict) or not isinstance(session.get("cookie"), dict):
        raise ValueError("no session of Express")  # noqa: TRY004
    return session


def _time_of(value: object) -> float | None:
    """Return the time of an ISO date in UTC seconds; ``None`` for a cookie that ends with the browser."""
    if not isinstance(value, str) or not value:
        return None
    return datetime.fromisoformat(value).timestamp()


def _idle_timeout(cookie: dict[str, Any], expires_at: float | None, ends_at: float | None, now: float) -> float | None:
    """Return the time without use after which Express ends a session, in seconds.

    Each use of it sets the cookie's end to ``originalMaxAge`` from then. Without one, the store's time to live counts.
    """
    if expires_at is None:
        return ends_at - now if ends_at is not None else None
    age = cookie.get("originalMaxAge")
    if isinstance(age, int | float) and not isinstance(age, bool) and math.isfinite(age) and age > 0:
        return float(age) / 1000
    return expires_at - now
