"""A MongoDB database through Motor or PyMongo's ``AsyncMongoClient``; the driver's errors become ``StoreError``.

It must not know what is stored. All differences between the two drivers are handled here.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from bson.codec_options import DatetimeConversion
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, WriteConcern
from pymongo.errors import BulkWriteError, DuplicateKeyError, ExecutionTimeout, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from tornado_sessions.drivers.mongo.url import ClientOptions
from tornado_sessions.errors import StoreDenied, StoreError, StoreMismatch, StoreUnavailable

__all__ = ["Client", "translated"]

T = TypeVar("T")

# A date or a string that cannot be decoded must not fail the whole result.
_DECODING = {
    "tz_aware": True,
    "datetime_conversion": DatetimeConversion.DATETIME_AUTO,
    "unicode_decode_error_handler": "replace",
}
# Codes of permanent errors: other software has created an index or a document with one of our names.
_MISMATCHES = {85, 86, 14}
# Unauthorized, AuthenticationFailed, and Atlas' own code for both.
_DENIALS = {13, 18, 8000}
# Maximum time of a list on the server, and how much earlier than the driver's timeout it must end, in milliseconds.
_LIST_TIME, _MARGIN = 30_000, 250


class Client:
    """A database and the driver's client.

    Args:
        options: from ``client_options``.
    """

    def __init__(self, options: ClientOptions) -> None:
        self.options = options
        #: PyMongo's ``event_listeners``, to watch the commands sent.
        self.listeners: Sequence[Any] = ()
        self._client: Any = None
        # Made once: making one takes 5 µs with PyMongo and 16 with Motor, for each command.
        self._collections: dict[str, Any] = {}
        # Without a limit, the server would continue with a list after the driver has stopped waiting.
        timeout = options.socket_timeout_ms
        self.list_time_ms = max(timeout - _MARGIN, timeout // 2) if 0 < timeout < _LIST_TIME else _LIST_TIME

    async def open(self) -> None:
        """Create the client, which connects at its first command; do nothing if it is open."""
        if self._client is None:
            make: Callable[..., Any] = AsyncIOMotorClient if self.options.driver == "motor" else AsyncMongoClient
            with _translating():
                self._client = make(self.options.url, event_listeners=self.listeners, **_DECODING)

    async def close(self) -> None:
        """Close all connections; do nothing if it is closed."""
        client, self._client = self._client, None
        self._collections = {}
        if client is not None:
            await _awaited(client.close())

    def collection(self, name: str) -> Any:
        """Return the collection with our prefix and this name; raise ``StoreUnavailable`` if the client is closed."""
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = self._database[self.options.prefix + name]
        return found

    @property
    def _database(self) -> Any:
        if self._client is None:
            raise StoreUnavailable("mongodb", "the store is closed")
        return self._client[self.options.database]

    async def ping(self) -> None:
        """Raise ``StoreUnavailable`` unless a primary answers."""
        database = self._database
        await translated(lambda: database.command("ping"))

    async def all_of(self, collection: str, query: Mapping[str, Any], **options: Any) -> list[dict[str, Any]]:
        """Return all documents that match a query; raise ``StoreUnavailable`` on failure."""
        cursor = self.collection(collection).find(query, **options)
        return await translated(lambda: cursor.to_list(None))

    async def list_of(self, collection: str, query: Mapping[str, Any], **options: Any) -> list[dict[str, Any]]:
        """Return all documents that match a query of a list, which the server stops before the driver stops waiting."""
        return await self.all_of(collection, query, max_time_ms=self.list_time_ms, **options)

    async def count(self, collection: str, query: Mapping[str, Any], **options: Any) -> int:
        """Count the documents that match a query, with the time limit of lists; raise ``StoreUnavailable`` on failure."""
        found = self.collection(collection)
        counted = await translated(lambda: found.count_documents(query, maxTimeMS=self.list_time_ms, **options))
        return int(counted)

    async def hello(self) -> dict[str, Any]:
        """Return what the server says about itself."""
        database = self._database
        return await translated(lambda: database.command("hello"))

    async def has_change_streams(self) -> bool:
        """Whether the server supports change streams: it is a replica set or a sharded cluster."""
        hello = await self.hello()
        return "setName" in hello or hello.get("msg") == "isdbgrid"

    async def watch(self, collection: str, pipeline: list[dict[str, Any]], **options: Any) -> Any:
        """Open a change stream."""
        # The server refuses change streams with readConcernLevel=local.
        watched = self.collection(collection).with_options(read_concern=ReadConcern("majority"))
        return await _awaited(watched.watch(pipeline, **options))

    def unacknowledged_by_majority(self, collection: str) -> Any:
        """Return a collection whose writes wait only for the primary: for clean-up, where a lost write is repeated later."""
        return self.collection(collection).with_options(write_concern=WriteConcern(w=1))


async def _awaited(result: Any) -> Any:
    """Return a result that one driver returns directly and the other as a coroutine."""
    return await result if inspect.isawaitable(result) else result


async def translated(call: Callable[[], Awaitable[T]]) -> T:
    """Await a call of the driver, translating its errors.

    Raises:
        StoreUnavailable: the call failed, but may succeed later.
        StoreDenied: the server refuses the user, the password or the permissions.
        StoreMismatch: it will not: an index or a document belongs to other software.
        BulkWriteError, DuplicateKeyError: passed through, since they concern single documents.
    """
    with _translating():
        return await call()


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except (StoreError, BulkWriteError, DuplicateKeyError):
        raise
    except ExecutionTimeout as error:
        why = "the server stopped a query at its time limit; is it overloaded, or is an index missing or still being built?"
        raise StoreUnavailable("mongodb", f"{why} ({str(error)[:200]})") from None
    except OperationFailure as error:
        kind = (
            StoreMismatch if error.code in _MISMATCHES else StoreDenied if error.code in _DENIALS else StoreUnavailable
        )
        raise kind("mongodb", str(error)[:300]) from None
    except (PyMongoError, OSError) as error:
        raise StoreUnavailable("mongodb", (str(error) or type(error).__name__)[:300]) from None
