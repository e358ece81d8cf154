"""What pages and API of operators share: who is let in, who acts, and whether the password was given lately.

It must not know any page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Count, Page
from tornado_sessions.server.accounts.errors import AccountError, WrongCredentials
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.errors import OperationRefused
from tornado_sessions.server.operations.filters import View, read_view
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.people import AccountHandler

__all__ = ["OperatorHandler"]

T = TypeVar("T")

#: The part of ``store_timeout`` that a page may take: by default one second.
_SHARE = 0.2
_SAFE = ("GET", "HEAD", "OPTIONS")


class OperatorHandler(AccountHandler):
    """A page of the dashboard: looking needs a viewer, anything else an operator."""

    #: Who may look, and who may act.
    role_to_view, role_to_act = Role.VIEWER, Role.OPERATOR

    async def prepare(self) -> None:
        """Choose who is let in by what is asked for."""
        self.required_role = self.role_to_view if self.request.method in _SAFE else self.role_to_act
        await super().prepare()

    def actor(self) -> Actor:
        """Who acts here."""
        return Actor(str(self.current_user), self.client_ip, self.role)

    async def view(self) -> View:
        """What the address asks of a list. Raises ``QueryError``."""
        return await read_view(self.query_value, self.parts.people, self.sessions.clock())

    async def find_page(self, view: View) -> tuple[Page, Count]:
        """One page of a list, and how many there are. Raises ``QueryError``, and what ``look`` raises."""
        return await self.ask_store(
            lambda: asyncio.gather(
                self.sessions.find(view.where, state=view.state, sort=view.sort, cursor=view.cursor, limit=view.limit),
                self.sessions.count(view.where, state=view.state),
            )
        )

    async def ask_store(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the store for a page, so that looking never hurts the service: a few at a time, each for a short while.

        Raises:
            StoreUnavailable: it took too long; the page says so, and people's requests go on.
        """
        limit = self.sessions.config.seconds("store_timeout") * _SHARE
        try:
            async with asyncio.timeout(limit), self.site.query_slots:
                return await ask()
        except TimeoutError:
            raise StoreUnavailable(self.sessions.store.backend, f"no page within {limit:g} s") from None

    def render_page(self, template: str, **names: Any) -> None:
        """Render a page of the dashboard with what most of them show: notice, own session, time, age of the password."""
        self.render(
            f"admin/{template}",
            notice=self.take_notice(),
            own=self.session.handle,
            now=self.sessions.clock(),
            proved=self.has_fresh_password(),
            **names,
        )

    async def attempt(self, action: Callable[[], Awaitable[object]]) -> str:
        """Confirm the password, then run an action. Return why it was refused; empty when it was done."""
        if fault := await self.confirm_password():
            return fault
        try:
            await action()
        except (AccountError, OperationRefused) as error:
            self.set_error_status(error)
            return self.say_error(error)
        return ""

    async def confirm_password(self) -> str:
        """Take the password of the form where the last one is old. Returns what is wrong with it; empty when it is proved."""
        if self.has_fresh_password():
            return ""
        user = self.session.user or ""
        try:
            await self.parts.accounts.log_in(user, self.form_value("password", strip=False), self.client_ip)
        except WrongCredentials as error:
            await self.record_failure(user, error)
            self.set_error_status(error, 400)
            return "The current password is wrong."
        except AccountError as error:
            self.set_error_status(error)
            return str(error)
        self.mark_password_given()
        return ""
