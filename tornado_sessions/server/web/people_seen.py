"""``PeopleSeen``: recently authenticated clients, which a busy server prefers to a crowd at the same address.

It must not know sessions or tokens: it compares the headers that carried them, as keyed hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["PeopleSeen"]

_MOST = 4096


class _Person(NamedTuple):
    name: str
    is_operator: bool


class PeopleSeen:
    """The credentials of the last four thousand people whose requests handlers of this process have answered.

    They may have ended since: the handler checks them.
    """

    def __init__(self) -> None:
        self._seen: dict[int, _Person] = {}

    def add(self, headers: Mapping[str, str], name: str, *, is_operator: bool) -> None:
        """Remember the credentials of a request that a handler has found to be a user's, and whether they are an operator.

        A program on this host may read metrics without any credentials: then nothing distinguishes it from strangers.
        """
        if not headers.keys() & {"Authorization", "Cookie"}:
            return
        self._seen.pop(key := _key(headers), None)
        self._seen[key] = _Person(name, is_operator)
        if len(self._seen) > _MOST:
            del self._seen[next(iter(self._seen))]

    def name_of(self, headers: Mapping[str, str]) -> str | None:
        """Return the user whose credentials a request carries, or ``None`` if they have not been seen."""
        person = self._seen.get(_key(headers))
        return person and person.name

    def is_operator(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request carries the credentials of an operator."""
        person = self._seen.get(_key(headers))
        return person is not None and person.is_operator


def _key(headers: Mapping[str, str]) -> int:
    # ``hash`` of a text is keyed with a secret of the process.
    return hash((headers.get("Authorization"), headers.get("Cookie")))
