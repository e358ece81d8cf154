"""``Dashboard``: the pages and the API of operators, in any Tornado application, with the users of that application.

It must not know accounts, settings or commands.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado_sessions.drivers.sqlite import Database
from tornado_sessions.errors import UsageError
from tornado_sessions.manager import Sessions
from tornado_sessions.server.dashboard_parts import DashboardParts, budgets_of
from tornado_sessions.server.documents import DocumentStore, open_documents
from tornado_sessions.server.operations.places import Places
from tornado_sessions.server.web.host_people import HostPeople, HostVisitors
from tornado_sessions.server.web.origins import origin_of
from tornado_sessions.server.web.routes import Route, dashboard_routes, missing_routes
from tornado_sessions.server.web.site import Site
from tornado_sessions.server.web.static_files import load_templates

__all__ = ["Dashboard", "checked_prefix", "documents_beside", "head_beside"]

_is_prefix = re.compile(r"(?:/[A-Za-z0-9._~-]+)*").fullmatch


class Dashboard:
    """Operators list sessions and end them, below a path of your application.

    Creating it opens nothing. Add ``routes`` to the application, and ``await dashboard.close()`` after the last request. With
    ``await dashboard.open()`` at the start, interrupted jobs resume and counting starts without waiting for the first request,
    which otherwise opens it.

    Args:
        sessions: the sessions of the application.
        people: its users: an object with ``async def current(self, handler) -> Person | None``, who is looking, and
            ``async def get(self, user_id) -> Person | None``. Optional: ``async def verify(self, handler, password) -> bool``;
            ``async def search(self, text, limit) -> list[Person]``; ``async def block(self, user_id, until)``, in UTC seconds,
            with ``None`` to unblock. A call of ``current``, ``get`` or ``search`` that takes longer than ``store_timeout``, or
            raises ``OSError``, is answered with 503.
        prefix: the path of the dashboard, such as ``/ops``; empty for the whole application.
        store: the URL of the store for its log, jobs and tokens; by default, they lie beside the sessions.
        reauthenticate_url: the page on which people sign in again before they end sessions, if ``people`` has no ``verify``. It
            receives the page to return to as ``next``. By default ``people.reauthenticate_url`` or, without it, the setting
            ``login_url`` of the application.
        public_url: the address of the application, such as ``https://example.com``; needed behind a proxy that changes ``Host``.
        place: returns the place of an IP address as text; it must not block.

    Raises:
        UsageError: ``people`` has no ``current`` or ``get``, the prefix is no path, or ``store`` is missing for sessions in a store
            of your own or on ``dual://``.
        ConfigError: the URL of the store is wrong.
    """

    def __init__(
        self,
        sessions: Sessions,
        *,
        people: Any,
        prefix: str = "/admin",
        store: str | None = None,
        reauthenticate_url: str = "",
        public_url: str = "",
        place: Callable[[str], str] = lambda _ip: "",
    ) -> None:
        if not isinstance(sessions, Sessions):
            raise UsageError(f"sessions must be the Sessions of the application, not {type(sessions).__name__}")
        prefix = checked_prefix(prefix)
        url, documents = documents_beside(sessions, store)
        users = HostPeople(people, sessions.config.seconds("store_timeout"))
        parts = DashboardParts(sessions, users, documents, log=url, head=head_beside(documents))
        verify = getattr(people, "verify", None)
        places = parts.census.place = Places(place)
        self._site = Site(
            parts=parts,
            visitors=HostVisitors(users, verify if callable(verify) else None, budgets_of(sessions, documents)),
            prefix=prefix,
            root=prefix,
            proof_url=reauthenticate_url or str(getattr(people, "reauthenticate_url", "")),
            origin=origin_of(public_url),
            place=places,
            # Two dashboards may share the session of a browser.
            session_prefix=f"dashboard {prefix}: ",
            ready=self._open_once,
        )
        self._opening = asyncio.Lock()
        self._is_open = self._was_opened = False

    def routes(self) -> list[Route]:
        """Return the routes for ``Application([*yours, *dashboard.routes()])``. The last one answers all paths below the prefix."""
        return [*dashboard_routes(self._site), *missing_routes(self._site)]

    async def open(self) -> None:
        """Open the stores, resume jobs and add up counts. Does nothing if it is open. Raises ``StoreError``."""
        async with self._opening:
            if not self._is_open:
                await load_templates()
                await self._site.parts.open()
                await self._site.parts.start()
                self._is_open = self._was_opened = True

    async def _open_once(self) -> None:
        # A dashboard that was closed stays closed: a late request must not start its background work again.
        if not self._was_opened:
            await self.open()

    async def close(self) -> None:
        """Stop the background work and close the store of the dashboard; the sessions stay open."""
        self._is_open = False
        self._site.draining.announce()
        await self._site.parts.stop()
        await self._site.parts.documents.close()


def checked_prefix(prefix: str) -> str:
    """Return a path without a slash at its end. Raises ``UsageError``."""
    prefix = prefix.rstrip("/")
    if not _is_prefix(prefix) or {".", ".."} & set(prefix.split("/")):
        raise UsageError(f"prefix must be a path such as /ops, not {prefix!r}")
    return prefix


def documents_beside(sessions: Sessions, url: str | None) -> tuple[str, DocumentStore]:
    """Return the URL of the dashboard's own store, which is empty in memory, where no two share one; and that store."""
    database, url = getattr(sessions.store, "database", None), url or sessions.store_url
    if url is None and isinstance(database, Database):
        url = f"sqlite:///{database.options.path}"
    if url is None and sessions.store.backend == "memory":
        url = "memory://"
    if url is None or url.startswith("dual:"):
        raise UsageError(
            'Dashboard(…, store="sqlite:///dashboard.db") is needed for sessions in a store of your own, and on dual://'
        )
    return ("" if url.startswith("memory:") else url), open_documents(url, database)


def head_beside(documents: DocumentStore) -> Path | None:
    """Return the file for the end of the audit log: beside the SQLite file that contains it."""
    database = getattr(documents, "database", None)
    return Path(f"{database.options.path}.audit-head") if isinstance(database, Database) else None
