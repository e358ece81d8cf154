"""``Webhook``: report bulk ends, changed roles and signs of theft to another program, at least once each, from the audit log.

A cursor in the store says up to which entry everything was delivered, so neither a crash nor an outage of the receiver loses a
message. A lease lets one process deliver at a time. It must not know HTTP or how a message is signed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby, takewhile

import msgspec

from tornado_sessions.background import BackgroundLoop, OutageLog
from tornado_sessions.damage import Unreadable
from tornado_sessions.server.documents import Document, DocumentStore
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.entries import AuditQuery, Entry
from tornado_sessions.server.operations.leases import Leases

__all__ = ["DeliveryFailed", "Webhook"]

logger = logging.getLogger("tornado_sessions.webhook")

#: Seconds between two looks at the log.
_INTERVAL = 1.0
#: Seconds until the second attempt, and the maximum between two; each attempt doubles the time.
_FIRST_RETRY, _MAX_RETRY = 1.0, 300.0
#: Seconds after which a message that cannot be delivered is dropped.
_GIVE_UP = 3 * 86400.0
#: Seconds that a message waits for the outcome of its action. A longer one is reported as running.
_OUTCOME_WAIT = 10.0
_PAGE = 500
_NAME = _KIND = "webhook"
_TYPES = {
    Action.END_SESSION: "sessions.ended",
    Action.END_USER: "sessions.ended",
    Action.END_MATCHING: "sessions.ended",
    Action.END_EVERYBODY: "sessions.ended",
    Action.CHANGE_ROLE: "role.changed",
    Action.ACCOUNT_CREATED: "role.changed",
    Action.OLD_TOKEN_PRESENTED: "session.theft_suspected",
}
_STAFF = ("viewer", "operator", "admin")


class DeliveryFailed(Exception):
    """The receiver did not accept a message. The text contains neither the address nor the secret."""


class _Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """The last entry that needs no further delivery."""

    name: str = _NAME
    entry: int = 0


class Webhook:
    """Delivers messages in the background.

    Args:
        audit: the log.
        documents: stores the cursor.
        leases: choose the process that delivers.
        clock: the time in UTC seconds.
        send: delivers the body of a message under an id; raises ``DeliveryFailed``.
    """

    def __init__(
        self,
        audit: Audit,
        documents: DocumentStore,
        leases: Leases,
        clock: Callable[[], float],
        send: Callable[[str, bytes], Awaitable[None]],
    ) -> None:
        self._audit = audit
        self._documents = documents
        self._leases = leases
        self._clock = clock
        self._send = send
        self._loop = BackgroundLoop(self._run, _INTERVAL, "messages of the webhook wait")
        self._outage = OutageLog("messages of the webhook wait")
        self._failures = 0
        #: On the event loop's clock.
        self._next_attempt = 0.0
        #: Entries up to this one have been looked at; only the cursor of a delivery is stored.
        self._seen = 0

    async def prepare(self) -> None:
        """Store the first cursor: what happens from now on is delivered. Raises ``StoreUnavailable``."""
        with suppress(DeliveryFailed):  # another process has just stored it
            await self._read_cursor()

    async def open(self) -> None:
        """Start to deliver."""
        self._loop.start()

    async def close(self) -> None:
        """Stop. What is not delivered yet is delivered after the next start."""
        await self._loop.stop()

    async def _run(self) -> None:
        if asyncio.get_running_loop().time() < self._next_attempt:
            return
        lease = await self._leases.take(_NAME)
        if lease is None:
            return
        try:
            await self._deliver_due(lease)
        except DeliveryFailed as error:
            self._failures += 1
            wait = min(_MAX_RETRY, _FIRST_RETRY * 2 ** min(self._failures - 1, 16)) * random.uniform(0.5, 1.0)
            self._next_attempt = asyncio.get_running_loop().time() + wait
            self._outage.failed(error)

    async def _deliver_due(self, lease: int) -> None:
        """Deliver what is due, in the order of the log, and release the lease. Raises ``DeliveryFailed``."""
        try:
            document, cursor = await self._read_cursor()
            after = max(cursor.entry, self._seen)
            entries = (await self._audit.entries(AuditQuery(after=after, limit=_PAGE)))[::-1]
            groups = list(takewhile(lambda group: not self._is_running(group[-1]), _together(entries)))
            for group in filter(_is_reported, groups):
                # Extended before each message: sending takes less time than a lease lasts.
                renewed = await self._leases.renew(_NAME, lease)
                if renewed is None:
                    return
                lease = renewed
                await self._deliver(group)
                document = await self._store_cursor(document, group[-1].id)
            if groups:
                self._seen = groups[-1][-1].id
        finally:
            await self._leases.release(_NAME, lease)

    def _is_running(self, entry: Entry) -> bool:
        """Return whether an action may soon have an outcome, which its message should contain."""
        has_outcome = not entry.ref or entry.done_at is not None
        return entry.act in _TYPES and not has_outcome and self._clock() - entry.at < _OUTCOME_WAIT

    async def _deliver(self, group: Sequence[Entry]) -> None:
        first = group[0]
        try:
            # The same for each attempt, and different in each installation: receivers recognise a repetition by it.
            await self._send(f"{first.id}-{first.hash[:24]}", _body(group))
        except DeliveryFailed:
            if self._clock() - first.at < _GIVE_UP:
                raise
            logger.exception(
                "a message of the webhook could not be delivered and was dropped: audit entry %d", first.id
            )
        self._failures, self._next_attempt = 0, 0.0
        self._outage.over()

    async def _read_cursor(self) -> tuple[Document | None, _Cursor]:
        found = await self._documents.get(_KIND, _NAME)
        if found is not None:
            try:
                return found, found.read(_Cursor, "name")
            except Unreadable as error:
                logger.error("the cursor of the webhook is damaged, so messages may be missing: %s", error.why)  # noqa: TRY400
                await self._documents.delete(_KIND, _NAME)
        # A webhook that was just set starts with what happens from now on.
        newest = await self._audit.entries(AuditQuery(limit=1))
        start = newest[0].id if newest else 0
        return await self._store_cursor(None, start), _Cursor(entry=start)

    async def _store_cursor(self, document: Document | None, entry: int) -> Document:
        new = Document(_NAME, (document.revision if document else 0) + 1, msgspec.json.encode(_Cursor(entry=entry)))
        if not await self._documents.put(_KIND, new):
            # Another process has taken the lease, and delivers from its own cursor: messages repeat, and none is lost.
            raise DeliveryFailed("another process delivers")
        return new


def _together(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Yield entries one by one, but those of sessions that were selected together as one group."""
    for (act, ref), found in groupby(entries, lambda entry: (entry.act, entry.ref)):
        group = list(found)
        if act == Action.END_SESSION and ref:
            yield group
        else:
            yield from ([entry] for entry in group)


def _is_reported(group: Sequence[Entry]) -> bool:
    entry = group[0]
    if entry.act == Action.END_SESSION:
        return len(group) > 1
    if entry.act == Action.ACCOUNT_CREATED:
        return entry.target in _STAFF
    return entry.act in _TYPES


def _body(group: Sequence[Entry]) -> bytes:
    first = group[0]
    ended = [entry.ended for entry in group if entry.ended is not None]
    data = {
        "entry": first.id,
        "action": first.act,
        "actor": first.actor,
        "user": first.user,
        "targets": [entry.target for entry in group if entry.target],
        "reason": first.reason,
        "ip": first.ip,
        "ended": sum(ended) if ended else None,
        "error": first.error,
    }
    at = datetime.fromtimestamp(first.at, UTC).isoformat().replace("+00:00", "Z")
    return msgspec.json.encode({"type": _TYPES[Action(first.act)], "timestamp": at, "data": data})
