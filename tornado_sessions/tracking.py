"""``TrackedValues``: decode the values of a session when they are first read, and track changes since they were stored.

It must not know a store, a cookie, the event loop or the methods for handlers: those are in ``session``.
"""

from __future__ import annotations

from collections.abc import Mapping

from tornado_sessions.change import NO_CHANGES, Delta, Lifetime
from tornado_sessions.codec import Codec, JSONValue
from tornado_sessions.errors import NotStorable, SessionTooLarge
from tornado_sessions.history import HISTORY
from tornado_sessions.record import Record

__all__ = ["TrackedValues"]

# Larger integers are checked: Python converts at most a few thousand digits to text.
_LONG_BITS = 64


class TrackedValues:
    """The stored values, the values this request has read, and its changes.

    A key is in at most one of these collections of changes:

    - ``_assigned``: keys that the handler assigned, with the encoded value; ``None`` for a list or dict, which may still change
      and is encoded at the commit.
    - ``_watched``: lists and dicts that were read, with their encoding at that time; the value has changed if its encoding has.
    - ``_increments``: the sum of the numbers added. Written with the stored value as a guard, so no other sum is overwritten.
    - ``_deleted``: keys that the handler removed.

    Attributes:
        record: the stored record, as last seen; ``None`` for a session that is not stored.
        may_differ: whether there may be changes. False for most requests, which ask for no delta then.
        _codec: encodes and decodes the values.
        _max_size: limit of all encoded keys and values in bytes.
    """

    record: Record | None
    may_differ: bool
    _codec: Codec
    _max_size: int

    def _begin(self, record: Record | None) -> None:
        self.record = record
        self.may_differ = False
        self._stored: Mapping[str, bytes] = record.data if record is not None else {}
        if HISTORY in self._stored:
            self._stored = _values_in(self._stored)
        self._values: dict[str, JSONValue] = {}
        self._watched: dict[str, bytes] = {}
        self._assigned: dict[str, bytes | None] = {}
        self._deleted: set[str] = set()
        self._increments: dict[str, int | float] = {}
        #: Number of calls of ``clear``, and the number of them that the latest delta contains.
        self._clears = self._clears_in_delta = 0
        self._lifetime: Lifetime | None = None
        #: Whether another request's record has become the base. From then on ``_values`` may hold numbers that were read before,
        #: so increments are added to the stored ones.
        self._is_rebased = False

    def delta(self) -> Delta:
        """Return the changes since the session was loaded or last saved, encoded but not encrypted.

        Raises:
            NotStorable: a value inside a list or dict is not JSON, or an incremented value is no longer a number.
            SessionTooLarge: all values together exceed the limit.
        """
        if not self.may_differ:
            return NO_CHANGES
        if self._is_rebased:
            self._sum_again()
        encode, values = self._codec.encode, self._values
        changed: dict[str, bytes] = {}
        for key, before in self._watched.items():
            if (plain := encode(key, values[key])) != before:
                changed[key] = plain
        for key, assigned in self._assigned.items():
            plain = encode(key, values[key]) if assigned is None else assigned
            if not self._is_stored(key) or self._plain(key) != plain:
                changed[key] = plain
        expected: dict[str, bytes | None] = {}
        for key in self._increments:
            changed[key] = encode(key, values[key])
            expected[key] = self._stored.get(key)
        if changed:
            self._check_size(changed)
        elif not (self._deleted or self._clears or self._lifetime):
            return NO_CHANGES
        self._clears_in_delta = self._clears
        return Delta(
            set=changed,
            delete=frozenset(self._deleted),
            clear=self._clears > 0,
            expect=expected,
            lifetime=self._lifetime,
            increments=self._increments.copy(),
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
        self.record, self._stored = record, _values_in(record.data)
        # Calls are counted, because a flag would lose a clear() that came after the delta.
        self._clears -= self._clears_in_delta
        self._clears_in_delta = 0
        if self._lifetime == delta.lifetime:
            self._lifetime = None
        self._deleted -= delta.delete
        for key, by in delta.increments.items():
            # Numbers added since are left for the next commit. ``_values`` already includes them.
            left = self._increments.pop(key, by) - by
            if left:
                self._increments[key] = left
        for key, plain in delta.set.items():
            # The handler still holds this list or dict and may change it, so watch it: compare it with its saved encoding.
            if key in self._watched:
                self._watched[key] = plain
            elif key in self._assigned and self._assigned[key] is None:
                del self._assigned[key]
                self._watched[key] = plain
            elif self._assigned.get(key) == plain:
                del self._assigned[key]
            # Otherwise the key was assigned or deleted again in the meantime, and that change stays pending.
        if forget is not None and forget not in self._assigned:
            self._forget(forget)
        # Forget values that this request has only read and another request has deleted.
        for key in self._values.keys() - record.data.keys() - self._assigned.keys():
            self._forget(key)
        self.may_differ = bool(
            self._assigned or self._watched or self._increments or self._deleted or self._clears or self._lifetime
        )

    def rebase(self, record: Record) -> None:
        """Apply the pending changes to the record that another request stored; the next delta adds to its numbers."""
        self.record, self._stored = record, _values_in(record.data)
        self._is_rebased = True

    def _sum_again(self) -> None:
        for key, by in self._increments.items():
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
        self._forget(key)
        self.may_differ = True
        self._values[key] = value
        self._assigned[key] = None if type(value) in (list, dict) else plain

    def _add(self, key: str, by: float, total: float) -> None:
        # Set the value last: a refused sum must leave everything unchanged.
        pending = self._increments.get(key)
        self._increments[key] = by if pending is None else self._sum(key, pending, by)
        self.may_differ = True
        self._values[key] = total

    def _delete(self, key: str) -> None:
        self._forget(key)
        if key in self._stored and not self._clears:
            self.may_differ = True
            self._deleted.add(key)

    def _clear(self) -> None:
        for pending in (self._values, self._watched, self._assigned, self._increments, self._deleted):
            pending.clear()
        self._clears += self.record is not None
        self.may_differ = True

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

    def _is_stored(self, key: str) -> bool:
        return not self._clears and key in self._stored and key not in self._deleted

    def _plain(self, key: str) -> bytes:
        return self._codec.unseal(self._name, key, self._stored[key])

    def _forget(self, key: str) -> None:
        self._values.pop(key, None)
        self._watched.pop(key, None)
        self._assigned.pop(key, None)
        self._increments.pop(key, None)
        self._deleted.discard(key)

    def _check_size(self, changed: dict[str, bytes]) -> None:
        stored = self._stored
        # A cheap upper bound first: four bytes per character. Hardly any session comes near its limit.
        values = sum(map(len, stored.values())) + sum(map(len, changed.values()))
        if values + 4 * (sum(map(len, stored)) + sum(map(len, changed))) <= self._max_size:
            return
        after = {key: value for key, value in stored.items() if self._is_stored(key)} | changed
        size = sum(len(key.encode()) + len(value) for key, value in after.items())
        if size > self._max_size:
            raise SessionTooLarge(size, self._max_size)


def _values_in(data: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return the stored values that are the application's."""
    return {key: value for key, value in data.items() if key != HISTORY} if HISTORY in data else data
