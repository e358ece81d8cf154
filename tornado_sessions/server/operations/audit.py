"""``Audit``: the audit log, a hash chain that makes changes detectable.

An entry is written before its action runs, and its outcome is an entry of its own, so every action leaves a trace: if the process
dies in between, the action remains without an outcome. Each entry's hash is an HMAC over its fields and the previous hash; an
attacker with access to the store needs the server's secret to change, delete or insert an entry and repair the chain after it.
``audit_head`` remembers the end of the chain in other places. It must not know pages or how sessions are ended. It has more than
300 lines because everything that reads or extends the chain is here.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import Context
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.errors import SessionError
from tornado_sessions.server.documents import Document, DocumentStore, Log
from tornado_sessions.server.operations.action_names import NEVER_HELD_UP, Action
from tornado_sessions.server.operations.audit_check import CHANGED, VERIFIED, Checker
from tornado_sessions.server.operations.audit_head import Head, HeadKeeper
from tornado_sessions.server.operations.entries import (
    AuditQuery,
    Entry,
    hash_of,
    outcome_tag,
    read_entry,
    tags_of,
    time_of,
    with_outcome,
)
from tornado_sessions.server.request_context import request_id
from tornado_sessions.server.roles import Role
from tornado_sessions.session_events import SessionEvent, Theft

__all__ = ["AUDIT_KIND", "SERVER", "Actor", "Audit", "is_no_user", "new_ref"]

logger = logging.getLogger("tornado_sessions.audit")

T = TypeVar("T")

AUDIT_KIND = "audit"
#: Maximum length of a stored text, in characters.
_MAX_TEXT = 500
_PAGE = 500
#: Seconds between two writes of the head: entries in quick succession share one.
_HEAD_INTERVAL = 0.05
#: Seconds between two attempts to store the entries that wait for the store, and their maximum number.
_RETRY_INTERVAL = 1.0
_MAX_WAITING = 10_000


class Actor(NamedTuple):
    """The author of an entry.

    Attributes:
        name: a username, ``token NAME``, ``cli`` or ``server``.
        ip: the client's IP address; empty for commands.
        role: the role whose permissions apply.
        user_agent, request_id, session: the browser, the request and the handle of its session; empty for commands.
    """

    name: str
    ip: str = ""
    role: Role = Role.ADMIN
    user_agent: str = ""
    request_id: str = ""
    session: str = ""

    @classmethod
    def of(cls, event: SessionEvent) -> Actor:
        """Return the user of a session, at the device that caused an event."""
        return cls(event.user or "", event.ip, user_agent=event.user_agent, session=event.handle)


#: The actor of entries that the server writes on its own.
SERVER = Actor("server")


def is_no_user(actor: str) -> bool:
    """Return whether the actor of an entry is the server, a command or an API token."""
    return actor in ("", SERVER.name, "cli") or actor.startswith("token ")


class Audit:
    """The audit log. Each coroutine may raise ``StoreUnavailable``.

    Args:
        documents: stores the entries.
        clock: the time in UTC seconds.
        keys: the server's secrets, newest first. The newest hashes new entries; the older ones verify earlier entries.
        head_file: a file for a copy of the head; ``None`` if the server has no directory of its own.
    """

    def __init__(
        self,
        documents: DocumentStore,
        clock: Callable[[], float],
        keys: Sequence[str],
        head_file: Path | None = None,
    ) -> None:
        self._log = Log(documents, AUDIT_KIND, time_of)
        self._clock = clock
        self._keys = [hmac.digest(key.encode(), b"tornado_sessions audit", "sha256") for key in keys]
        self.heads = HeadKeeper(documents, clock, self._keys, head_file)
        self.checker = Checker(self._log, self.heads, self._keys, documents)
        self.look, self.verify = self.checker.look, self.checker.verify
        self._waiting: deque[Entry] = deque()
        #: How many of them are just being stored.
        self._leaving = 0
        self._retrying = BackgroundLoop(self._store_waiting, _RETRY_INTERVAL, "audit entries wait for the store")
        self._is_started = False
        self._starting = asyncio.Lock()
        self._advancing: asyncio.Task[None] | None = None
        #: Begins ``_advancing``: a timer, because a sleeping task would be lost with a loop that ends.
        self._next_head: asyncio.TimerHandle | None = None
        self._head_at = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether entries wait for the store, or are just being stored."""
        return bool(self._waiting or self._leaving)

    async def close(self) -> None:
        """Store the head and the entries that still wait, if the store allows it."""
        await self._retrying.stop()
        if self._next_head is not None:
            self._next_head.cancel()
            self._next_head = None
        if self._advancing is not None:
            self._advancing.cancel()
            await asyncio.gather(self._advancing, return_exceptions=True)
        try:
            await self._store_waiting()
            if self.heads.is_behind:
                await self.heads.write()
        except SessionError as error:
            logger.warning("the end of the audit log was not stored: %s", error)

    # --- writing -------------------------------------------------------------------------------------------------

    async def note(
        self,
        actor: Actor,
        act: Action,
        *,
        user: str = "",
        target: str = "",
        reason: str = "",
        ended: int | None = None,
        error: str = "",
        ref: str = "",
    ) -> Entry:
        """Write one entry and return it; for the arguments see ``Entry``.

        If the store refuses it and the action is one that ends sessions or blocks a user, the entry goes to the log
        ``tornado_sessions.audit``, and into the store as soon as that works again: a full disk must not keep a session alive.

        Raises:
            StoreUnavailable: the entry may or may not have been written; for any other action.
        """
        entry = Entry(
            at=self._clock(),
            actor=actor.name[:_MAX_TEXT],
            user=user[:_MAX_TEXT],
            ip=actor.ip,
            user_agent=actor.user_agent[:_MAX_TEXT],
            request_id=(actor.request_id or request_id())[:_MAX_TEXT],
            session=actor.session,
            act=str(act),
            target=target[:_MAX_TEXT],
            reason=reason[:_MAX_TEXT],
            ended=ended,
            error=error,
            ref=ref,
        )
        try:
            await self._store_waiting()
            return await self._append(entry)
        except SessionError as failure:
            if act not in NEVER_HELD_UP:
                raise
            self._wait(entry, failure)
            return entry

    def _wait(self, entry: Entry, failure: SessionError) -> None:
        """Keep an entry for later. It is logged completely: this process may die before the store is back."""
        logger.error(
            "the audit log cannot be written (%s); an entry is kept here and stored later: %s",
            failure,
            msgspec.json.encode(entry).decode(),
        )
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append(entry)
            self._retrying.start(_RETRY_INTERVAL)

    async def _store_waiting(self) -> None:
        while self._waiting:
            # Take it out first: a concurrent call must not store it as well.
            entry = self._waiting.popleft()
            self._leaving += 1
            try:
                await self._append(msgspec.structs.replace(entry, stored_at=self._clock()))
            except BaseException:
                self._waiting.appendleft(entry)
                raise
            finally:
                self._leaving -= 1

    async def _append(self, entry: Entry) -> Entry:
        await self._start()
        document = await self._log.append(
            lambda number, last: self._linked(entry, number, last), above=self.heads.known.number
        )
        stored = read_entry(document)
        self.heads.remember(Head(number=stored.id, hash=stored.hash))
        self._advance_soon()
        return stored

    def _advance_soon(self) -> None:
        """Store the head; entries in quick succession share one write."""
        if self._next_head is None and (self._advancing is None or self._advancing.done()):
            loop = asyncio.get_running_loop()
            # Its own context: what follows outlives the request and must not be logged under its name.
            self._next_head = loop.call_at(self._head_at, self._begin_advance, context=Context())

    def _begin_advance(self) -> None:
        self._next_head = None
        self._advancing = asyncio.get_running_loop().create_task(self._advance())

    def _linked(self, entry: Entry, number: int, last: Document | None) -> tuple[bytes, list[str]]:
        """Number an entry, chain it to the last one, and return its stored form and its tags."""
        # Called again with another number and another last entry if a different process has written one in between.
        known = self.heads.known
        previous = read_entry(last).hash if last is not None and number - 1 != known.number else known.hash
        linked = msgspec.structs.replace(entry, id=number, previous=previous)
        linked = msgspec.structs.replace(linked, hash=hash_of(self._keys[0], linked))
        return msgspec.json.encode(linked), tags_of(linked)

    async def _start(self) -> None:
        """Before the first entry of this process: learn the end of the log from its heads, and record what is wrong with them.

        Numbering continues after the highest number that any of them names. If the newest entries were removed, the gap stays
        visible for good: new entries never take their numbers.
        """
        async with self._starting:
            if self._is_started:
                return
            look = await self.look()
            for head in look.heads:
                self.heads.remember(head)
            if look.number == 0 and not self.heads.known.number:
                # A log without a head is a fault, so the head comes before the first entry.
                await self.heads.write()
            self._is_started = True
        if look.faults:
            await self._record_alteration("; ".join(map(str, look.faults)))

    async def _write_head(self) -> None:
        if not await self.heads.write():
            await self._record_alteration("The signed head was changed, removed or replaced by an older copy.")

    async def _record_alteration(self, what: str) -> None:
        logger.error("the audit log was altered: %s", what)
        await self.note(SERVER, Action.AUDIT_ALTERED, reason=what)

    async def watch(self) -> None:
        """Verify the newest entries, and record what is missing, once.

        A server that runs while its newest entries are removed continues after the gap, and the end of the log is right again. The
        entry keeps metrics and pages from forgetting it.
        """
        faults = (await self.verify(most=VERIFIED)).faults
        known = " ".join(entry.reason for entry in await self.entries(AuditQuery(act=Action.AUDIT_ALTERED)))
        # An entry of an unknown key may be an early removal of that key, and an altered one is known already.
        new = [str(fault) for fault in faults if fault.text != CHANGED and str(fault) not in known]
        new = [text for text in new if "records that the log had been altered" not in text]
        if new:
            await self._record_alteration("; ".join(new[:3]))

    async def _advance(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self.heads.is_behind:
                await self._write_head()
        except SessionError as error:
            # The head may be behind by ``TOLERANCE`` entries. The next entry tries again.
            logger.warning("the head of the audit log was not stored: %s", error)
        self._head_at = loop.time() + _HEAD_INTERVAL

    async def perform(
        self,
        actor: Actor,
        act: Action,
        run: Callable[[], Awaitable[T]],
        *,
        user: str = "",
        target: str = "",
        reason: str = "",
        ref: str = "",
    ) -> T:
        """Write an entry, run its action, and write the outcome: the number of ended sessions, or the class of the error.

        Returns:
            The result of ``run``. An ``int`` is the number of ended sessions.

        Raises:
            StoreUnavailable: the entry could not be written and the action did not run, or the action itself failed.
        """
        entry = await self.note(actor, act, user=user, target=target, reason=reason, ref=ref or new_ref())
        try:
            result = await run()
        except Exception as error:
            await self.outcome(actor, entry, error=type(error).__name__)
            raise
        ended = result if isinstance(result, int) and not isinstance(result, bool) else None
        await self.outcome(actor, entry, ended=ended)
        return result

    async def outcome(
        self, actor: Actor, entry: Entry, *, ended: int | None = None, error: str = "", target: str = ""
    ) -> None:
        """Write the outcome of an action that has run. It never fails: see ``note``."""
        await self.note(actor, Action.OUTCOME, user=entry.user, target=target, ended=ended, error=error, ref=entry.ref)

    async def complete(self, entry: Entry, ended: int) -> None:
        """Write the outcome of an action that may have been resumed by another process, unless it has one."""
        if not await self._log.following(entry.id, outcome_tag(entry.ref)):
            await self.outcome(Actor(entry.actor, entry.ip), entry, ended=ended)

    async def suspect(self, event: Theft) -> None:
        """Record that a client presented a rotated-out secret, a sign of theft. A callback for ``Sessions.on``."""
        await self.note(
            Actor.of(event), Action.OLD_TOKEN_PRESENTED, user=event.user or "", target=event.handle, ended=0
        )

    # --- reading -------------------------------------------------------------------------------------------------

    async def entries(self, query: AuditQuery | None = None) -> list[Entry]:
        """Return entries with their outcomes, newest first; damaged ones as ``DamagedEntry``."""
        query = query or AuditQuery()
        if query.after is not None:
            documents = (await self._log.following(query.after, query.tag, query.limit))[::-1]
        else:
            documents = await self._log.entries(query.of_log)
        found = list(map(read_entry, documents))
        open_ones = [entry for entry in found if entry.ref and entry.act != Action.OUTCOME]
        if not open_ones:
            return found
        # One query for all: the outcomes of a page mostly follow its oldest action closely.
        after = await self._log.following(open_ones[-1].id, outcome_tag())
        outcomes: dict[str, Entry] = {}
        for outcome in map(read_entry, after):
            # The first counts: nobody can correct an outcome later.
            outcomes.setdefault(outcome.ref, outcome)
        return [with_outcome(entry, outcomes[entry.ref]) if entry.ref in outcomes else entry for entry in found]

    async def all(self, query: AuditQuery) -> AsyncIterator[list[Entry]]:
        """Yield all matching entries in pages, newest first."""
        before = query.before
        while found := await self.entries(msgspec.structs.replace(query, before=before, limit=_PAGE)):
            yield found
            before = found[-1].id

    async def forget(self, kept_for: float) -> int:
        """Delete entries older than ``kept_for`` seconds and return their number.

        The signed head first names the newest entry that may go, so that its removal is provably legitimate and any other is
        a fault.
        """
        removed = 0
        while (last := await self._log.outdated(self._clock() - kept_for)) is not None:
            await self._start()
            entry = read_entry(last)
            self.heads.remember(Head(forgotten=entry.id, forgotten_hash=entry.hash))
            await self._write_head()
            removed += await self._log.forget(last)
        return removed


def new_ref() -> str:
    """Return a random text that connects an action with its outcome."""
    return secrets.token_hex(8)
