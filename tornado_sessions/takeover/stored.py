"""``Stored``: a session as a store of Express returns it. Plain data."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Stored"]


class Stored(NamedTuple):
    """A stored session.

    Attributes:
        session: its JSON, or the decoded object.
        expires_at: when the store removes it, in UTC seconds; ``None``: never.
    """

    session: str | dict[str, Any]
    expires_at: float | None
