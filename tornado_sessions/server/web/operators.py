"""The base handler of the dashboard and its API: required roles, the actor for the audit log, and bounded queries.

It must not know any page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Count, Page
from tornado_sessions.server.errors import Refused
from tornado_sessions.server.operations.action_names import ENDS_SESSIONS
from tornado_sessions.server.operations.audit import is_no_user
from tornado_sessions.server.operations.entries import Entry
from tornado_sessions.server.operations.filters import View, read_view
from tornado_sessions.server.operations.job import Job, JobState
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.proofs import ProofHandler

__all__ = ["OperatorHandler"]

T = TypeVar("T")

#: The fraction of ``store_timeout`` that an operator's query may take: by default one second.
_SHARE = 0.2
#: Filters that no index answers, in any order: a list and a count both examine sessions one by one.
_NO_INDEX = frozenset({"text", "device"})


class OperatorHandler(ProofHandler):
    """Base of the dashboard's handlers. Viewing requires the role viewer, any other request the role operator."""

    role_to_view: Role | None = Role.VIEWER
    role_to_act: Role | None = Role.OPERATOR

    def to_dashboard(self, path: str, status: int = 302) -> None:
        """Redirect to a page of the dashboard."""
        self.redirect(self.site.dashboard + path, status=status)

    def absolute(self, path: str) -> str:
        """Return the URL of a path of this server for people elsewhere, with the public origin if it is configured."""
        origin = self.site.origin or f"{'https' if self.is_secure else 'http'}://{self.request.host}"
        return origin + self.site.url(path)

    async def view(self) -> View:
        """Return the view described by the URL's query string. Raises ``QueryError``."""
        return await read_view(self.query_value, self.parts.people, self.parts.suspects, self.sessions.clock())

    async def find_page(self, view: View) -> tuple[Page, Count]:
        """Return one page of a list and its total number of sessions. Raises ``QueryError`` and ``StoreUnavailable``."""

        async def find() -> tuple[Page, Count]:
            page = await self._find(view)
            if page.total is not None:
                return page, Count(page.total, exact=True)
            is_scan = view.is_filtered and view.where.given.keys() <= _NO_INDEX
            if is_scan and page.previous_cursor is None and len(page.items) < view.limit:
                # A first page that is not full has examined more sessions than a count would.
                return page, Count(len(page.items), exact=False)
            return page, await self.sessions.count(view.where, state=view.state)

        return await self.ask_store(find)

    async def find_one(self, view: View) -> Page:
        """Return one page of a list without its total number. Raises ``QueryError`` and ``StoreUnavailable``."""
        return await self.ask_store(lambda: self._find(view))

    def _find(self, view: View) -> Coroutine[Any, Any, Page]:
        return self.sessions.find(
            view.where,
            state=view.state,
            sort=view.sort,
            direction=view.direction,
            cursor=view.cursor,
            limit=view.limit,
        )

    async def ask_store(self, query: Callable[[], Awaitable[T]]) -> T:
        """Run a query of an operator. The number of concurrent queries and their time are limited to protect users' requests.

        Raises:
            StoreUnavailable: the query, including the wait for a slot, took too long.
        """
        limit = self.sessions.config.seconds("store_timeout") * _SHARE
        try:
            async with asyncio.timeout(limit), self.site.query_slots:
                return await query()
        except TimeoutError:
            raise StoreUnavailable(self.sessions.store.backend, f"no page within {limit:g} s") from None

    async def learn_names(self, users: Iterable[str | None]) -> None:
        """Read the names of users before a page shows them; see ``Site.called``. The server's accounts are called by their ids."""
        wanted = {user for user in users if user and not is_no_user(user)}
        if wanted and not self.site.has_accounts:
            await self.ask_store(lambda: self.parts.directory.known(wanted))

    async def open_jobs(self, entries: Iterable[Entry]) -> dict[str, Job]:
        """Return the jobs that run or wait for some of these actions, by the ``ref`` of the action."""
        if all(entry.ended is not None or entry.error or entry.act not in ENDS_SESSIONS for entry in entries):
            return {}
        jobs, states = self.parts.jobs, (JobState.RUNNING, JobState.PAUSED)
        found = await self.ask_store(lambda: asyncio.gather(*map(jobs.listed, states)))
        return {job.entry.ref: job for listed in found for job in listed if isinstance(job, Job)}

    def render_page(self, template: str, **names: Any) -> None:
        """Render a page of the dashboard with the names that most of its templates use."""
        self.render(
            f"admin/{template}",
            own=self.session.handle,
            now=self.sessions.clock(),
            proved=self.has_fresh_password(),
            **names,
        )

    async def attempt(self, action: Callable[[], Awaitable[object]]) -> str:
        """Confirm the password and run an action. Return the message of a refusal, empty on success."""
        if fault := await self.confirm_password():
            return fault
        try:
            await action()
        except Refused as error:
            self.set_error_status(error)
            return self.say_error(error)
        return ""
