"""``DashboardParts``: the objects with which operators work, in the server and in an application with its own users.

It must not know HTTP, settings or accounts.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from tornado_sessions.manager import Sessions
from tornado_sessions.opened_store import StoreCall
from tornado_sessions.server.budgets import Budgets
from tornado_sessions.server.documents import DocumentStore
from tornado_sessions.server.operations.actions import Actions
from tornado_sessions.server.operations.activity import Activity
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.census import Census
from tornado_sessions.server.operations.credentials import Credentials
from tornado_sessions.server.operations.directory import Directory
from tornado_sessions.server.operations.jobs import Jobs
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.overview import Overview
from tornado_sessions.server.operations.people import People
from tornado_sessions.server.operations.saved_views import SavedViews
from tornado_sessions.server.operations.security_events import Events
from tornado_sessions.server.operations.suspects import Suspects
from tornado_sessions.server.operations.tokens import Tokens
from tornado_sessions.session_events import Moved, SessionEvent, TakenOver, Theft

__all__ = ["YEAR", "DashboardParts", "Setting", "budgets_of"]

#: How long audit entries are kept, in seconds.
YEAR = 365 * 86400.0


class Setting(NamedTuple):
    """A setting as the dashboard shows it: its value, and how to set it, if it has a flag and an environment variable."""

    value: Any
    flag: str = ""
    variable: str = ""


#: The open dashboards of each Sessions.
_LISTENING: WeakKeyDictionary[Sessions, list[DashboardParts]] = WeakKeyDictionary()


class DashboardParts:
    """The objects with which operators work. Creating them opens nothing.

    Args:
        sessions: the sessions that operators see.
        people: the users.
        documents: stores the audit log, jobs, tokens and counts.
        log: the URL of ``documents``, if others may have the same; see ``_records``.
        head: the file for the end of the audit log; see ``Audit``.
        keep_audit_for: how long audit entries are kept, in seconds.
        count_event: called with the name of each counted event and its number.
    """

    def __init__(
        self,
        sessions: Sessions,
        people: People,
        documents: DocumentStore,
        *,
        log: str = "",
        head: Path | None = None,
        keep_audit_for: float = YEAR,
        count_event: Callable[[str, int], None] = lambda _name, _number: None,
    ) -> None:
        clock, keys = sessions.clock, sessions.config.keys("secret")
        self.sessions, self.people, self.documents = sessions, people, documents
        self.audit = Audit(documents, clock, keys, head)
        self.credentials = Credentials(people, sessions, self.audit)
        self.directory = Directory(people, sessions, self.audit)
        self.tokens = Tokens(documents, people, clock)
        self.jobs = Jobs(sessions, self.audit, documents, clock)
        self.leases = leases = Leases(documents)
        self.census = Census(sessions, documents, leases, clock)
        self.suspects = Suspects(self.audit, self.census, clock)
        self.saved_views = SavedViews(documents)
        self.activity = Activity(sessions, documents, self.census, clock, count_event)
        self.overview = Overview(sessions, people, self.audit, self.jobs, self.activity, clock)
        self.events = Events(self.audit, keep_audit_for)
        self.actions = Actions(sessions, people, self.tokens, self.audit, self.jobs, leases)
        self._log = log
        self._stop_listening: list[Callable[[], None]] = []

    def setting(self, name: str) -> Setting | None:
        """Return a setting; ``None`` if there is none of this name."""
        config = self.sessions.config
        return Setting(getattr(config, name)) if hasattr(config, name) else None

    async def names_of_devices(self, _user: str) -> Mapping[str, str]:
        """Return what a user calls their devices, by the handle of the session."""
        return {}

    async def open(self) -> None:
        """Open the stores, and record from now on what happens to sessions. Raises ``StoreError``."""
        await self.sessions.open()
        await self.documents.open()
        if not self._stop_listening:
            _LISTENING.setdefault(self.sessions, []).append(self)
            self._stop_listening = [
                self.sessions.on(Theft, partial(self._heard, self.audit.suspect)),
                self.sessions.on(Moved, partial(self._heard, self.events.moved)),
                self.sessions.on(TakenOver, partial(self._heard, self.events.taken_over)),
                self.sessions.measure(self.measured),
                partial(_LISTENING[self.sessions].remove, self),
            ]

    async def _heard(self, record: Callable[[Any], Awaitable[None]], event: SessionEvent) -> None:
        if self._records():
            await record(event)

    def _records(self) -> bool:
        """Return whether these parts record what happens: of dashboards with the same sessions and log, only the first does."""
        sharing = (one for one in _LISTENING.get(self.sessions, ()) if one._log and one._log == self._log)
        return next(sharing, self) is self

    def measured(self, call: StoreCall) -> None:
        """Count the sessions that a call of the session store has ended."""
        if not self._records():
            return
        if call.ended:
            self.activity.count("ended", call.ended)
        if call.operation == "expire" and not call.failed:
            self.activity.cleaned_up()
            self.events.expired(call.ended)

    async def start(self) -> None:
        """Start the background work: resume jobs, write counts, delete old audit entries."""
        for part in (self.jobs, self.census, self.activity, self.events):
            await part.open()

    async def stop(self) -> None:
        """Stop the background work, and record what has happened to sessions."""
        # First, because it ends sessions, which are counted.
        await self.jobs.close()
        while self._stop_listening:
            self._stop_listening.pop()()
        await self.sessions.deliver_events()
        for part in (self.events, self.census, self.activity, self.audit):
            await part.close()


def budgets_of(sessions: Sessions, documents: DocumentStore) -> Budgets:
    """Return the counts of attempts, whose keys depend on the signing key of the sessions."""
    key = hmac.digest(sessions.config.keys("secret")[0].encode(), b"tornado_sessions budgets", "sha256")
    return Budgets(documents, key, sessions.clock)
