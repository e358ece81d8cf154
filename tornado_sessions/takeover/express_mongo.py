"""Read and end sessions in MongoDB as connect-mongo 4 to 6 stores them: as a string, a document, or encrypted.

It must not know cookies or what is in a session.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from tornado_sessions.drivers.mongo import Client, client_options, translated
from tornado_sessions.errors import ConfigError
from tornado_sessions.takeover.decryption import decrypt
from tornado_sessions.takeover.stored import Stored

__all__ = ["ConnectMongo"]

_COLLECTION = "sessions"
#: The field of a session that has moved here.
_MARK = "moved"
# Our options of the URL, which the driver does not know.
_OWN = {"collection", "crypto_secret_file"}
# The database of MongoDB's drivers if a URL names none. connect-mongo uses it, too.
_DATABASE = "test"


class ConnectMongo:
    """The sessions of connect-mongo.

    Args:
        url: as of a MongoDB store. The option ``collection`` names the collection; ``crypto_secret_file`` names a file with the
            secret, since URLs are often logged.
        collection: its name; ``None``: the URL's, or ``sessions``.
        crypto_secret: of connect-mongo's option ``crypto`` or ``cryptoAdapter``; ``None``: sessions are not encrypted.
    """

    def __init__(self, url: str, collection: str | None, crypto_secret: str | None) -> None:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        own = dict(query)
        path = parts.path if parts.path.strip("/") else f"/{_DATABASE}"
        rest = urlencode([(name, value) for name, value in query if name not in _OWN])
        self._client = Client(client_options(urlunsplit((parts.scheme, parts.netloc, path, rest, ""))))
        self._name = collection or own.get("collection") or _COLLECTION
        self._secret = crypto_secret
        if crypto_secret is None and "crypto_secret_file" in own:
            self._secret = _secret_in(Path(own["crypto_secret_file"]))

    async def open(self) -> None:
        """Create the client; do nothing if it is open."""
        await self._client.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def read(self, session_id: str, _now: float) -> Stored | None:
        """Return a session. Raises ``StoreUnavailable``, or ``ValueError`` if it cannot be decrypted."""
        sessions = self._client.collection(self._name)
        found = await translated(lambda: sessions.find_one({"_id": session_id}))
        if found is None or (_MARK in found and found.get("expires") is None):
            return None
        session = found.get("session")
        if self._secret is not None and isinstance(session, str):
            session = await asyncio.to_thread(_decrypted, self._secret, session)
        return Stored(_as_json(session), _seconds(found.get("expires")))

    async def end(self, session_id: str) -> bool:
        """Mark a session as moved; return whether there was one, marked or not."""
        sessions = self._client.collection(self._name)
        # connect-mongo ignores a session without a date here, and so does the index that removes expired ones.
        marked = {"$set": {"expires": None, _MARK: True}}
        answer = await translated(lambda: sessions.update_one({"_id": session_id}, marked))
        return bool(answer.matched_count)

    async def forget(self, session_id: str) -> None:
        """Delete a session."""
        sessions = self._client.collection(self._name)
        await translated(lambda: sessions.delete_one({"_id": session_id}))


def _secret_in(path: Path) -> str:
    try:
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"crypto_secret_file: cannot read {path}: {type(error).__name__}") from None
    if not secret:
        raise ConfigError(f"crypto_secret_file: {path} is empty")
    return secret


def _decrypted(secret: str, stored: str) -> Any:
    """Return a decrypted session. Versions of kruptein and connect-mongo wrap it in more JSON strings, or in an object."""
    value: Any = decrypt(secret, stored)
    while isinstance(value, str):
        value = json.loads(value)
        if isinstance(value, dict) and value.keys() == {"type", "value"}:
            value = value["value"]
    return value


def _seconds(value: object) -> float | None:
    if isinstance(value, DatetimeMS):
        return int(value) / 1000
    return value.timestamp() if isinstance(value, datetime) else None


def _as_json(value: Any) -> Any:
    """Return values of BSON as ``JSON.stringify`` writes them: the string and the native form give the same session."""
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, DatetimeMS):
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(value)) if abs(int(value)) < 6e13 else None
        return _as_json(at)
    # bson.Int64 is a subclass, which our codec would refuse.
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
