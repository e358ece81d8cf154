"""``/admin/user``: one user's sessions, account and history; blocking their sign-ins.

It must not know stores.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

from tornado_sessions.query import State
from tornado_sessions.server.accounts.errors import AccountError
from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.errors import OperationRefused
from tornado_sessions.server.operations.stores import AuditQuery
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.choices import BLOCKS, REASONS, NotKept

__all__ = ["routes"]


class UserPage(OperatorHandler):
    """``/admin/user?name=NAME``: one user's sessions, state and history."""

    async def get(self) -> None:
        """Also of a user without an account: sessions need none."""
        name = self.query_value("name", strip=False)
        found = await self.parts.accounts.look_up(name)
        account = found if isinstance(found, User) else None
        name = account.name if account is not None else name
        page, count, ended, events = await self.ask_store(
            lambda: asyncio.gather(
                self.sessions.find(user=name, limit=50),
                self.sessions.count(user=name),
                self.sessions.find(user=name, state=State.ENDED, limit=10),
                self.parts.audit.entries(AuditQuery(who=name, limit=30)),
            )
        )
        if found is None and not (page.items or ended.items or ended.next_cursor or events):
            raise NotKept
        self.render(
            "admin/user.html",
            name=name,
            account=account,
            damage=found.why if isinstance(found, DamagedUser) else "",
            items=page.items,
            count=count,
            ended=ended.items,
            more_ended=ended.next_cursor is not None,
            events=events,
            own=self.session.handle,
            now=self.sessions.clock(),
            proved=self.has_fresh_password(),
            blocks=BLOCKS,
            reasons=REASONS,
            notice=self.take_notice(),
        )


class BlockPage(OperatorHandler):
    """``/admin/block``: keep a user from logging in for a while, or let them again."""

    async def post(self) -> None:
        """``user``, and ``seconds``: 0 lets them again."""
        user, allows = self.form_value("user", strip=False), self.form_value("seconds") == "0"
        seconds = None if allows else rules.block_seconds(rules.seconds(self.form_value("seconds")))
        fault = await self.confirm_password()
        try:
            if not fault:
                await self.parts.actions.block(self.actor(), user, seconds, self.form_value("reason"))
        except (AccountError, OperationRefused) as error:
            fault = self.say_error(error)
        done = "Log-ins are allowed again." if allows else "Log-ins are blocked; sessions go on until they are ended."
        self.notify(fault or done, kind="bad" if fault else "good")
        self.redirect("/admin/user?" + urlencode({"name": user}), status=303)


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/user", UserPage),
        (r"/admin/block", BlockPage),
    ]
