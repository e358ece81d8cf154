"""``Session``: the mapping that a handler uses, which knows its own changes key by key.

It must not know a store, a cookie or the event loop. Values are decoded when first read; a change inside a list or
dict is found by encoding it again at the commit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping

from tornado_sessions.codec import Codec, JSONValue
from tornado_sessions.config import MAX_LIFETIME
from tornado_sessions.errors import NotStorable, SessionTooLarge, UsageError
from tornado_sessions.facts import SessionFacts
from tornado_sessions.lifecycle import NO_CHANGES, Delta, Lifetime, size_of
from tornado_sessions.record import Record, Tombstone

__all__ = ["Session"]

Transform = Callable[[JSONValue], JSONValue]
AtomicTransform = Callable[["Session", str, Transform, JSONValue], Awaitable[JSONValue]]


class Session(SessionFacts, MutableMapping[str, JSONValue]):
    """One visitor's or user's values, by key.

    Values are str, int, float, bool, None, list and dict, nested; anything else is refused at assignment with
    ``NotStorable``. Only keys that changed are written, so two requests at once never undo each other's.

    Attributes:
        ended: how the session that this browser held before ended, if that is known.
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
        #: Why a session that is not stored yet can be stored no more; ``None`` while it can.
        self._frozen: str | None = None
        self._begin(record)

    def _begin(self, record: Record | None) -> None:
        self._record = record
        self._stored: dict[str, bytes] = record.data if record is not None else {}
        self._values: dict[str, JSONValue] = {}
        self._watched: dict[str, bytes] = {}
        self._assigned: dict[str, bytes | None] = {}
        self._deleted: set[str] = set()
        self._increments: dict[str, int | float] = {}
        self._clears = self._told_clears = 0
        self._lifetime: Lifetime | None = None

    # --- the mapping ---------------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> JSONValue:
        self.accessed = True
        if key in self._values:
            return self._values[key]
        if not self._still_stored(key):
            raise KeyError(key)
        plain = self._plain(key)
        value = self._codec.decode(self._name, plain)
        self._values[key] = value
        if type(value) in (list, dict):
            self._watched[key] = plain
        return value

    def __setitem__(self, key: str, value: JSONValue) -> None:
        self.accessed = True
        if type(key) is not str:
            raise NotStorable(key, "a key must be str")
        try:
            key.encode()
        except UnicodeEncodeError:
            raise NotStorable(key, "a key with a lone surrogate is not Unicode") from None
        if self._frozen is not None:
            raise UsageError(self._frozen)
        plain = self._codec.encode(key, value)
        if len(plain) > self._max_size:
            raise SessionTooLarge(len(plain), self._max_size)
        self._forget(key)
        self._values[key] = value
        self._assigned[key] = None if type(value) in (list, dict) else plain

    def __delitem__(self, key: str) -> None:
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
        return key in self._values or (isinstance(key, str) and self._still_stored(key))

    def clear(self) -> None:
        """Remove every key, also those that another request writes meanwhile. The session itself stays."""
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

    def increment(self, key: str, by: float = 1) -> int | float:
        """Add to a number, exactly, however many requests and processes do so at once.

        Args:
            key: a missing one counts as 0.
            by: what to add, int or float; negative to subtract.

        Returns:
            The sum as this request sees it; the store adds ``by`` to what it holds then.

        Raises:
            NotStorable: the value, or ``by``, is no number.
        """
        value = self.get(key, 0)
        if type(value) not in (int, float) or type(by) not in (int, float):
            raise NotStorable(key, "only numbers can be incremented")
        total: int | float = value + by  # type: ignore[operator]
        fresh = self._record is None or self._clears or key in self._assigned or key in self._deleted
        if fresh:
            self[key] = total
            return total
        if type(total) is float:
            # Infinity is no JSON; a sum of integers always is.
            self._codec.encode(key, total)
        self._values[key] = total
        self._increments[key] = self._increments.get(key, 0) + by
        return total

    async def transform(self, key: str, function: Transform, default: JSONValue = None) -> JSONValue:
        """Replace a value by ``function`` of it, atomically: no other write comes between reading and writing.

        Args:
            key: which value.
            function: gets the stored value and returns the new one; it may run more than once, so it does nothing else.
            default: what it gets where the key is missing.

        Returns:
            The value that was stored.

        Raises:
            SessionGone: the session ended meanwhile.
            NotStorable: the function returned something that is not JSON.
        """
        if self._record is None or self._transform is None:
            self[key] = function(self.get(key, default))
            return self[key]
        self.accessed = True
        return await self._transform(self, key, function, default)

    def set_lifetime(self, seconds: float, *, idle_timeout: float | None = None, persistent: bool = True) -> None:
        """Give this session a life of its own, such as "remember me".

        Args:
            seconds: it ends so long from now, whatever happens; at most 400 days.
            idle_timeout: seconds without use after which it ends before that; ``None``: it may rest.
            persistent: its cookie outlives the browser.
        """
        if not 0 < seconds <= MAX_LIFETIME or (idle_timeout is not None and not idle_timeout > 0):
            raise UsageError(
                f"a lifetime is more than 0 seconds and at most 400 days, not {seconds!r}, {idle_timeout!r}"
            )
        idle = None if idle_timeout is None else float(idle_timeout)
        self._lifetime = Lifetime(float(seconds), persistent, idle)

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
            changed[key] = self._codec.encode(key, self._stored_number(key) + by)
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

    def settle(
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
        # Others may have added as well: what is stored now is read when it is asked for.
        self._values[key] = self._stored_number(key) + left

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
        """Drop what is pending and start again from what is stored; a frozen session accepts changes again."""
        self._begin(record)
        self._frozen = None

    def freeze(self, why: str, *, also_stored: bool = False) -> None:
        """Refuse changes from now on, because nothing would store them.

        Args:
            why: the message of the ``UsageError``.
            also_stored: whether a session that is stored is frozen too; else only one that is new, since its cookie cannot be
                sent any more.
        """
        if self._record is None or also_stored:
            self._frozen = why

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
