"""``Events``: people's security events in the audit log, and what is read back from them.

It must not know pages.
"""

from __future__ import annotations

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.record import SessionSummary
from tornado_sessions.request import RequestInfo
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor, Audit
from tornado_sessions.server.operations.stores import AuditQuery, Entry
from tornado_sessions.stores.networks import spellings_of

__all__ = ["Events"]

_SHOWN = 10
#: Log-ins that are looked at to say whether a device is new.
_REMEMBERED = 50
#: Seconds between two removals of old entries.
_FORGET_EVERY = 3600.0


class Events:
    """What people did with their accounts, and what was done with them.

    Args:
        audit: where it is written.
        kept_for: seconds after which entries are forgotten.
    """

    def __init__(self, audit: Audit, kept_for: float) -> None:
        self._audit = audit
        self._kept_for = kept_for
        self._forgetting = BackgroundLoop(self._forget, _FORGET_EVERY, "old audit entries are not removed yet")

    async def open(self) -> None:
        """Forget old entries, from now on."""
        self._forgetting.start()

    async def close(self) -> None:
        """Stop."""
        await self._forgetting.stop()

    async def _forget(self) -> None:
        await self._audit.forget(self._kept_for)

    async def note(self, user: str, ip: str, act: Action, target: str = "") -> None:
        """Write down what somebody did with their own account."""
        await self._audit.note(Actor(user, ip), act, user=user, target=target)

    async def moved(self, session: SessionSummary, request: RequestInfo) -> None:
        """Write that a session came from another address. Fits ``Sessions.on_move``."""
        if request.ip in spellings_of(session.ip):
            # Stored by an earlier version, in another spelling.
            return
        user = session.user or ""
        await self._audit.note(
            Actor(user, request.ip),
            Action.ADDRESS_CHANGED,
            user=user,
            target=session.handle,
            reason=f"{session.ip} → {request.ip}",
        )

    async def of(self, user: str) -> list[Entry]:
        """What happened lately with somebody's account."""
        found = await self._audit.entries(AuditQuery(who=user, limit=3 * _SHOWN))
        return [entry for entry in found if entry.user == user][:_SHOWN]

    async def is_new_device(self, user: str, device: str) -> bool:
        """Whether somebody has logged in before, but not with this device."""
        known = await self._audit.entries(AuditQuery(who=user, act=Action.LOG_IN, limit=_REMEMBERED))
        return bool(known) and all(entry.target != device for entry in known)
