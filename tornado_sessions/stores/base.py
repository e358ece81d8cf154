"""The contract of a store: what each method promises, and what a caller may rely on.

It must not know cookies, secrets in clear, encoding or policy. A store is boring: keys, bytes and times come in decided.

Every store gives four guarantees, which ``tornado_sessions.testing`` checks on real servers:

1. A change is one atomic step that needs the session to exist; what was destroyed never comes back.
2. An expired session is never returned as live, whatever the clean-up has done so far.
3. ``find``, ``count``, ``destroy_user`` cost O(log n + page), never a scan of everything.
4. A live session is never missing from the list, and the list never shows a dead one.
5. One damaged record costs one record: it is never returned as live, and no batch, list, count or clean-up fails for it.
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

#: ``end_all(None)`` does not believe times that lie further ahead of ``ending.at`` than this, in seconds.
FAR_AHEAD = 86400.0
#: Nor more than so many of them (Redis: 100 in each bucket): where there are more, it is ``ending.at`` that is wrong.
FAR_AT_ONCE = 1000


class Diagnosis(NamedTuple):
    """One sentence each, with the remedy.

    Attributes:
        faults: settings under which live sessions are lost.
        warnings: what to know: what a crash can cost.
    """

    faults: list[Message]
    warnings: list[Message]


class Store(ABC):
    """A place where sessions are kept.

    Building one is cheap and does no I/O. Each method may raise ``StoreUnavailable`` (cannot be reached, full,
    locked, too slow) and nothing else for reasons outside the arguments. A cancelled call may or may not have
    happened; it never happened by half.
    """

    #: Short name for messages, such as ``sqlite``.
    backend: str

    @classmethod
    def from_url(cls, url: str) -> Self:  # noqa: ARG003 - for those that override it
        """Make the store that a URL names; ``open_store`` calls it. Nothing is opened yet.

        A store without it can still be passed to ``Sessions`` as an object.

        Args:
            url: as it was given to ``open_store``, with its scheme and options.

        Raises:
            ConfigError: the URL is malformed or has an unknown option; the message never shows a password.
        """
        raise ConfigError(f"{cls.__name__} has no from_url(): pass the store itself to Sessions(…)")

    @abstractmethod
    async def open(self) -> None:
        """Connect and prepare the schema; harmless when already open. Raises ``StoreMismatch`` for a foreign schema."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what was accepted and let go of every resource; harmless when already closed."""

    @abstractmethod
    async def ping(self) -> None:
        """Return when the store answers a trivial question that touches what sessions need."""

    async def diagnose(self) -> Diagnosis:
        """What the server's settings mean for sessions; looked at by ``check``, never on the way of a request."""
        return Diagnosis([], [])

    @abstractmethod
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        """Read sessions by handle, with the global ``not_before``, in one step.

        A session with ``expires_at <= now`` comes as a ``Tombstone`` (cause idle, or absolute when
        ``absolute_at <= now``), an ended one as the tombstone that is kept, an unknown one as ``None``, and one
        whose stored bytes cannot be read as ``Damaged``.
        """

    @abstractmethod
    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        """Apply changes in order, each atomically and alone: one that fails leaves the others standing.

        Returns one entry for each: saved, gone, a conflict, or the exception of that item; a damaged session is gone.
        When it returns, what is saved survives the death of this process.
        """

    @abstractmethod
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        """End sessions, leave a tombstone for each and tell ``events``. Returns the handles that were live at
        ``ending.at``, and those that were damaged; an unknown or ended one is no error.
        """

    @abstractmethod
    async def destroy_user(self, user: str, ending: Ending, except_handle: str | None = None) -> list[str]:
        """End every session of ``user`` but ``except_handle``, found by index. Returns the handles ended."""

    @abstractmethod
    async def take(self, handle: str, ending: Ending) -> Record | None:
        """End one live session in one step and give its last state, values and all; ``None`` when it is not live.

        For moving it elsewhere: its tombstone stays, ``events`` are told nothing.
        """

    @abstractmethod
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        """End sessions by when they were created, in one write that succeeds when the store's memory is full.

        ``load`` does not apply ``not_before``, it reports it; ``find``, ``count`` and ``save`` (as ``GONE``) apply it. The write
        also sets the ended sessions aside: they hide nobody, and no list or count walks them until ``expire`` removes them.

        Args:
            not_before: sessions created earlier end; it only moves forward. ``None``: every session that exists ends, whatever
                the clocks of the hosts that created them say: ``not_before`` becomes ``ending.at``, or a microsecond after
                the latest ``created_at`` and ``last_seen_at`` in the store, whichever is later. A time more than
                ``FAR_AHEAD`` after ``ending.at`` does not count, or every later session would carry it; sessions created
                at such a time end one by one, as by ``destroy``, at most ``FAR_AT_ONCE`` of them.
            ending: goes into the tombstones.

        Returns:
            The ``not_before`` that holds now.
        """

    @abstractmethod
    async def find(self, query: Query) -> Page:
        """One page by keyset. Live means: not expired at ``query.now`` and not before ``not_before``.

        A damaged session is a row of its own, ``Damaged``, in the orders and filters that its index entries still allow.
        """

    @abstractmethod
    async def count(self, query: Query) -> Count:
        """How many sessions the query's filters match; cursor and limit are ignored."""

    @abstractmethod
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        """Remove at most ``limit`` sessions that ended by time (or by ``end_all``), leave tombstones kept until
        ``now + ending_kept_for`` seconds, tell ``events``, and remove old tombstones. Returns how many it
        removed; call again while that equals ``limit``.
        """

    @abstractmethod
    def events(self) -> AsyncGenerator[Event, None]:
        """What ends from now on, in any process that shares the store, each within a second. Ends with ``close``.

        Who stops listening before that closes the iterator (``contextlib.aclosing``), and so its connection. Delivery is at
        most once; a reader that must not miss anything also loads its handles from time to time.
        """

    async def swap(
        self,
        name: str,  # noqa: ARG002 - for those that override it
        expected: bytes | None,  # noqa: ARG002
        value: bytes | None,  # noqa: ARG002
        keep_until: float,  # noqa: ARG002
    ) -> Swapped:
        """Replace a small value that is no session, in one step, if it is still the expected one.

        What several processes must decide once is decided by it: which sessions a user with a limit has.

        Args:
            name: of the value; any text.
            expected: what must be stored: ``None`` when nothing is.
            value: what to store instead; ``None`` removes it.
            keep_until: when the store may forget it, in UTC seconds; like a session it expires by itself.

        Returns:
            Whether it was replaced, and what is stored now.

        Raises:
            UsageError: this store cannot do so; only ``max_sessions_per_user`` needs it.
        """
        raise UsageError(f"a {self.backend} store cannot limit sessions: it has no swap()")
