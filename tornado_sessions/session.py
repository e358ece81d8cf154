"""``Session``: the mapping that a handler uses.

It must not know a store, a cookie or the event loop. Its base class, ``TrackedValues``, tracks changes. It has more than 300
lines because it documents every method that a handler calls.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from datetime import timedelta
from typing import Any, TypeVar, overload

from tornado_sessions.change import own_lifetime
from tornado_sessions.codec import Codec, JSONValue
from tornado_sessions.errors import NotStorable, UsageError
from tornado_sessions.frozen import frozen
from tornado_sessions.history import HISTORY
from tornado_sessions.record import Record, Tombstone
from tornado_sessions.tracking import TrackedValues
from tornado_sessions.validation import check_function, shown

__all__ = ["AtomicTransform", "Session"]

V = TypeVar("V", bound=JSONValue)

Transform = Callable[[Any], JSONValue]
AtomicTransform = Callable[["Session", str, Transform, JSONValue], Awaitable[JSONValue]]


class Session(TrackedValues, MutableMapping[str, Any]):
    """The values of one visitor or user, by key.

    Keys are ``str``; values are str, int, float, bool, None, list and dict, nested at most 32 deep. Anything else is refused
    at assignment with ``NotStorable``. Only changed keys are written, so concurrent requests that change different keys do not
    undo each other's changes. After the response is finished, a change raises ``UsageError``, and values are read-only.

    The properties show the state when the session was loaded or last saved.

    Attributes:
        ended: tombstone of this browser's previous session, if there is one.
        accessed: whether the handler has used the session, so that shared caches must not store the response.
    """

    accessed = False
    #: The reason why changes are refused; ``None`` while they are accepted.
    _frozen: str | None = None
    #: The reason why a new session can no longer be stored; ``None`` while it can.
    _too_late: str | None = None
    _is_finished = False

    def __init__(
        self,
        record: Record | None,
        codec: Codec,
        max_size: int,
        ended: Tombstone | None = None,
        transform: AtomicTransform | None = None,
    ) -> None:
        self._codec = codec
        self._max_size = max_size
        self.ended = ended
        #: Applies a function to a stored value atomically; ``None`` if no store is attached.
        self._transform = transform
        self._begin(record)

    # --- properties ----------------------------------------------------------------------------------------------

    @property
    def handle(self) -> str | None:
        """The session's public name, which never changes; ``None`` until the session is stored."""
        return self.record.handle if self.record is not None else None

    @property
    def is_new(self) -> bool:
        """Whether the session is not stored yet."""
        return self.record is None

    @property
    def user(self) -> str | None:
        """Id of the logged-in user; ``None`` for a visitor."""
        self.accessed = True
        return self.record.user if self.record is not None else None

    @property
    def created_at(self) -> float | None:
        """When the session was created, in UTC seconds; ``None`` until it is stored."""
        return self.record.created_at if self.record is not None else None

    @property
    def signed_in_at(self) -> float | None:
        """When the user logged in, in UTC seconds; ``None`` for a visitor."""
        return self.record.signed_in_at if self.record is not None else None

    @property
    def last_seen_at(self) -> float | None:
        """When the session was last used, in UTC seconds; lags by at most ``touch_after``."""
        return self.record.last_seen_at if self.record is not None else None

    @property
    def expires_at(self) -> float | None:
        """When the session expires unless it is used, in UTC seconds."""
        return self.record.expires_at if self.record is not None else None

    # --- the mapping ---------------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        self.accessed = True
        values = self._values
        try:
            if key in values:
                return values[key] if not self._is_finished else frozen(values[key], self._frozen or "")
            stored = self._stored[key]
        except TypeError:
            raise NotStorable(key, "a key must be str") from None
        value, plain = self._codec.read(self.record.handle, key, stored)  # type: ignore[union-attr] # a stored key has a record
        if self._is_finished:
            return frozen(value, self._frozen or "")
        values[key] = value
        if type(value) in (list, dict):
            # It can change without a call of any method here.
            self._changed().watched[key] = plain
        return value

    def __setitem__(self, key: str, value: JSONValue) -> None:
        self.accessed = True
        self._check_key(key)
        self._assign(key, value, self._checked(key, value))

    def _check_key(self, key: str) -> None:
        if type(key) is not str:
            raise NotStorable(key, "a key must be str")
        if key == HISTORY:
            raise NotStorable(key, "the key is reserved for the history of the session")
        if not key.isascii():
            try:
                key.encode()
            except UnicodeEncodeError:
                raise NotStorable(key, "a key with a lone surrogate is not Unicode") from None
        self._check_not_frozen()

    def _check_not_frozen(self) -> None:
        if self._frozen is not None:
            raise UsageError(self._frozen)

    def __delitem__(self, key: str) -> None:
        self._check_not_frozen()
        if key not in self:
            raise KeyError(key)
        self._delete(key)

    def __iter__(self) -> Iterator[str]:
        self.accessed = True
        return iter({**self._stored, **self._values})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        self.accessed = True
        return isinstance(key, str) and (key in self._values or key in self._stored)

    def update(  # type: ignore[override]
        self, other: Mapping[str, JSONValue] | Iterable[tuple[str, JSONValue]] = (), /, **more: JSONValue
    ) -> None:
        """Assign several values, given as a mapping, as pairs or by name. If one is refused, none is assigned.

        Raises:
            NotStorable: a key is not ``str``, or a value is not JSON.
            SessionTooLarge: a single value exceeds the limit.
            UsageError: ``other`` is neither a mapping nor pairs, or the response is finished.
        """
        self.accessed = True
        try:
            given = dict(other, **more)
        except (TypeError, ValueError):
            raise UsageError(f"update() takes a mapping or pairs of key and value, not {shown(other)}") from None
        plains: dict[str, bytes] = {}
        for key, value in given.items():
            self._check_key(key)
            plains[key] = self._checked(key, value)
        for key, value in given.items():
            self._assign(key, value, plains[key])

    def clear(self) -> None:
        """Remove every key, including keys that another request is writing. The session itself stays.

        Raises:
            UsageError: the response is finished.
        """
        self._check_not_frozen()
        self.accessed = True
        self._clear()

    def __repr__(self) -> str:
        return f"<Session {self.handle or 'not stored'} of {self.user or 'a visitor'}>"

    # --- atomic changes ------------------------------------------------------------------------------------------

    @overload
    def increment(self, key: str, by: int = 1) -> int: ...
    @overload
    def increment(self, key: str, by: float) -> float: ...
    def increment(self, key: str, by: float = 1) -> float:
        """Add to a number. Concurrent increments by other requests and processes are never lost.

        Args:
            key: of the number; a missing key counts as 0.
            by: int or float to add; negative to subtract.

        Returns:
            The sum as this request sees it: an int of any size, or a float if the value or ``by`` is one. The commit adds ``by``
            to the number that is stored then.

        Raises:
            NotStorable: the key is not ``str``, the value or ``by`` is not a number, or the sum is infinite.
            UsageError: the response is finished.
        """
        self._check_key(key)
        total = self._sum(key, self.get(key, 0), by)
        changes = self.changes
        # A number that no other request can have changed is assigned.
        if self.record is None or (
            changes is not None and (changes.clears or key in changes.assigned or key in changes.deleted)
        ):
            self[key] = total
        else:
            self._add(key, by, total)
        return total

    async def transform(self, key: str, function: Callable[[Any], V], default: JSONValue = None) -> V:
        """Replace a value by a function of it, atomically: no other write can happen between reading and writing.

        Args:
            key: of the value.
            function: takes the stored value and returns the new one. It may be called several times, so it must not have side
                effects. It must not be a coroutine function.
            default: passed to the function when the key is missing.

        Returns:
            The value that was stored.

        Raises:
            SessionGone: the session has ended.
            NotStorable: the key is not ``str``, or the function returned something that is not JSON.
            SessionTooLarge: the new value exceeds the limit.
            UsageError: ``function`` is not callable or is a coroutine function, or the response is finished.
            StoreUnavailable: the store does not answer.
        """
        self._check_key(key)
        check_function("transform()", function)
        if self.record is None or self._transform is None:
            self[key] = function(self.get(key, default))
            return self[key]  # type: ignore[no-any-return]

        def bounded(value: JSONValue) -> V:
            """Call the function and check its result."""
            new = function(value)
            self._checked(key, new)
            return new

        self.accessed = True
        return await self._transform(self, key, bounded, default)  # type: ignore[return-value]

    def set_lifetime(
        self, seconds: float | timedelta, *, idle_timeout: float | timedelta | None = None, persistent: bool = True
    ) -> None:
        """Give this session a lifetime of its own, such as "remember me".

        Args:
            seconds: seconds from now until the session ends in any case; more than 0, at most 400 days.
            idle_timeout: seconds without a request after which it ends earlier; ``None``: never.
            persistent: whether its cookie survives a restart of the browser.

        Raises:
            UsageError: a duration is out of range or has a wrong type, ``persistent`` is not a bool, or the response is finished.
        """
        self._check_not_frozen()
        self._changed().lifetime = own_lifetime(seconds, idle_timeout, persistent)

    # --- for Sessions --------------------------------------------------------------------------------------------

    def reset(self, record: Record | None) -> None:
        """Drop unsaved changes and continue with ``record``; ``None``: with an empty session. A frozen session stays frozen."""
        self._begin(record)
        if record is None and self._frozen is None:
            self._frozen = self._too_late

    def freeze(self, why: str) -> None:
        """Refuse changes of a session that is not stored, now or after it ends: the headers are sent, so it gets no cookie.

        Args:
            why: the message of the ``UsageError``.
        """
        self._too_late = self._too_late or why
        if self.record is None and self._frozen is None:
            self._frozen = why

    def finish(self, why: str) -> None:
        """Refuse every change: the response is finished, so the change would be lost.

        Args:
            why: the message of the ``UsageError``.
        """
        self._frozen, self._is_finished = why, True

    def thaw(self) -> None:
        """Accept changes again: nothing of the response has been sent, and another response replaces it."""
        self._frozen = self._too_late = None
        self._is_finished = False
