"""Read and end sessions in Redis as connect-redis stores them: a JSON string for each, with a time to live.

The layout is the same in connect-redis 7 to 10. It must not know cookies or what is in a session.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from tornado_sessions.drivers.redis import Client, client_options
from tornado_sessions.drivers.redis.tls import check_files
from tornado_sessions.takeover.stored import Stored

__all__ = ["ConnectRedis"]

_PREFIX = "sess:"


class ConnectRedis:
    """The sessions of connect-redis.

    Args:
        url: as of a Redis store.
        prefix: of the keys; ``None``: the URL's, or ``sess:``.
    """

    def __init__(self, url: str, prefix: str | None) -> None:
        place, _, text = url.partition("?")
        query = parse_qsl(text, keep_blank_values=True)
        in_url = dict(query).get("prefix", _PREFIX)
        # Without it, since a prefix of theirs may have braces.
        options = client_options(f"{place}?{urlencode([each for each in query if each[0] != 'prefix'])}")
        # Now and not at the first request: the application starts, or says what is wrong.
        check_files(options.ssl)
        self._client = Client(options)
        self._prefix = in_url if prefix is None else prefix

    async def open(self) -> None:
        """Create the client; do nothing if it is open."""
        await self._client.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def read(self, session_id: str, now: float) -> Stored | None:
        """Return a session. Raises ``StoreUnavailable``, or ``StoreMismatch`` if the key belongs to other software."""
        key = self._prefix + session_id
        text, left = await self._client.read([("GET", key), ("PTTL", key)])
        # An empty value is the mark of ``end``. connect-redis takes it for no session, too.
        if not text or left == -2:
            return None
        return Stored(text.decode("utf-8", "replace"), now + left / 1000 if left >= 0 else None)

    async def end(self, session_id: str) -> bool:
        """Leave an empty value of a session, which expires with it; return whether there was one, full or empty."""
        command = ("SET", self._prefix + session_id, "", "XX", "GET", "KEEPTTL")
        (found,) = await self._client.write(command)
        return found is not None

    async def forget(self, session_id: str) -> None:
        """Delete a session."""
        await self._client.write(("DEL", self._prefix + session_id))
