"""``/admin/user``: one user's sessions, account and history, and blocks of their sign-ins. It must not know stores."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

from tornado_sessions.query import State
from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.choices import BLOCKS, NotKept

__all__ = ["BlockPage", "UserPage"]


class UserPage(OperatorHandler):
    """``/admin/user?name=NAME``."""

    async def get(self) -> None:
        """Show a user, even without an account, which sessions do not require."""
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
        self.render_page(
            "user.html",
            name=name,
            account=account,
            damage=found.why if isinstance(found, DamagedUser) else "",
            items=page.items,
            count=count,
            ended=ended.items,
            more_ended=ended.next_cursor is not None,
            events=events,
            blocks=BLOCKS,
        )


class BlockPage(OperatorHandler):
    """``/admin/block``."""

    async def post(self) -> None:
        """Block sign-ins of ``user`` for ``seconds``; 0 unblocks them."""
        user, seconds = self.form_value("user", strip=False), self.form_value("seconds")
        is_blocked = seconds != "0"

        async def block() -> None:
            duration = rules.number(seconds, "seconds") if is_blocked else None
            reason, keep = self.form_value("reason"), bool(self.form_value("keep_sessions"))
            await self.parts.actions.block(self.actor(), user, duration, reason, keep_sessions=keep)

        fault = await self.attempt(block)
        if fault:
            self.notify(fault, kind="bad")
        elif not is_blocked:
            self.notify("Sign-ins are allowed again.")
        elif self.form_value("keep_sessions"):
            self.notify("Sign-ins are blocked. Current sessions stay active until they end.")
        else:
            self.notify("Sign-ins are blocked and current sessions have ended.")
        self.to_dashboard("/user?" + urlencode({"name": user}), status=303)
