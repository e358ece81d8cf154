"""``Events``: records users' actions on their own accounts in the audit log, and reads them back. It must not know pages."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextvars import Context
from ipaddress import ip_address, ip_network

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.errors import SessionError
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import SERVER, Actor, Audit
from tornado_sessions.server.operations.entries import AuditQuery, Entry
from tornado_sessions.session_events import Moved, SessionEvent, TakenOver
from tornado_sessions.stores.networks import spellings_of

__all__ = ["Events"]

logger = logging.getLogger("tornado_sessions.audit")

_SHOWN = 10
#: How many entries about refused requests one network, and all together, may cause within ``_PERIOD`` seconds. Further ones are
#: counted in one entry. At most 10 MB a day and process: strangers must not be able to fill the disk.
_MAX_PER_NETWORK, _MAX_IN_ALL = 20, 200
_PERIOD = 600.0
#: The number of earlier sign-ins compared to decide whether a device is new.
_REMEMBERED = 50
#: Seconds between two removals of old entries.
_FORGET_INTERVAL = 3600.0


class Events:
    """The security events of users.

    Args:
        audit: the audit log.
        kept_for: the age at which audit entries are deleted, in seconds.
    """

    def __init__(self, audit: Audit, kept_for: float) -> None:
        self._audit = audit
        self._kept_for = kept_for
        self._forgetting = BackgroundLoop(self._forget, _FORGET_INTERVAL, "old audit entries are not removed yet")
        self._summing = BackgroundLoop(self.summarise, _PERIOD, "refused and expired sessions are not recorded yet")
        self._by_network: Counter[str] = Counter()
        self._left_out = 0
        self._expired = 0
        self._logged = 0
        self._writing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start deleting old entries and summarising events."""
        self._forgetting.start()
        self._summing.start(_PERIOD)

    async def close(self) -> None:
        """Stop, and write what is pending."""
        await self._forgetting.stop()
        await self._summing.stop()
        await asyncio.gather(*self._writing, return_exceptions=True)
        try:
            await self.summarise()
        except SessionError as error:
            logger.warning("refused and expired sessions were not recorded: %s", error)

    async def _forget(self) -> None:
        await self._audit.forget(self._kept_for)
        await self._audit.watch()

    async def note(self, actor: Actor, act: Action, target: str = "") -> None:
        """Record an action of a user on their own account."""
        await self._audit.note(actor, act, user=actor.name, target=target)

    def refused(self, actor: Actor, target: str, reason: str) -> None:
        """Record in the background that a request was refused; after many from one network, only count it."""
        if not self.may_record(actor.ip):
            return
        write = self._audit.note(actor, Action.REFUSED, user=actor.name, target=target, reason=reason)

        async def write_or_warn() -> None:
            try:
                await write
            except SessionError as error:
                logger.warning(
                    "the refusal of %s for %r from %s was not recorded: %s", target, actor.name, actor.ip, error
                )

        # The request ends now. The entry already has its ID.
        task = asyncio.get_running_loop().create_task(write_or_warn(), context=Context())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    @property
    def is_writing(self) -> bool:
        """Whether refused requests are still to be recorded."""
        return bool(self._writing)

    def may_record(self, ip: str) -> bool:
        """Return whether something refused for this address gets an entry of its own; otherwise count it."""
        network = _network_of(ip)
        if self._by_network[network] >= _MAX_PER_NETWORK or self._by_network.total() >= _MAX_IN_ALL:
            self._left_out += 1
            return False
        self._by_network[network] += 1
        return True

    def expired(self, many: int) -> None:
        """Count sessions that have expired."""
        self._expired += many

    async def summarise(self) -> None:
        """Write one entry each for the events that got none of their own, start to count again, and log the head."""
        self._by_network.clear()
        left_out, self._left_out = self._left_out, 0
        expired, self._expired = self._expired, 0
        try:
            if left_out:
                await self._audit.note(SERVER, Action.REFUSED, target=f"{left_out} more requests")
                left_out = 0
            if expired:
                await self._audit.note(SERVER, Action.EXPIRED, ended=expired)
                expired = 0
        finally:
            # What could not be written is counted in the next entry.
            self._left_out += left_out
            self._expired += expired
        head = self._audit.heads.known
        if head.number > self._logged:
            self._logged = head.number
            logger.info("the audit log ends with entry %d, hash %s", head.number, head.hash)

    async def moved(self, event: Moved) -> None:
        """Record that a session is used from another IP address. A callback for ``Sessions.on``."""
        if event.ip in spellings_of(event.previous_ip):
            # Not a move: an earlier version stored the same address in another spelling.
            return
        change = f"{event.previous_ip} → {event.ip}"
        await self._record(event, Action.ADDRESS_CHANGED, reason=change)

    async def taken_over(self, event: TakenOver) -> None:
        """Record that a session of another system has moved here. A callback for ``Sessions.on``."""
        await self._record(event, Action.TAKEN_OVER)

    async def _record(self, event: SessionEvent, act: Action, reason: str = "") -> None:
        await self._audit.note(Actor.of(event), act, user=event.user or "", target=event.handle, reason=reason)

    async def of(self, user: str) -> list[Entry]:
        """Return the latest ten events that concern a user."""
        found = await self._audit.entries(AuditQuery(who=user, limit=3 * _SHOWN))
        return [entry for entry in found if entry.user == user][:_SHOWN]

    async def is_new_device(self, user: str, device: str) -> bool:
        """Return whether a user has signed in before, but never with this device."""
        known = await self._audit.entries(AuditQuery(who=user, act=Action.LOG_IN, limit=_REMEMBERED))
        return bool(known) and all(entry.target != device for entry in known)


def _network_of(ip: str) -> str:
    """Return the part of an address that its owner cannot change at will: of IPv6 the /64."""
    try:
        return str(ip_network((ip, 64), strict=False)) if ip_address(ip).version == 6 else ip
    except ValueError:
        return ip
