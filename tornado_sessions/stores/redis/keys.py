"""Build the names of keys and index entries, and read many sessions with one command.

It must not know how a record is written. ``common.lua`` describes the layout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tornado_sessions.drivers.redis import Client
from tornado_sessions.errors import StoreMismatch
from tornado_sessions.stores.redis import answers
from tornado_sessions.stores.redis.endings import DAMAGED_END, read_not_before
from tornado_sessions.stores.redis.records import NO_STRING

__all__ = [
    "ALL",
    "ENDED",
    "SIGNED_IN",
    "USERS",
    "VISITORS",
    "Keys",
    "Listing",
    "clean",
    "escaped",
    "of_ip",
    "of_user",
    "order",
    "time_of",
    "unescaped",
]

_ESCAPES = str.maketrans({"\0": "\1\1", "\1": "\1\2"})


class Listing(NamedTuple):
    """A list of sessions: the entries with one prefix in the sorted sets ``x`` or ``d``.

    Attributes:
        prefix: the start of its entries.
        kind: ``s`` for sessions (in ``x``), ``t`` for tombstones (in ``d``).
    """

    prefix: bytes
    kind: str

    @property
    def has_names(self) -> bool:
        """Whether entries start with a name or the rest of one, because the prefix does not contain a whole user or address."""
        return self.prefix[:1] in (b"u", b"i") and not self.prefix.endswith(b"\0")


ALL = Listing(b"l", "s")
USERS = Listing(b"u", "s")
VISITORS = Listing(b"v", "s")
SIGNED_IN = Listing(b"s", "s")
ENDED = Listing(b"d", "t")


def escaped(name: str) -> bytes:
    """Return a name as stored in entries: NUL is escaped, because it ends the name there."""
    return name.translate(_ESCAPES).encode("utf-8", "replace")


def of_user(user: str) -> Listing:
    """Return the list of a user's sessions."""
    return Listing(b"u" + escaped(user) + b"\0", "s")


def of_ip(ip: str) -> Listing:
    """Return the list of an address's sessions."""
    return Listing(b"i" + escaped(ip) + b"\0", "s")


def order(at: float) -> bytes:
    """Return a time as stored in entries, in 7 bytes: microseconds, counted down so that the latest sorts first.

    No session has a time before 1970 or after 2255, but a cursor can name any.
    """
    return int(9e15 - math.floor(max(-9e9, min(at, 9e9)) * 1e6)).to_bytes(7)


def time_of(ordered: bytes) -> float:
    """Return the time, in UTC seconds, from which ``order`` made these bytes."""
    # The half microsecond keeps the rounding of floats from changing the bytes when the time is encoded again.
    return (9e15 - int.from_bytes(ordered) + 0.5) / 1e6


def unescaped(name: bytes) -> str:
    """Undo ``escaped``."""
    return name.replace(b"\1\1", b"\0").replace(b"\1\2", b"\1").decode("utf-8", "replace")


def clean(name: str) -> str:
    """Replace lone surrogates, which cannot be encoded, by question marks. No stored name contains one."""
    return name if name.isascii() else name.encode("utf-8", "replace").decode()


class Keys:
    """The keys of one store.

    Args:
        client: the connection to the server, whose options have the prefix and the number of buckets.
    """

    def __init__(self, client: Client) -> None:
        self.prefix = client.options.prefix
        self.channel = f"{self.prefix}events"
        self._bucket_of = client.bucket_of
        bases = [f"{self.prefix}{{{number:02x}}}:" for number in range(client.options.buckets)]
        #: The layout and the number of buckets with which the data was written. The first bucket exists whatever their number.
        self.buckets = f"{bases[0]}b"
        #: One key per bucket: lists of live sessions, expiries, the list of tombstones, ``not_before``.
        self.listings = [f"{base}x" for base in bases]
        self.expiries = [f"{base}e" for base in bases]
        self.endings = [f"{base}d" for base in bases]
        self.not_before = [f"{base}n" for base in bases]

    def _base(self, handle: str) -> str:
        return f"{self.prefix}{{{self._bucket_of(handle)}}}:"

    def session(self, handle: str) -> str:
        """Return the key of a session."""
        return self.item("s", handle)

    def item(self, kind: str, handle: str) -> str:
        """Return the key of a session (``s``), a tombstone (``t``) or a small value (``c``)."""
        # Most handles are ASCII and need no cleaning; every load and save runs this.
        return f"{self.prefix}{{{self._bucket_of(handle)}}}:{kind}:{handle if handle.isascii() else clean(handle)}"

    def listing(self, listing: Listing, handle: str) -> str:
        """Return the key with a list's entries in the bucket of ``handle``."""
        return f"{self._base(handle)}{'d' if listing.kind == 't' else 'x'}"

    def parts(self, listing: Listing) -> list[str]:
        """Return the keys with a list's entries, one per bucket."""
        return self.endings if listing.kind == "t" else self.listings

    def touched(self, client: Client, handle: str) -> list[str]:
        """Return the other keys that a change of a session touches; only a cluster needs them declared."""
        if not client.is_cluster:
            return []
        base = self._base(handle)
        return [f"{base}x", f"{base}e", f"{base}n", f"{base}d"]

    async def get_all(self, client: Client, kind: str, handles: Sequence[str]) -> tuple[list[bytes | None], float]:
        """Read the values of handles and ``not_before`` in one round trip.

        Args:
            client: the connection to the server.
            kind: ``s`` for sessions, ``t`` for tombstones.
            handles: the handles to read.

        Returns:
            The values, ``None`` for missing ones, and ``not_before`` in UTC seconds.

        Raises:
            StoreMismatch: the stored ``not_before`` is damaged.
        """
        groups = client.groups(handles)
        commands: list[Sequence[str]] = [
            ("MGET", f"{self._base(handles[group[0]])}n", *(self.item(kind, handles[place]) for place in group))
            for group in groups
        ]
        found = await client.read(commands or [("MGET", self.not_before[0])])
        stored: list[bytes | None] = [None] * len(handles)
        ends: list[bytes | None] = []
        for group, answer in zip(groups or [[]], found, strict=True):
            end, *values = answers.values(answer, len(group) + 1)
            ends.append(end)
            for place, value in zip(group, values, strict=True):
                stored[place] = value
        if None in ends:
            await self._refuse_foreign_ends(client)
        return stored, max(map(read_not_before, ends), default=0.0)

    async def check_ends(self, client: Client) -> None:
        """Read the ``n`` of every bucket; raise ``StoreMismatch`` if one is damaged."""
        found = await client.read([("MGET", key) for key in self.not_before])
        ends = [answers.values(answer, 1)[0] for answer in found]
        if None in ends:
            await self._refuse_foreign_ends(client)
        for end in ends:
            read_not_before(end)

    async def _refuse_foreign_ends(self, client: Client) -> None:
        """Raise ``StoreMismatch`` if an ``n`` is of another type: MGET reports such a key as missing."""
        kinds = await client.read([("TYPE", key) for key in self.not_before])
        if any(kind not in (b"none", b"string") for kind in kinds):
            raise StoreMismatch("redis", DAMAGED_END)

    async def mark_foreign(self, client: Client, kind: str, handles: Sequence[str], stored: list[bytes | None]) -> None:
        """Replace ``None`` by ``NO_STRING`` in ``stored`` for keys of another type, which MGET reports as missing.

        Costs a round trip if any value is missing.

        Args:
            client: the connection to the server.
            kind: ``s`` for sessions, ``t`` for tombstones.
            handles: the handles that were read.
            stored: the values that ``get_all`` returned for them; changed in place.
        """
        missing = [place for place, value in enumerate(stored) if value is None]
        if not missing:
            return
        kinds = await client.read([("TYPE", self.item(kind, handles[place])) for place in missing])
        for place, found in zip(missing, kinds, strict=True):
            if found not in (b"none", b"string"):
                stored[place] = NO_STRING
