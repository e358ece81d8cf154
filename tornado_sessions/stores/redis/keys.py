"""Names of keys and lists, and reading many sessions in one command.

It must not know what is in them. The layout is told in ``common.lua``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tornado_sessions.stores.redis.client import BUCKETS, Client, bucket_of
from tornado_sessions.stores.redis.records import read_not_before

__all__ = [
    "ALL",
    "ENDED",
    "SIGNED_IN",
    "USERS",
    "VISITORS",
    "Keys",
    "Listing",
    "escaped",
    "of_ip",
    "of_user",
    "order",
    "time_of",
    "unescaped",
]

_ESCAPES = str.maketrans({"\0": "\1\1", "\1": "\1\2"})


class Listing(NamedTuple):
    """One of the lists in ``x``: what its entries begin with, and what they stand for, ``s`` sessions or ``t`` tombstones."""

    prefix: bytes
    kind: str


ALL = Listing(b"l", "s")
USERS = Listing(b"u", "s")
VISITORS = Listing(b"v", "s")
SIGNED_IN = Listing(b"s", "s")
ENDED = Listing(b"d", "t")


def escaped(name: str) -> bytes:
    """A name as it stands in an entry: no NUL, which ends it."""
    return name.translate(_ESCAPES).encode("utf-8", "replace")


def of_user(user: str) -> Listing:
    """The sessions of a user."""
    return Listing(b"u" + escaped(user) + b"\0", "s")


def of_ip(ip: str) -> Listing:
    """The sessions of an address."""
    return Listing(b"i" + escaped(ip) + b"\0", "s")


def order(at: float) -> bytes:
    """Microseconds counted down, as in ``common.lua``: the latest comes first."""
    return b"%017d" % int(9e15 - math.floor(at * 1e6))


def time_of(ordered: bytes) -> float:
    """What ``order`` was made of; half a microsecond is added, so that ``order`` makes the same of it again."""
    return (9e15 - int(ordered) + 0.5) / 1e6


def unescaped(name: bytes) -> str:
    """What ``escaped`` was given."""
    return name.replace(b"\1\1", b"\0").replace(b"\1\2", b"\1").decode("utf-8", "replace")


class Keys:
    """The keys of one store.

    Args:
        prefix: what all of them begin with.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.channel = f"{prefix}events"
        bases = [f"{prefix}{{{number:02x}}}:" for number in range(BUCKETS)]
        #: Of every bucket: all lists, sessions by when they end, everybody's end.
        self.listings = [f"{base}x" for base in bases]
        self.expiries = [f"{base}e" for base in bases]
        self.not_before = [f"{base}n" for base in bases]

    def _base(self, handle: str) -> str:
        return f"{self.prefix}{{{bucket_of(handle)}}}:"

    def session(self, handle: str) -> str:
        """Where a session is."""
        return f"{self._base(handle)}s:{handle}"

    def item(self, kind: str, handle: str) -> str:
        """Where a session or a tombstone is."""
        return f"{self._base(handle)}{kind}:{handle}"

    def listing(self, handle: str) -> str:
        """All lists of a session's bucket."""
        return f"{self._base(handle)}x"

    def touched(self, client: Client, handle: str) -> list[str]:
        """What a change of a session touches besides, declared where a slot may move to another node under it."""
        base = self._base(handle)
        return [f"{base}x", f"{base}e", f"{base}n"] if client.is_cluster else []

    async def get_all(self, client: Client, kind: str, handles: Sequence[str]) -> tuple[list[bytes | None], float]:
        """What is stored of these, in one round trip, and everybody's end.

        Args:
            client: of the server.
            kind: ``s`` for sessions, ``t`` for tombstones.
            handles: of what.
        """
        groups = client.groups(handles)
        commands: list[Sequence[str]] = [
            ("MGET", f"{self._base(handles[group[0]])}n", *(self.item(kind, handles[place]) for place in group))
            for group in groups
        ]
        answers = await client.read(commands or [("MGET", self.not_before[0])])
        stored: list[bytes | None] = [None] * len(handles)
        for group, answer in zip(groups or [[]], answers, strict=True):
            for place, value in zip(group, answer[1:], strict=True):
                stored[place] = value
        return stored, max((read_not_before(answer[0]) for answer in answers), default=0.0)
