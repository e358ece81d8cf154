r"""``redis://``: documents on Redis or Valkey, all in one slot, so that names are unique on a cluster too.

It must not know the keys of sessions, which only share the server and the prefix.

Each kind of documents has three keys::

    {documents}:KIND         hash   key → header, newline, body. The header is JSON: [revision, tags, names]
    {documents}:KIND:tags    zset   "TAG\0KEY", all with score 0, so ordered by bytes. Every document has the tag ""
    {documents}:KIND:names   hash   unique name → key
    {documents}::count:KEY   string an amount, expired by Redis
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from typing_extensions import override

from tornado_sessions.drivers.redis import Client, ClientOptions, Script, client_options
from tornado_sessions.errors import StoreMismatch
from tornado_sessions.server.documents.base import MAX_PAGE, Count, Document, DocumentStore, Links, NameTaken, Total

__all__ = ["RedisDocuments"]

_PUT, _DELETE, _PAGE = (Script(__package__, "common.lua", f"{name}.lua") for name in ("put", "delete", "page"))
_COUNT = Script(__package__, "count.lua")


class RedisDocuments(DocumentStore):
    """Documents on a Redis or Valkey server.

    Args:
        options: from ``client_options``.
    """

    def __init__(self, options: ClientOptions) -> None:
        self.client = Client(options)

    @classmethod
    def from_url(cls, url: str, _beside: object) -> RedisDocuments:
        """Return the store for a ``redis…://`` URL; raise ``ConfigError`` if it has faults."""
        return cls(client_options(url))

    @override
    async def open(self) -> None:
        await self.client.open()
        # Refuse accounts in the former layout: reading none, the server would offer a stranger to create the first operator.
        former = self.client.options.prefix + "{accounts}:names"
        if (await self.client.read([("EXISTS", former)]))[0]:
            await self.close()
            raise StoreMismatch(
                "redis", f"accounts below {former} have the layout of an earlier version; use another prefix"
            )

    @override
    async def close(self) -> None:
        await self.client.close()

    def keys_of(self, kind: str) -> list[str]:
        """Return the three keys of a kind: documents, tags and names."""
        base = f"{self.client.options.prefix}{{documents}}:{kind}"
        return [base, f"{base}:tags", f"{base}:names"]

    @override
    async def get(self, kind: str, key: str) -> Document | None:
        stored = (await self.client.read([("HGET", self.keys_of(kind)[0], key)]))[0]
        return _document(key, stored) if stored is not None else None

    @override
    async def links(self, kind: str, key: str) -> Links:
        stored = (await self.client.read([("HGET", self.keys_of(kind)[0], key)]))[0]
        header = _header(stored.partition(b"\n")[0]) if stored is not None else None
        return Links(*header[1:]) if header is not None else Links((), ())

    @override
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        header = msgspec.json.encode([document.revision, tags, names])
        done = await self.client.run(_PUT, self.keys_of(kind), [document.key, header, document.body])
        if done < 0:
            raise NameTaken(names[-done - 1])
        return bool(done)

    @override
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        arguments = [key, "" if revision is None else revision]
        return bool(await self.client.run(_DELETE, self.keys_of(kind), arguments))

    @override
    async def page(
        self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE, backwards: bool = False
    ) -> list[Document]:
        walk = ["ZRANGEBYLEX", f"({tag}\0", f"({tag}\1"]
        if backwards:
            walk = ["ZREVRANGEBYLEX", f"({tag}\1", f"({tag}\0"]
        start = f"({tag}\0{after}".encode("utf-8", "surrogateescape") if after else walk[1]
        # EVAL through ``read``, which retries after a lost connection: repeating this script is harmless.
        command = ("EVAL", _PAGE.text, 2, *self.keys_of(kind)[:2], walk[0], start, walk[2], limit)
        found = iter((await self.client.read([command]))[0])
        pairs = zip(found, found, strict=True)
        return [_document(key.decode("utf-8", "surrogateescape"), stored) for key, stored in pairs]

    @override
    async def count(self, counts: Sequence[Count], now: float) -> list[Total]:
        base = f"{self.client.options.prefix}{{documents}}::count:"
        arguments = [value for count in counts for value in (count.amount, math.ceil(count.seconds * 1000))]
        found = await self.client.run(_COUNT, [base + count.key for count in counts], arguments)
        return [Total(amount, now + left / 1000) for amount, left in zip(found[::2], found[1::2], strict=True)]


def _document(key: str, stored: bytes) -> Document:
    header, _, body = stored.partition(b"\n")
    read = _header(header)
    if read is None:
        return Document(key, 0, b"", "its header is not valid")
    return Document.checked(key, read[0], body)


def _header(text: bytes) -> tuple[int, list[str], list[str]] | None:
    """Return revision, tags and names; ``None`` if they cannot be read."""
    try:
        return msgspec.json.decode(text, type=tuple[int, list[str], list[str]])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
