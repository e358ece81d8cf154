"""``TrackedValues``: decode the values of a session when they are first read, and track changes since they were stored.

It must not know a store, a cookie, the event loop or the methods for handlers: those are in ``session``.
"""

from __future__ import annotations

from tornado_sessions.change import NO_CHANGES, Delta, Lifetime
from tornado_sessions.codec import Codec, JSONValue
from tornado_sessions.errors import NotStorable, SessionTooLarge
from tornado_sessions.history import HISTORY
from tornado_sessions.record import Record

__all__ = ["TrackedValues"]

# Larger integers are checked: Python converts at most a few thousand digits to text.
_LONG_BITS = 64


class _Changes:
    """What a handler has changed, by key. A key is in at most one of the first four collections.

    Attributes:
        assigned: keys that the handler assigned, with the encoded value; ``None`` for a list or dict, which may still change
            and is encoded at the commit.
        watched: lists and dicts that were read, with their encoding at that time; the value has changed if its encoding has.
        increments: the sum of the numbers added. Written with the stored value as a guard, so no other sum is overwritten.
        deleted: keys that the handler removed.
        clears: number of calls of ``clear``.
        clears_in_delta: the number of them that the latest delta contains.
        lifetime: a lifetime of the session's own.
    """

    __slots__ = ("assigned", "clears", "clears_in_delta", "deleted", "increments", "lifetime", "watched")

    def __init__(self) -> None:
        self.assigned: dict[str, bytes | None] = {}
        self.watched: dict[str, bytes] = {}
        self.increments: dict[str, int | float] = {}
        self.deleted: set[str] = set()
        self.clears = self.clears_in_delta = 0
        self.lifetime: Lifetime | None = None

    def forget(self, key: str) -> None:
        """Forget what happened to a key."""
        self.assigned.pop(key, None)
        self.watched.pop(key, None)
        self.increments.pop(key, None)
        self.deleted.discard(key)

    def mark_saved(self, delta: Delta) -> bool:
        """Remove what ``delta`` contains. What came after it stays. Return whether anything is left."""
        # Calls are counted, because a flag would lose a clear() that came after the delta.
        self.clears -= self.clears_in_delta
        self.clears_in_delta = 0
        if self.lifetime == delta.lifetime:
            self.lifetime = None
        self.deleted -= delta.delete
        for key, by in delta.increments.items():
            # Numbers added since are left for the next commit. The values already include them.
            left = self.increments.pop(key, by) - by
            if left:
                self.increments[key] = left
        for key, plain in delta.set.items() if self.assigned or self.watched else ():
            # The handler still holds this list or dict and may change it, so watch it: compare it with its saved encoding.
            if key in self.watched:
                self.watched[key] = plain
            elif key in self.assigned and self.assigned[key] is None:
                del self.assigned[key]
                self.watched[key] = plain
            elif self.assigned.get(key) == plain:
                del self.assigned[key]
            # Otherwise the key was assigned or deleted again in the meantime, and that change stays pending.
        return bool(
            self.assigned or self.watched or self.increments or self.deleted or self.clears or self.lifetime is not None
        )


class TrackedValues:
    """The stored values, the values this request has read, and its changes.

    Attributes:
        record: the stored record, as last seen; ``None`` for a session that is not stored.
        changes: what may differ from the stored values; ``None`` for most requests, which ask for no delta then.
        _stored: the encoded values of the record that the handler has neither deleted nor cleared.
        _values: the decoded values that it has read or changed.
    """

    record: Record | None
    changes: _Changes | None
    _codec: Codec
    _stored: dict[str, bytes]
    #: Limit of all encoded keys and values in bytes.
    _max_size: int
    #: Whether another request's record has become the base. From then on ``_values`` may hold numbers that were read before,
    #: so increments are added to the stored ones.
    _is_rebased = False

    def _begin(self, record: Record | None) -> None:
        self.record = record
        self.changes = None
        self._stored = record.data if record is not None else {}
        if HISTORY in self._stored:
            self._stored = _values_in(self._stored)
        self._values: dict[str, JSONValue] = {}

    def _base_on(self, record: Record) -> None:
        """Apply the pending changes to another record from now on."""
        self.record, stored, changes = record, record.data, self.changes
        if HISTORY in stored:
            stored = _values_in(stored)
        if changes is not None:
            gone = stored if changes.clears else changes.deleted
            stored = {key: value for key, value in stored.items() if key not in gone} if gone else stored
        self._stored = stored

    def _changed(self) -> _Changes:
        if self.changes is None:
            self.changes = _Changes()
        return self.changes

    def delta(self) -> Delta:
        """Return the changes since the session was loaded or last saved, encoded but not encrypted.

        Raises:
            NotStorable: a value inside a list or dict is not JSON, or an incremented value is no longer a number.
            SessionTooLarge: all values together exceed the limit.
        """
        changes = self.changes
        if changes is None:
            return NO_CHANGES
        if self._is_rebased:
            self._sum_again()
        encode, values = self._codec.encode, self._values
        changed: dict[str, bytes] = {}
        for key, before in changes.watched.items():
            if (plain := encode(key, values[key])) != before:
                changed[key] = plain
        for key, assigned in changes.assigned.items():
            plain = encode(key, values[key]) if assigned is None else assigned
            if key not in self._stored or self._plain(key) != plain:
                changed[key] = plain
        expected: dict[str, bytes | None] = {}
        for key in changes.increments:
            changed[key] = encode(key, values[key])
            expected[key] = self._stored.get(key)
        if changed:
            self._check_size(changed)
        elif not (changes.deleted or changes.clears or changes.lifetime):
            return NO_CHANGES
        changes.clears_in_delta = changes.clears
        return Delta(
            set=changed,
            delete=frozenset(changes.deleted),
            clear=changes.clears > 0,
            expect=expected,
            lifetime=changes.lifetime,
            increments=changes.increments.copy(),
        )

    def mark_saved(self, record: Record, delta: Delta, *, forget: str | None = None) -> None:
        """Remove saved changes from the pending ones.

        The handler may change the session while the store works. Only the changes in ``delta`` are done; newer ones stay pending
        and are written by the next commit.

        Args:
            record: the stored record.
            delta: the changes that were saved.
            forget: a key that is decoded again at its next use.
        """
        if self.changes is not None and not self.changes.mark_saved(delta):
            self.changes = None
        self._base_on(record)
        assigned = self.changes.assigned if self.changes is not None else {}
        if forget is not None and forget not in assigned:
            self._forget(forget)
        if self._values.keys() <= record.data.keys():
            return
        # Forget values that this request has only read and another request has deleted.
        for key in self._values.keys() - record.data.keys() - assigned.keys():
            self._forget(key)

    def rebase(self, record: Record) -> None:
        """Apply the pending changes to the record that another request stored; the next delta adds to its numbers."""
        self._base_on(record)
        self._is_rebased = True

    def _sum_again(self) -> None:
        for key, by in self._changed().increments.items():
            number = self._codec.decode(self._name, self._plain(key)) if key in self._stored else 0
            self._values[key] = self._sum(key, number, by)

    @property
    def _name(self) -> str:
        """The session's handle, for messages and for the encryption of values; empty until it is stored."""
        return self.record.handle if self.record is not None else ""

    def _checked(self, key: str, value: JSONValue) -> bytes:
        plain = self._codec.encode(key, value)
        if len(plain) > self._max_size:
            raise SessionTooLarge(len(plain), self._max_size)
        return plain

    def _assign(self, key: str, value: JSONValue, plain: bytes) -> None:
        changes = self._changed()
        changes.forget(key)
        self._values[key] = value
        changes.assigned[key] = None if type(value) in (list, dict) else plain

    def _add(self, key: str, by: float, total: float) -> None:
        # Set the value last: a refused sum must leave everything unchanged.
        changes = self._changed()
        pending = changes.increments.get(key)
        changes.increments[key] = by if pending is None else self._sum(key, pending, by)
        self._values[key] = total

    def _delete(self, key: str) -> None:
        self._forget(key)
        if key in self._stored:
            self._changed().deleted.add(key)
            self._stored = {other: value for other, value in self._stored.items() if other != key}

    def _clear(self) -> None:
        cleared = _Changes()
        if self.changes is not None:
            cleared.lifetime, cleared.clears = self.changes.lifetime, self.changes.clears
            cleared.clears_in_delta = self.changes.clears_in_delta
        cleared.clears += self.record is not None
        self.changes, self._stored, self._values = cleared, {}, {}

    def _sum(self, key: str, number: JSONValue, by: float) -> float:
        if type(number) not in (int, float) or type(by) not in (int, float):
            raise NotStorable(key, "only numbers can be incremented")
        try:
            total: float = number + by  # type: ignore[operator]
        except OverflowError:
            raise NotStorable(key, "the sum is more than a float can hold") from None
        if type(total) is float or int(total).bit_length() > _LONG_BITS:
            # Encoding refuses infinity and NaN, which are not JSON, and integers with more digits than Python converts.
            self._codec.encode(key, total)
        return total

    def _plain(self, key: str) -> bytes:
        return self._codec.unseal(self._name, key, self._stored[key])

    def _forget(self, key: str) -> None:
        self._values.pop(key, None)
        if self.changes is not None:
            self.changes.forget(key)

    def _check_size(self, changed: dict[str, bytes]) -> None:
        stored = self._stored
        # A cheap upper bound first: four bytes per character. Hardly any session comes near its limit.
        values = sum(map(len, stored.values())) + sum(map(len, changed.values()))
        if values + 4 * (sum(map(len, stored)) + sum(map(len, changed))) <= self._max_size:
            return
        size = sum(len(key.encode()) + len(value) for key, value in {**stored, **changed}.items())
        if size > self._max_size:
            raise SessionTooLarge(size, self._max_size)


def _values_in(data: dict[str, bytes]) -> dict[str, bytes]:
    """Return the stored values that are the application's."""
    return {key: value for key, value in data.items() if key != HISTORY}
