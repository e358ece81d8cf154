"""Options → a database, through Motor or through PyMongo's own asynchronous client; the driver's errors as ours.

It must not know what is stored. The two drivers differ in four places only, and all four are here.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from bson.codec_options import DatetimeConversion
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, WriteConcern
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from tornado_sessions.drivers.mongo.url import ClientOptions
from tornado_sessions.errors import StoreError, StoreMismatch, StoreUnavailable

__all__ = ["Client", "translated"]

T = TypeVar("T")

# What cannot be decoded costs no more than itself: the driver would otherwise fail a whole answer for one date or one text.
_DECODING = {
    "tz_aware": True,
    "datetime_conversion": DatetimeConversion.DATETIME_AUTO,
    "unicode_decode_error_handler": "replace",
}
#: InvalidForm for its form, and not for its moment: an index or a document that something else has made.
_MISMATCHES = {85, 86, 14}


class Client:
    """A database and the driver's client.

    Args:
        options: from ``client_options``.
    """

    def __init__(self, options: ClientOptions) -> None:
        self.options = options
        #: PyMongo's ``event_listeners``, for who wants to see what is sent.
        self.listeners: Sequence[Any] = ()
        self._client: Any = None

    async def open(self) -> None:
        """Make the client; it connects at its first command. Harmless when open."""
        if self._client is None:
            make: Callable[..., Any] = AsyncIOMotorClient if self.options.driver == "motor" else AsyncMongoClient
            self._client = await translated(
                lambda: _soon(make(self.options.url, event_listeners=self.listeners, **_DECODING))
            )

    async def close(self) -> None:
        """Let go of every connection; harmless when closed."""
        client, self._client = self._client, None
        if client is not None:
            # Motor's is no coroutine.
            closing = client.close()
            if inspect.isawaitable(closing):
                await closing

    def collection(self, name: str) -> Any:
        """One of our collections. Raises ``StoreUnavailable`` when the client is closed."""
        if self._client is None:
            raise StoreUnavailable("mongodb", "the store is closed")
        return self._client[self.options.database][self.options.prefix + name]

    async def ping(self) -> None:
        """Return when a primary answers. Raises ``StoreUnavailable``."""
        database = self.collection("sessions").database
        await translated(lambda: database.command("ping"))

    async def all_of(self, collection: str, query: Mapping[str, Any], **options: Any) -> list[dict[str, Any]]:
        """Every document that a query finds. Raises ``StoreUnavailable``."""
        cursor = self.collection(collection).find(query, **options)
        return await translated(lambda: cursor.to_list(None))

    async def has_change_streams(self) -> bool:
        """Whether the server can tell of changes by itself: a replica set or a sharded cluster."""
        database = self.collection("sessions").database
        hello = await translated(lambda: database.command("hello"))
        return "setName" in hello or hello.get("msg") == "isdbgrid"

    async def watch(self, collection: str, pipeline: list[dict[str, Any]], **options: Any) -> Any:
        """A change stream; Motor gives it without being awaited."""
        # The server refuses change streams with readConcernLevel=local.
        watched = self.collection(collection).with_options(read_concern=ReadConcern("majority"))
        stream = watched.watch(pipeline, **options)
        return await stream if inspect.isawaitable(stream) else stream

    def unacknowledged_by_majority(self, collection: str) -> Any:
        """A collection whose writes wait for the primary alone: for cleaning up, where doing it twice does no harm."""
        return self.collection(collection).with_options(write_concern=WriteConcern(w=1))


async def _soon(value: T) -> T:
    return value


async def translated(call: Callable[[], Awaitable[T]]) -> T:
    """Run a call of the driver with its errors as ours, said once for all; errors of single items pass."""
    try:
        return await call()
    except (StoreError, BulkWriteError, DuplicateKeyError):
        raise
    except OperationFailure as error:
        kind = StoreMismatch if error.code in _MISMATCHES else StoreUnavailable
        raise kind("mongodb", str(error)[:300]) from None
    except (PyMongoError, OSError) as error:
        raise StoreUnavailable("mongodb", (str(error) or type(error).__name__)[:300]) from None
