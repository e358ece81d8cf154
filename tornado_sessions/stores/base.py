"""The contract of a session store: what each method guarantees, and what a caller may rely on.

It must not know cookies, plain-text secrets, encoding or policy. A store decides nothing: keys, bytes and times are arguments.

Every store guarantees the following; ``tornado_sessions.testing`` checks it on real servers:

1. A change is one atomic step that needs the session to exist; a destroyed session never comes back.
2. An expired session is never returned as live, whether or not it has been removed.
3. ``find``, ``count`` and ``destroy_user`` cost O(log n + page) and never scan all sessions.
4. A live session is never missing from a list, and a list never shows an ended one.
5. A damaged record affects only itself: it is never returned as live, and no batch, list, count or clean-up fails because of it.

For every method:

- **Missing** sessions are no error: an unknown handle is ``None``, ``Outcome.GONE`` or left out of the result.
- **Errors** other than wrong arguments are ``StoreUnavailable`` (unreachable, full, locked or too slow: the same call may
  succeed later) and ``StoreMismatch`` (foreign or damaged schema: it will not). A write that raised may or may not have happened.
- **Atomicity** is per session, not per batch: every item is written as a whole or not at all, and a failed item does not
  affect the others.
- **Cancelled** calls may or may not have happened, each item as a whole; the store remains usable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Self, TypeAlias

from tornado_sessions.errors import ConfigError, UsageError
from tornado_sessions.messages import Message
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import (
    Change,
    Conflict,
    Create,
    Damaged,
    Ending,
    Event,
    Loaded,
    Outcome,
    Record,
    Swapped,
    Tombstone,
)

__all__ = ["FAR_AHEAD", "FAR_AT_ONCE", "Diagnosis", "Found", "Store"]

#: The stored item of a handle, with the store's ``not_before``.
Found: TypeAlias = tuple[Record | Tombstone | Damaged | None, float]

#: ``end_all(None)`` ignores times that are further ahead of ``ending.at`` than this, in seconds.
FAR_AHEAD = 86400.0
#: If more sessions than this have such a time (Redis: about 1,600), then ``ending.at`` is wrong and the times are used.
FAR_AT_ONCE = 1000


class Diagnosis(NamedTuple):
    """Problems of the server's settings, one sentence each with the remedy.

    Attributes:
        faults: settings that lose live sessions.
        warnings: settings that lose data in a crash.
        facts: what operators want to know about the server, such as its version and memory.
    """

    faults: list[Message]
    warnings: list[Message]
    facts: Sequence[Message] = ()


class Store(ABC):
    """The abstract base class of session stores. Creating a store is cheap and does no I/O."""

    #: Short name for messages, such as ``sqlite``.
    backend: str
    #: How many calls of ``load``, and of ``save``, one process may have in progress; later items go together in the next
    #: call. ``None``: any number. A limit saves work where a call costs far more than one more item in it.
    at_once: int | None = None

    @classmethod
    def from_url(cls, url: str) -> Self:  # noqa: ARG003 - for those that override it
        """Create the store for a URL, without opening it; ``open_store`` calls this.

        A store class without this method can still be passed to ``Sessions`` as an object.

        Raises:
            ConfigError: the URL is malformed or has an unknown option. The message never contains a password.
        """
        raise ConfigError(f"{cls.__name__} has no from_url(): pass the store itself to Sessions(…)")

    @abstractmethod
    async def open(self) -> None:
        """Connect and prepare the schema. Does nothing if open. After an error or a cancellation it can be called again."""

    @abstractmethod
    async def close(self) -> None:
        """Finish accepted calls and release every resource. Does nothing if closed. ``open`` may follow."""

    @abstractmethod
    async def ping(self) -> None:
        """Return after the store has answered a trivial query on the data of sessions."""

    async def diagnose(self) -> Diagnosis:
        """Return the problems of the server's settings. The command ``check`` calls this; requests never do."""
        return Diagnosis([], [])

    async def probe_handles(self) -> list[str]:
        """Return new handles for the command ``check``: one on each part of the store, such as a node of a cluster.

        Empty if the store has only one part: any handle will do.
        """
        return []

    @abstractmethod
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        """Read sessions and the global ``not_before``, in one consistent snapshot.

        A session with ``expires_at <= now`` is returned as a ``Tombstone`` (cause absolute if ``absolute_at <= now``, else
        idle), an ended one as its stored tombstone, an unknown one as ``None``, and an unreadable one as ``Damaged``.
        ``not_before`` is reported, not applied.
        """

    def peek(self, handle: str) -> Found | None:  # noqa: ARG002 - for those that override it
        """Return at once what ``load`` would return for one handle, with ``not_before``; a record even if it has expired.

        A store in this process's memory can answer without waiting, which spares a turn of the event loop. ``None`` if this
        store, or this call, cannot: then the caller loads the session.
        """
        return None

    @abstractmethod
    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        """Apply changes in order.

        Returns:
            For each change: saved, gone (missing, ended, expired, damaged, or a handle that is taken), a conflict with the stored
            record, or the exception of that item. A saved change survives a crash of this process.
        """

    @abstractmethod
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        """End sessions, and leave a tombstone and publish an event for each.

        Returns:
            The handles that were live at ``ending.at`` or damaged. If several calls end the same session, only one returns its
            handle.
        """

    @abstractmethod
    async def destroy_user(
        self, user: str, ending: Ending, except_handle: str | None = None, at_most: int | None = None
    ) -> list[str]:
        """End every session of a user except one, as ``destroy`` does. Sessions created during the call may remain.

        Args:
            user: the id of the user.
            ending: for the tombstones.
            except_handle: the session to keep.
            at_most: end no more than this number of sessions, whichever; ``None`` ends all.
        """

    @abstractmethod
    async def take(self, handle: str, ending: Ending) -> Record | None:
        """End one live session to move it to another store. It leaves a tombstone but publishes no event.

        Returns:
            Its last state with all values; ``None`` if it is not live. Of several concurrent callers only one gets it.
        """

    @abstractmethod
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        """End sessions by their creation time, in one write that succeeds even if the store's memory is full.

        From then on ``find``, ``count`` and ``save`` treat them as ended, and no list or count reads them; ``expire``
        removes them.

        Args:
            not_before: sessions created earlier end; it only moves forward. ``None`` ends every existing session, even if its
                host's clock is ahead: ``not_before`` becomes ``ending.at``, or a microsecond after the latest ``created_at`` or
                ``last_seen_at`` in the store, whichever is later. Times more than ``FAR_AHEAD`` after ``ending.at`` are
                ignored, or every later session would start at such a time; sessions created at such a time are ended one
                by one, as by ``destroy``, at most ``FAR_AT_ONCE`` of them.
            ending: for the tombstones.

        Returns:
            The ``not_before`` in effect now. After an error, a second call completes what was done in part.
        """

    async def swap(
        self,
        name: str,  # noqa: ARG002 - for those that override it
        expected: bytes | None,  # noqa: ARG002
        value: bytes | None,  # noqa: ARG002
        keep_until: float,  # noqa: ARG002
    ) -> Swapped:
        """Compare and set a small value that is not a session, in one atomic step.

        Processes use it to agree on a value, such as the list of a user's sessions if their number is limited.

        Args:
            name: of the value; any text.
            expected: the value that must be stored; ``None`` if there must be none.
            value: the new value; ``None`` removes the stored one.
            keep_until: time in UTC seconds after which the store may remove it.

        Returns:
            Whether the value was replaced, and the value stored now.

        Raises:
            UsageError: this store does not support it. Only ``max_sessions_per_user`` needs it.
        """
        raise UsageError(f"a {self.backend} store cannot limit sessions: it has no swap()")

    @abstractmethod
    async def find(self, query: Query) -> Page:
        """Return one page. A session is live if ``expires_at > query.now`` and it was created at ``not_before`` or later.

        A damaged session is a row of its own, ``Damaged``, in the orders and filters that its index entries allow. If few rows
        match, a page may have fewer rows than its limit and still a next cursor. ``previous_cursor`` leads to the rows before the
        page, as many as fit in one; it is ``None`` if there are none.

        Raises:
            QueryError: the cursor was not returned by a page of this order.
        """

    @abstractmethod
    async def count(self, query: Query) -> Count:
        """Return the number of matching sessions, exact or as a lower bound. Cursor and limit are ignored."""

    @abstractmethod
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        """Remove sessions that have expired or that ``end_all`` ended, and old tombstones.

        Each session leaves a tombstone, kept until ``now + ending_kept_for`` (seconds). An expired session also publishes an event.

        Returns:
            The number of removed sessions, at most ``limit``. Call again while it equals ``limit``.
        """

    @abstractmethod
    def events(self) -> AsyncGenerator[Event, None]:
        """Yield an event within a second for each session that ends from now on, in any process that shares the store.

        The iteration ends with ``close``. Use ``contextlib.aclosing`` to stop earlier, since that closes the connection.
        Delivery is at most once; a reader that must not miss an end also loads its handles from time to time.

        Raises:
            StoreUnavailable: the connection was lost; iterate again.
        """
