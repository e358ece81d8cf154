"""``Events``: records users' actions on their own accounts in the audit log, and reads them back. It must not know pages."""

from __future__ import annotations

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.record import SessionSummary
from tornado_sessions.request import RequestInfo
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor, Audit
from tornado_sessions.server.operations.entries import AuditQuery, Entry
from tornado_sessions.stores.networks import spellings_of

__all__ = ["Events"]

_SHOWN = 10
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

    async def open(self) -> None:
        """Start deleting old entries."""
        self._forgetting.start()

    async def close(self) -> None:
        """Stop deleting old entries."""
        await self._forgetting.stop()

    async def _forget(self) -> None:
        await self._audit.forget(self._kept_for)

    async def note(self, user: str, ip: str, act: Action, target: str = "") -> None:
        """Record an action of a user on their own account."""
        await self._audit.note(Actor(user, ip), act, user=user, target=target)

    async def moved(self, session: SessionSummary, request: RequestInfo) -> None:
        """Record that a session is used from another IP address. A callback for ``Sessions.on_move``."""
        if request.ip in spellings_of(session.ip):
            # Not a move: an earlier version stored the same address in another spelling.
            return
        user = session.user or ""
        change = f"{session.ip} → {request.ip}"
        actor = Actor(user, request.ip)
        await self._audit.note(actor, Action.ADDRESS_CHANGED, user=user, target=session.handle, reason=change)

    async def of(self, user: str) -> list[Entry]:
        """Return the latest ten events that concern a user."""
        found = await self._audit.entries(AuditQuery(who=user, limit=3 * _SHOWN))
        return [entry for entry in found if entry.user == user][:_SHOWN]

    async def is_new_device(self, user: str, device: str) -> bool:
        """Return whether a user has signed in before, but never with this device."""
        known = await self._audit.entries(AuditQuery(who=user, act=Action.LOG_IN, limit=_REMEMBERED))
        return bool(known) and all(entry.target != device for entry in known)
