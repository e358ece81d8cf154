"""The contract of a session store: what each method promises, and what a caller may rely on.

It must not know cookies, secrets in clear, encoding or policy. A store is boring: keys, bytes and times come in decided.

Every store guarantees, and ``tornado_sessions.testing`` checks on real servers:

1. A change is one atomic step that needs the session to exist; a destroyed session never comes back.
2. An expired session is never returned as live, whether or not it has been removed.
3. ``find``, ``count`` and ``destroy_user`` cost O(log n + page), never a scan of everything.
4. A live session is never missing from a list, and a list never shows a dead one.
5. One damaged record costs one record: it is never returned as live, and no batch, list, count or clean-up fails because of it.

For every method:

- **Missing** is no error: an unknown handle is ``None``, ``Outcome.GONE`` or left out of the answer.
- **Errors** for reasons outside the arguments are ``StoreUnavailable`` (unreachable, full, locked or too slow: the same call may
  succeed later) and ``StoreMismatch`` (foreign or damaged schema: it will not). A write that raised may or may not have happened.
- **Atomic** is each session, not a batch: every item happens as a whole or not at all, and one that fails leaves the others alone.
- **Cancelled** calls may or may not have happened, each item as a whole; the store remains usable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Self

from tornado_sessions.errors import ConfigError, UsageError
from tornado_sessions.messages import Message
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import Change, Conflict, Create, Ending, Event, Loaded, Outcome, Record, Swapped

__all__ = ["FAR_AHEAD", "FAR_AT_ONCE", "Diagnosis", "Store"]

#: ``end_all(None)`` does not believe times further ahead of ``ending.at`` than this, in seconds.
FAR_AHEAD = 86400.0
#: If more sessions than this have such a time (Redis: 100 in each bucket), ``ending.at`` is wrong, and they are believed.
FAR_AT_ONCE = 1000


class Diagnosis(NamedTuple):
    """One sentence each, with the remedy.

    Attributes:
        faults: settings under which live sessions are lost.
        warnings: settings under which a crash loses something.
    """

    faults: list[Message]
    warnings: list[Message]


class Store(ABC):
    """A place where sessions are kept. Building one is cheap and does no I/O."""

    #: Short name for messages, such as ``sqlite``.
    backend: str

    @classmethod
    def from_url(cls, url: str) -> Self:  # noqa: ARG003 - for those that override it
        """Make the store that a URL names, without opening it; ``open_store`` calls this.

        A store without it can still be passed to ``Sessions`` as an object.

        Raises:
            ConfigError: the URL is malformed or has an unknown option; the message never shows a password.
        """
        raise ConfigError(f"{cls.__name__} has no from_url(): pass the store itself to Sessions(…)")

    @abstractmethod
    async def open(self) -> None:
        """Connect and prepare the schema; does nothing when open. After an error or a cancellation it can be called again."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what was accepted and release every resource; does nothing when closed. ``open`` may follow."""

    @abstractmethod
    async def ping(self) -> None:
        """Return once the store has answered a trivial query that touches what sessions need."""

    async def diagnose(self) -> Diagnosis:
        """Return what the server's settings mean for sessions; for ``check``, never called in a request."""
        return Diagnosis([], [])

    @abstractmethod
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        """Read sessions and the global ``not_before``, as they were at one moment.

        A session with ``expires_at <= now`` comes as a ``Tombstone`` (cause absolute when ``absolute_at <= now``, else
        idle), an ended one as the tombstone that is kept, an unknown one as ``None``, and an unreadable one as
        ``Damaged``. ``not_before`` is reported, not applied.
        """

    @abstractmethod
    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        """Apply changes in order.

        Returns:
            For each: saved, gone (missing, ended, expired, damaged, or a handle that is taken), a conflict with what is
            stored, or the exception of that item. What is saved survives the death of this process.
        """

    @abstractmethod
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        """End sessions, leave a tombstone and publish an event for each.

        Returns:
            The handles that were live at ``ending.at`` or damaged. Of several calls that end the same session, one gets
            its handle.
        """

    @abstractmethod
    async def destroy_user(self, user: str, ending: Ending, except_handle: str | None = None) -> list[str]:
        """End every session of a user but one, as ``destroy`` does. Sessions created during the call may remain."""

    @abstractmethod
    async def take(self, handle: str, ending: Ending) -> Record | None:
        """End one live session to move it elsewhere; its tombstone remains, and there is no event.

        Returns:
            Its last state with all values, to one of several callers; ``None`` if it is not live.
        """

    @abstractmethod
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        """End sessions by when they were created, in one write that succeeds even when the store's memory is full.

        From then on ``find``, ``count`` and ``save`` treat them as ended, and no list or count walks them; ``expire``
        removes them.

        Args:
            not_before: sessions created earlier end; it only moves forward. ``None``: every existing session ends, whatever the
                clocks of the hosts that created them say. Then ``not_before`` becomes ``ending.at``, or a microsecond after the
                latest ``created_at`` and ``last_seen_at`` in the store, whichever is later. Times more than ``FAR_AHEAD`` after
                ``ending.at`` do not count, or every later session would carry one; sessions created at such a time end
                one by one, as by ``destroy``, at most ``FAR_AT_ONCE`` of them.
            ending: for the tombstones.

        Returns:
            The ``not_before`` that holds now. After an error, calling again completes what was done in part.
        """

    async def swap(
        self,
        name: str,  # noqa: ARG002 - for those that override it
        expected: bytes | None,  # noqa: ARG002
        value: bytes | None,  # noqa: ARG002
        keep_until: float,  # noqa: ARG002
    ) -> Swapped:
        """Replace a small value that is no session, in one step, if it is the expected one.

        Processes use it to decide something once, such as which sessions a user with a limit has.

        Args:
            name: of the value; any text.
            expected: what must be stored; ``None`` for nothing.
            value: what to store instead; ``None`` removes it.
            keep_until: when the store may forget it, in UTC seconds.

        Returns:
            Whether it was replaced, and what is stored now.

        Raises:
            UsageError: this store cannot do it; only ``max_sessions_per_user`` needs it.
        """
        raise UsageError(f"a {self.backend} store cannot limit sessions: it has no swap()")

    @abstractmethod
    async def find(self, query: Query) -> Page:
        """Return one page. Live means: ``expires_at > query.now``, and created at ``not_before`` or later.

        A damaged session is a row of its own, ``Damaged``, in the orders and filters that its index entries allow. A page
        may have fewer rows than its limit and still a cursor, when few rows match.

        Raises:
            QueryError: the cursor is not one that a page of this order gave.
        """

    @abstractmethod
    async def count(self, query: Query) -> Count:
        """Return how many sessions the filters match, at least or exactly; cursor and limit are ignored."""

    @abstractmethod
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        """Remove sessions that ended by time or by ``end_all``, and old tombstones.

        Each leaves a tombstone, kept until ``now + ending_kept_for`` seconds; those that ended by time are published as events.

        Returns:
            The number of sessions removed, at most ``limit``; call again while it equals ``limit``.
        """

    @abstractmethod
    def events(self) -> AsyncGenerator[Event, None]:
        """Yield what ends from now on, in any process that shares the store, within a second. Ends with ``close``.

        Use ``contextlib.aclosing`` to stop listening earlier, since that closes the connection. Delivery is at most once;
        a reader that must not miss an end also loads its handles from time to time.

        Raises:
            StoreUnavailable: the connection was lost; listen again.
        """
