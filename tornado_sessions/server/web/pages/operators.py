"""``/admin/operators``: who may do what, and which API tokens there are.

It must not know stores.
"""

from __future__ import annotations

import secrets
from typing import Any

from tornado_sessions.codec import JSONValue
from tornado_sessions.errors import SessionError
from tornado_sessions.server.accounts.errors import AccountError
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.errors import OperationRefused
from tornado_sessions.server.operations.tokens import Scope, Tokens
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["routes"]


class StaffPage(OperatorHandler):
    """Everybody who sees other people's sessions, and every token; an admin changes both."""

    role_to_act = rules.NEEDED[Action.CHANGE_ROLE]

    async def get(self) -> None:
        """The page."""
        await self.show("")

    async def show(self, token: str, fault: str = "") -> None:
        """The page, with a token that was just made, this once."""
        tokens: Tokens = self.parts.tokens
        staff = [user for role in reversed(Role) if role.is_staff for user in await self.parts.accounts.with_role(role)]
        self.render(
            "admin/operators.html",
            staff=staff,
            tokens=await tokens.all(),
            token=token,
            fault=fault,
            once=secrets.token_hex(8),
            # What was typed stays where something was wrong with it.
            typed=lambda name: self.form_value(name) if fault else "",
            chosen=self.get_body_arguments("scope") if fault else [],
            roles=list(Role),
            scopes=list(Scope),
            proved=self.has_fresh_password(),
            now=self.sessions.clock(),
            notice=self.take_notice(),
        )


class RolePage(StaffPage):
    """``/admin/operators/role``: ``user``, ``role``, ``reason``."""

    role_to_view = Role.ADMIN

    async def get(self) -> None:
        """Back to the page with the form."""
        self.redirect("/admin/operators")

    async def post(self) -> None:
        """Give a role."""
        fault = await self.confirm_password()
        try:
            if not fault:
                role = rules.role_named(self.form_value("role"))
                await self.parts.actions.set_role(
                    self.actor(), self.form_value("user"), role, self.form_value("reason")
                )
        except (AccountError, OperationRefused) as error:
            self.set_error_status(error)
            fault = self.say_error(error)
        if fault:
            await self.show("", fault)
            return
        self.notify("The role is changed.")
        self.redirect("/admin/operators", status=303)


class TokenPage(RolePage):
    """``/admin/operators/tokens``: ``name``, ``scope``, ``days``; with ``revoke``, the handle of one to end."""

    async def post(self) -> None:
        """Make a token and show it, this once; or end one."""
        fault = await self.confirm_password()
        if not fault and self.form_value("revoke"):
            await self.parts.actions.revoke_token(self.actor(), self.form_value("revoke"))
            self.notify("The token is revoked.")
            self.redirect("/admin/operators", status=303)
            return
        try:
            name = rules.token_name(self.form_value("name"))
            scopes = rules.scopes_named(self.get_body_arguments("scope"))
            lifetime = rules.token_lifetime(rules.days(self.form_value("days")))
        except OperationRefused as error:
            if not fault:
                self.set_error_status(error)
            fault = fault or self.say_error(error)
        if fault:
            await self.show("", fault)
            return
        once, before = self.form_value("once"), await self._first_use()
        if once and once == before:
            # The page was loaded once more.
            self.notify("This token was made already; it was shown that once only.", kind="bad")
            self.redirect("/admin/operators", status=303)
            return
        try:
            token = await self.parts.actions.make_token(self.actor(), name, scopes, lifetime)
        except SessionError:
            await self.session.transform("token_made", lambda _: before)
            raise
        await self.show(token)

    async def _first_use(self) -> JSONValue:
        """Use the form up. Returns the form used before: of two posts of one form only the first finds another one there."""
        before: JSONValue = None

        def use(found: JSONValue) -> JSONValue:
            nonlocal before
            before = found
            return self.form_value("once")

        await self.session.transform("token_made", use)
        return before


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/operators", StaffPage),
        (r"/admin/operators/role", RolePage),
        (r"/admin/operators/tokens", TokenPage),
    ]
