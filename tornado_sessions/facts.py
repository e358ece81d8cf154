"""What a handler may know of its session besides the values: who, since when, until when.

It must not know values or changes.
"""

from __future__ import annotations

from tornado_sessions.record import Record

__all__ = ["SessionFacts"]


class SessionFacts:
    """Read-only facts of a session, as of when it was loaded or last saved.

    Attributes:
        accessed: whether the handler looked at it, so that the response is nobody else's.
    """

    accessed = False
    _record: Record | None = None

    @property
    def handle(self) -> str | None:
        """The session's public name, the same for as long as it lives; ``None`` until it is stored."""
        return self._record.handle if self._record is not None else None

    @property
    def is_new(self) -> bool:
        """Whether nothing of it is stored yet."""
        return self._record is None

    @property
    def user(self) -> str | None:
        """Id of the user who is logged in; ``None`` for a visitor."""
        self.accessed = True
        return self._record.user if self._record is not None else None

    @property
    def created_at(self) -> float | None:
        """When it was made, in UTC seconds; ``None`` until it is stored."""
        return self._record.created_at if self._record is not None else None

    @property
    def signed_in_at(self) -> float | None:
        """When its user logged in, in UTC seconds."""
        return self._record.signed_in_at if self._record is not None else None

    @property
    def last_seen_at(self) -> float | None:
        """When it was last used as far as is stored, in UTC seconds; lags by ``touch_after`` at most."""
        return self._record.last_seen_at if self._record is not None else None

    @property
    def expires_at(self) -> float | None:
        """When it ends unless it is used, in UTC seconds."""
        return self._record.expires_at if self._record is not None else None
