"""``OperatorsSeen``: who has lately proved to be an operator, so that the busy server still lets them in.

It must not know sessions or tokens: it compares the headers that carried them, as keyed hashes.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OperatorsSeen"]

_MOST = 1024


class OperatorsSeen:
    """The credentials of the last thousand operators' requests of this process."""

    def __init__(self) -> None:
        self._seen: dict[int, None] = {}

    def add(self, headers: Mapping[str, str]) -> None:
        """Remember the credentials of a request that a handler has found to be an operator's.

        A program on this host may read metrics without any: then there is nothing that tells it from strangers.
        """
        if not headers.keys() & {"Authorization", "Cookie"}:
            return
        self._seen.pop(key := _key(headers), None)
        self._seen[key] = None
        if len(self._seen) > _MOST:
            del self._seen[next(iter(self._seen))]

    def __contains__(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request carries such credentials. They may have ended since: the handler checks them."""
        return _key(headers) in self._seen


def _key(headers: Mapping[str, str]) -> int:
    # ``hash`` of a text is keyed with a secret of the process.
    return hash((headers.get("Authorization"), headers.get("Cookie")))
