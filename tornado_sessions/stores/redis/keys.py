"""Names of keys, and reading many sessions in one command.

It must not know what is in them. The layout is told in ``common.lua``.
"""

from __future__ import annotations

from collections.abc import Sequence

from tornado_sessions.stores.redis.client import BUCKETS, Client, bucket_of
from tornado_sessions.stores.redis.records import read_not_before

__all__ = ["Keys"]


class Keys:
    """The keys of one store.

    Args:
        prefix: what all of them begin with.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.channel = f"{prefix}events"
        self._bases = [f"{prefix}{{{number:02x}}}:" for number in range(BUCKETS)]

    def session(self, handle: str) -> str:
        """Where a session is."""
        return f"{self.prefix}{{{bucket_of(handle)}}}:s:{handle}"

    def tombstone(self, handle: str) -> str:
        """Where what stays of it is."""
        return f"{self.prefix}{{{bucket_of(handle)}}}:t:{handle}"

    def lists(self) -> list[str]:
        """All sessions, those seen last first."""
        return [f"{base}l" for base in self._bases]

    def expiries(self) -> list[str]:
        """All sessions by when they end."""
        return [f"{base}e" for base in self._bases]

    def ended(self) -> list[str]:
        """All tombstones, the latest first."""
        return [f"{base}d" for base in self._bases]

    def not_before(self) -> list[str]:
        """Everybody's end, the same in each bucket."""
        return [f"{base}n" for base in self._bases]

    def of_user(self, user: str) -> list[str]:
        """A user's sessions."""
        return [f"{base}u:{user}" for base in self._bases]

    def of_ip(self, ip: str) -> list[str]:
        """An address's sessions."""
        return [f"{base}i:{ip}" for base in self._bases]

    def same_bucket(self, keys: Sequence[str], handle: str) -> str:
        """The one of an index's keys where this session is."""
        return keys[int(bucket_of(handle), 16)]

    async def get_all(self, client: Client, kind: str, handles: Sequence[str]) -> tuple[list[bytes | None], float]:
        """What is stored of these, in one round trip, and everybody's end.

        Args:
            client: of the server.
            kind: ``s`` for sessions, ``t`` for tombstones.
            handles: of what.
        """
        name = self.session if kind == "s" else self.tombstone
        groups = client.groups(handles)
        commands: list[Sequence[str]] = [
            ("MGET", f"{self.prefix}{{{bucket_of(handles[group[0]])}}}:n", *(name(handles[place]) for place in group))
            for group in groups
        ]
        answers = await client.read(commands or [("MGET", self.not_before()[0])])
        stored: list[bytes | None] = [None] * len(handles)
        for group, answer in zip(groups or [[]], answers, strict=True):
            for place, value in zip(group, answer[1:], strict=True):
                stored[place] = value
        return stored, max((read_not_before(answer[0]) for answer in answers), default=0.0)
