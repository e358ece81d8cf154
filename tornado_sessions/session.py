"""``Session``: the mapping that a handler uses; it tracks its own changes, key by key.

It must not know a store, a cookie or the event loop. Values are decoded when first read; a change inside a list or
dict is found by encoding it again at the commit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from datetime import timedelta
from typing import Any, TypeVar, overload

from tornado_sessions.codec import Codec, JSONValue
from tornado_sessions.errors import NotStorable, SessionTooLarge, UsageError
from tornado_sessions.facts import SessionFacts
from tornado_sessions.frozen import frozen
from tornado_sessions.lifecycle import NO_CHANGES, Delta, Lifetime, own_lifetime, size_of
from tornado_sessions.record import Record, Tombstone
from tornado_sessions.validation import check_function, shown

__all__ = ["Session"]

V = TypeVar("V", bound=JSONValue)

Transform = Callable[[Any], JSONValue]
AtomicTransform = Callable[["Session", str, Transform, JSONValue], Awaitable[JSONValue]]


#: Integers beyond so many bits are checked: Python converts only some thousand digits to text.
_LONG_BITS = 64
#: What a finished session shows from its decoded values: each is read again, as a frozen copy.
_NOTHING: dict[str, JSONValue] = {}


class Session(SessionFacts, MutableMapping[str, Any]):
    """The values of one visitor or user, by key.

    Keys are ``str``; values are str, int, float, bool, None, list and dict, nested at most 32 deep. Anything else is refused
    at assignment with ``NotStorable``. Only keys that changed are written, so two concurrent requests never undo each other's
    changes. A change after the response is finished raises ``UsageError``; what is read then cannot be changed either.

    Attributes:
        ended: tombstone of the session that this browser had before, when it is known how that ended.
    """

    def __init__(
        self,
        record: Record | None,
        codec: Codec,
        max_size: int,
        ended: Tombstone | None = None,
        transform: AtomicTransform | None = None,
    ) -> None:
        self.ended = ended
        #: Runs a function on a key atomically in the store; ``None`` while nothing is stored.
        self._transform = transform
        self._codec = codec
        self._max_size = max_size
        #: Why nothing can be changed any more; ``None`` while it can.
        self._frozen: str | None = None
        #: Why a session that is not stored can no longer be stored; ``None`` while it can.
        self._too_late: str | None = None
        self._is_finished = False
        self._begin(record)

    def _begin(self, record: Record | None) -> None:
        self._record = record
        self._stored: dict[str, bytes] = record.data if record is not None else {}
        self._values: dict[str, JSONValue] = {}
        #: Where values are read first: ``_values``, or nothing once the session is finished.
        self._shown = _NOTHING if self._is_finished else self._values
        if record is None and self._too_late is not None and self._frozen is None:
            self._frozen = self._too_late
        self._watched: dict[str, bytes] = {}
        self._assigned: dict[str, bytes | None] = {}
        self._deleted: set[str] = set()
        self._increments: dict[str, int | float] = {}
        self._clears = self._told_clears = 0
        self._lifetime: Lifetime | None = None

    # --- the mapping ---------------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        self.accessed = True
        try:
            if key in self._shown:
                return self._shown[key]
        except TypeError:
            raise NotStorable(key, "a key must be str") from None
        if self._frozen is not None and self._is_finished:
            return self._read_finished(key, self._frozen)
        if not self._still_stored(key):
            raise KeyError(key)
        plain = self._plain(key)
        value = self._codec.decode(self._name, plain)
        self._values[key] = value
        if type(value) in (list, dict):
            self._watched[key] = plain
        return value

    def _read_finished(self, key: str, why: str) -> JSONValue:
        if key in self._values:
            return frozen(self._values[key], why)  # type: ignore[no-any-return]
        if not self._still_stored(key):
            raise KeyError(key)
        return frozen(self._codec.decode(self._name, self._plain(key)), why)  # type: ignore[no-any-return]

    def __setitem__(self, key: str, value: JSONValue) -> None:
        self.accessed = True
        self._check_key(key)
        self._assign(key, value, self._checked(key, value))

    def _check_key(self, key: str) -> None:
        if type(key) is not str:
            raise NotStorable(key, "a key must be str")
        try:
            key.encode()
        except UnicodeEncodeError:
            raise NotStorable(key, "a key with a lone surrogate is not Unicode") from None
        if self._frozen is not None:
            raise UsageError(self._frozen)

    def _check_not_frozen(self) -> None:
        if self._frozen is not None:
            raise UsageError(self._frozen)

    def _checked(self, key: str, value: JSONValue) -> bytes:
        plain = self._codec.encode(key, value)
        if len(plain) > self._max_size:
            raise SessionTooLarge(len(plain), self._max_size)
        return plain

    def _assign(self, key: str, value: JSONValue, plain: bytes) -> None:
        self._forget(key)
        self._values[key] = value
        self._assigned[key] = None if type(value) in (list, dict) else plain

    def __delitem__(self, key: str) -> None:
        self._check_not_frozen()
        if key not in self:
            raise KeyError(key)
        self._forget(key)
        if key in self._stored and not self._clears:
            self._deleted.add(key)

    def __iter__(self) -> Iterator[str]:
        self.accessed = True
        kept = [] if self._clears else [key for key in self._stored if key not in self._deleted]
        return iter(kept + [key for key in self._values if self._clears or key not in self._stored])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        self.accessed = True
        return isinstance(key, str) and (key in self._values or self._still_stored(key))

    def update(  # type: ignore[override]
        self, other: Mapping[str, JSONValue] | Iterable[tuple[str, JSONValue]] = (), /, **more: JSONValue
    ) -> None:
        """Assign several values; either all of them, or none when one is refused.

        Args:
            other: a mapping, or pairs of key and value.
            more: values by key.

        Raises:
            NotStorable: a key is not ``str``, or a value is not JSON.
            SessionTooLarge: one value alone passes the limit.
            UsageError: ``other`` is neither, or the response is finished.
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
        """Remove every key, also those that another request is writing. The session itself stays.

        Raises:
            UsageError: the response is finished.
        """
        self._check_not_frozen()
        self.accessed = True
        self._values.clear()
        self._watched.clear()
        self._assigned.clear()
        self._increments.clear()
        self._deleted.clear()
        self._clears += self._record is not None

    def __repr__(self) -> str:
        return f"<Session {self.handle or 'not stored'} of {self.user or 'a visitor'}>"

    # --- atomic changes ------------------------------------------------------------------------------------------

    @overload
    def increment(self, key: str, by: int = 1) -> int: ...
    @overload
    def increment(self, key: str, by: float) -> float: ...
    def increment(self, key: str, by: float = 1) -> float:
        """Add to a number; the result is exact however many requests and processes do so at once.

        Args:
            key: of the number; a missing one counts as 0.
            by: int or float to add; negative to subtract.

        Returns:
            The sum as this request sees it: an int of any size, or a float when the value or ``by`` is one. At the commit the
            store adds ``by`` to what it holds then.

        Raises:
            NotStorable: the key is not ``str``, the value or ``by`` is not a number, or the sum is infinite.
            UsageError: the response is finished.
        """
        self._check_key(key)
        value = self.get(key, 0)
        if type(value) not in (int, float) or type(by) not in (int, float):
            raise NotStorable(key, "only numbers can be incremented")
        total = self._sum(key, value, by)
        if self._record is None or self._clears or key in self._assigned or key in self._deleted:
            self[key] = total
            return total
        # The value last, so that a sum that is refused leaves nothing behind.
        pending = self._increments.get(key)
        self._increments[key] = by if pending is None else self._sum(key, pending, by)
        self._values[key] = total
        return total

    def _sum(self, key: str, number: float, by: float) -> float:
        try:
            total = number + by
        except OverflowError:
            raise NotStorable(key, "the sum is more than a float can hold") from None
        if type(total) is float or int(total).bit_length() > _LONG_BITS:
            # Refuses infinity and NaN, which are no JSON, and more digits than Python converts.
            self._codec.encode(key, total)
        return total

    async def transform(self, key: str, function: Callable[[Any], V], default: JSONValue = None) -> V:
        """Replace a value by a function of it, atomically: no other write comes between reading and writing.

        Args:
            key: of the value.
            function: takes the stored value and returns the new one. It may run several times, so it has no side effects,
                and it is not a coroutine function.
            default: passed to the function when the key is missing.

        Returns:
            The value that was stored.

        Raises:
            SessionGone: the session has ended.
            NotStorable: the key is not ``str``, or the function returned something that is not JSON.
            SessionTooLarge: the new value passes the limit.
            UsageError: ``function`` cannot be called or is a coroutine function, or the response is finished.
            StoreUnavailable: the store does not answer.
        """
        self._check_key(key)
        check_function("transform()", function)
        if self._record is None or self._transform is None:
            self[key] = function(self.get(key, default))
            return self[key]  # type: ignore[no-any-return]

        def bounded(value: JSONValue) -> V:
            """What the function returns, if it may be stored."""
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
            seconds: the session ends after this time whatever happens; more than 0, at most 400 days.
            idle_timeout: seconds without a request after which it ends earlier; ``None``: never.
            persistent: whether its cookie outlives the browser.

        Raises:
            UsageError: a duration is not such a number or ``timedelta``, ``persistent`` is not a bool, or the response is
                finished.
        """
        self._check_not_frozen()
        self._lifetime = own_lifetime(seconds, idle_timeout, persistent)

    # --- for Sessions: what changed, and what became of it -------------------------------------------------------

    def delta(self) -> Delta:
        """What changed since it was loaded or last saved, encoded but not encrypted.

        Raises:
            NotStorable: something inside a list or dict is not JSON.
            SessionTooLarge: all values together pass the limit.
        """
        if not (self._assigned or self._watched or self._increments or self._deleted or self._clears or self._lifetime):
            return NO_CHANGES
        changed = {key: plain for key in self._watched if (plain := self._encoded(key)) != self._watched[key]}
        for key, assigned in self._assigned.items():
            now = self._encoded(key) if assigned is None else assigned
            if not self._still_stored(key) or self._plain(key) != now:
                changed[key] = now
        expect: dict[str, bytes | None] = {}
        for key, by in self._increments.items():
            expect[key] = self._stored.get(key)
            changed[key] = self._codec.encode(key, self._sum(key, self._stored_number(key), by))
        self._check_size(changed)
        self._told_clears = self._clears
        return Delta(
            set=changed,
            delete=frozenset(self._deleted),
            clear=self._clears > 0,
            expect=expect,
            lifetime=self._lifetime,
            increments=dict(self._increments),
        )

    def mark_saved(
        self, record: Record, delta: Delta, *, forget: str | None = None, transform: AtomicTransform | None = None
    ) -> None:
        """Take the record as stored now: ``delta`` has become part of it, what was changed meanwhile is still pending.

        Args:
            record: what is stored.
            delta: what was stored.
            forget: a key whose value is to be read again.
            transform: for a session that is stored from now on.
        """
        self._transform = transform or self._transform
        self._record, self._stored = record, record.data
        self._clears -= self._told_clears
        self._told_clears = 0
        if self._lifetime == delta.lifetime:
            self._lifetime = None
        self._deleted -= delta.delete
        for key, by in delta.increments.items():
            self._settle_increment(key, by)
        for key, plain in delta.set.items():
            self._settle_value(key, plain)
        if forget is not None and forget not in self._assigned:
            self._forget(forget)
        for key in self._values.keys() - record.data.keys() - self._assigned.keys():
            self._forget(key)

    def _settle_increment(self, key: str, by: float) -> None:
        if key not in self._increments:
            return
        left = self._increments.pop(key) - by
        if left:
            self._increments[key] = left
        # Others may have added as well: go on from what is stored now.
        stored = self._stored_number(key)
        self._values[key] = self._sum(key, stored, left) if left else stored

    def _settle_value(self, key: str, plain: bytes) -> None:
        if key in self._watched:
            self._watched[key] = plain
        elif key in self._assigned and self._assigned[key] is None:
            del self._assigned[key]
            self._watched[key] = plain
        elif self._assigned.get(key) == plain:
            del self._assigned[key]

    def rebase(self, record: Record) -> None:
        """Take what another request stored meanwhile as the base of what is pending here."""
        self._record = record
        self._stored = record.data

    def reset(self, record: Record | None) -> None:
        """Drop what is pending and start again from what is stored; ``None``: from an empty session. It stays frozen."""
        self._begin(record)

    def freeze(self, why: str, *, also_stored: bool = False) -> None:
        """Refuse changes from now on with ``UsageError``, since they would be lost.

        Args:
            why: the message of the error.
            also_stored: every change, also of a stored session: the response is finished. Otherwise only changes of a session
                that is not stored, now or after it ends: the headers have left, and a new cookie cannot be sent.
        """
        self._too_late = self._too_late or why
        if also_stored:
            self._frozen, self._is_finished, self._shown = why, True, _NOTHING
        elif self._record is None and self._frozen is None:
            self._frozen = why

    def thaw(self) -> None:
        """Accept changes again: nothing of the response has left, and another one takes its place."""
        self._frozen = self._too_late = None
        self._is_finished, self._shown = False, self._values

    @property
    def record(self) -> Record | None:
        """What is stored, as last seen."""
        return self._record

    @property
    def _name(self) -> str:
        return self._record.handle if self._record is not None else ""

    def _still_stored(self, key: str) -> bool:
        return not self._clears and key in self._stored and key not in self._deleted

    def _plain(self, key: str) -> bytes:
        return self._codec.unseal(self._name, key, self._stored[key])

    def _stored_number(self, key: str) -> int | float:
        base = self._codec.decode(self._name, self._plain(key)) if key in self._stored else 0
        if type(base) not in (int, float):
            raise NotStorable(key, "only numbers can be incremented")
        return base  # type: ignore[return-value]

    def _encoded(self, key: str) -> bytes:
        return self._codec.encode(key, self._values[key])

    def _forget(self, key: str) -> None:
        self._values.pop(key, None)
        self._watched.pop(key, None)
        self._assigned.pop(key, None)
        self._increments.pop(key, None)
        self._deleted.discard(key)

    def _check_size(self, changed: dict[str, bytes]) -> None:
        stored = self._stored
        # A bound that is cheap to sum up, at four bytes a letter; hardly any session comes near its limit.
        values = sum(map(len, stored.values())) + sum(map(len, changed.values()))
        if values + 4 * (sum(map(len, stored)) + sum(map(len, changed))) <= self._max_size:
            return
        kept = {key: value for key, value in stored.items() if self._still_stored(key)}
        size = size_of({**kept, **changed})
        if changed and size > self._max_size:
            raise SessionTooLarge(size, self._max_size)
