"""Names of keys and lists, and reading many sessions in one command.

It must not know how a record is written. ``common.lua`` describes the layout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tornado_sessions.drivers.redis import BUCKETS, Client, bucket_of
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
    """One of the lists in ``x`` or ``d``.

    Attributes:
        prefix: the beginning of its entries.
        kind: ``s`` for sessions (in ``x``) or ``t`` for tombstones (in ``d``).
    """

    prefix: bytes
    kind: str

    @property
    def has_names(self) -> bool:
        """Whether the rest of a name comes first in an entry: the list is one of users or addresses, and not of a single one."""
        return self.prefix[:1] in (b"u", b"i") and not self.prefix.endswith(b"\0")


ALL = Listing(b"l", "s")
USERS = Listing(b"u", "s")
VISITORS = Listing(b"v", "s")
SIGNED_IN = Listing(b"s", "s")
ENDED = Listing(b"d", "t")


def escaped(name: str) -> bytes:
    """Return a name as an entry holds it: without NUL, which ends the name there."""
    return name.translate(_ESCAPES).encode("utf-8", "replace")


def of_user(user: str) -> Listing:
    """Return the list of a user's sessions."""
    return Listing(b"u" + escaped(user) + b"\0", "s")


def of_ip(ip: str) -> Listing:
    """Return the list of an address's sessions."""
    return Listing(b"i" + escaped(ip) + b"\0", "s")


def order(at: float) -> bytes:
    """Return a time as an entry holds it: microseconds counted down, as in ``common.lua``, so that the latest comes first."""
    return b"%017d" % int(9e15 - math.floor(min(at, 9e9) * 1e6))


def time_of(ordered: bytes) -> float:
    """Undo ``order``, plus half a microsecond, so that ``order`` gives the same text again. Raises ``ValueError``."""
    return (9e15 - int(ordered) + 0.5) / 1e6


def unescaped(name: bytes) -> str:
    """Undo ``escaped``."""
    return name.replace(b"\1\1", b"\0").replace(b"\1\2", b"\1").decode("utf-8", "replace")


def clean(name: str) -> str:
    """Return a name that can be sent: a lone surrogate, which no stored name has, becomes a question mark."""
    return name if name.isascii() else name.encode("utf-8", "replace").decode()


class Keys:
    """The keys of one store.

    Args:
        prefix: the beginning of all of them.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.channel = f"{prefix}events"
        bases = [f"{prefix}{{{number:02x}}}:" for number in range(BUCKETS)]
        #: One of each bucket: lists of the living, expiries, list of tombstones, end of everybody.
        self.listings = [f"{base}x" for base in bases]
        self.expiries = [f"{base}e" for base in bases]
        self.endings = [f"{base}d" for base in bases]
        self.not_before = [f"{base}n" for base in bases]

    def _base(self, handle: str) -> str:
        return f"{self.prefix}{{{bucket_of(handle)}}}:"

    def session(self, handle: str) -> str:
        """Return the key of a session."""
        return self.item("s", handle)

    def item(self, kind: str, handle: str) -> str:
        """Return the key of a session (``s``), a tombstone (``t``) or a small value (``c``)."""
        return f"{self._base(handle)}{kind}:{clean(handle)}"

    def listing(self, listing: Listing, handle: str) -> str:
        """Return the key that holds a list's entries of the session's bucket."""
        return f"{self._base(handle)}{'d' if listing.kind == 't' else 'x'}"

    def parts(self, listing: Listing) -> list[str]:
        """Return the keys that hold a list's entries, one of each bucket."""
        return self.endings if listing.kind == "t" else self.listings

    def touched(self, client: Client, handle: str) -> list[str]:
        """Return the other keys that a change of a session touches. A cluster needs them declared, since a slot may be moving."""
        base = self._base(handle)
        return [f"{base}x", f"{base}e", f"{base}n", f"{base}d"] if client.is_cluster else []

    async def get_all(self, client: Client, kind: str, handles: Sequence[str]) -> tuple[list[bytes | None], float]:
        """Read what is stored under handles, and when everybody's sessions were last ended, in one round trip.

        Args:
            client: of the server.
            kind: ``s`` for sessions, ``t`` for tombstones.
            handles: of the sessions.

        Raises:
            StoreMismatch: the end of everybody is damaged.
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

    async def _refuse_foreign_ends(self, client: Client) -> None:
        """Check the type of missing ends: MGET also answers nothing for a key of another type, which is damage."""
        kinds = await client.read([("TYPE", key) for key in self.not_before])
        if any(kind not in (b"none", b"string") for kind in kinds):
            raise StoreMismatch("redis", DAMAGED_END)

    async def mark_foreign(self, client: Client, kind: str, handles: Sequence[str], stored: list[bytes | None]) -> None:
        """Put ``NO_STRING`` where a key of another type was passed over; takes a round trip if anything is missing.

        Args:
            client: of the server.
            kind: ``s`` or ``t``.
            handles: of the sessions.
            stored: what ``get_all`` found under them.
        """
        missing = [place for place, value in enumerate(stored) if value is None]
        if not missing:
            return
        kinds = await client.read([("TYPE", self.item(kind, handles[place])) for place in missing])
        for place, found in zip(missing, kinds, strict=True):
            if found not in (b"none", b"string"):
                stored[place] = NO_STRING
