"""``/admin/operators``: the roles of staff, and the API tokens. It must not know stores."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from tornado_sessions.codec import JSONValue
from tornado_sessions.errors import SessionError
from tornado_sessions.messages import N_
from tornado_sessions.server.accounts.errors import AccountError
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.errors import InvalidInput, NoSuchUser, OperationRefused
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["OperatorsPage", "RolePage", "TokenPage"]


class OperatorsPage(OperatorHandler):
    """``/admin/operators``: all staff and all tokens. Only admins can change them."""

    role_to_act = rules.REQUIRED_ROLE[Action.CHANGE_ROLE]

    async def get(self) -> None:
        """Show the page."""
        await self.show()

    async def show(self, token: str = "", faults: dict[str, str] | None = None) -> None:
        """Show the page, with a newly created token, or with the faults of a refused form and the values typed into it."""
        accounts = self.parts.accounts
        self.render_page(
            "operators.html",
            staff=[user for role in reversed(Role) if role.is_staff for user in await accounts.with_role(role)],
            tokens=await self.parts.tokens.all(),
            token=token,
            faults=faults or {},
            once=secrets.token_hex(8),
            typed=lambda name: self.form_value(name) if faults else "",
            chosen=self.get_body_arguments("scope") if faults else [],
            roles=list(Role),
            scopes=list(Scope),
        )

    def done(self, text: str, kind: str = "good") -> None:
        """Redirect to the page, which shows a notice."""
        self.notify(text, kind=kind)
        self.to_dashboard("/operators", status=303)


class RolePage(OperatorsPage):
    """``/admin/operators/role``."""

    role_to_view = Role.ADMIN

    async def get(self) -> None:
        """Redirect to the page with the form."""
        self.to_dashboard("/operators")

    async def post(self) -> None:
        """Change the role of ``user`` to ``role``."""
        if faults := await self.proof_faults():
            await self.show(faults=faults)
            return
        try:
            role = rules.check_role(self.form_value("role"))
            reason = self.form_value("reason")
            await self.parts.actions.set_role(self.actor(), self.form_value("user"), role, reason)
        except (AccountError, OperationRefused) as error:
            self.set_error_status(error)
            field = "user" if isinstance(error, NoSuchUser) else "role" if isinstance(error, InvalidInput) else ""
            await self.show(faults={field: self.say_error(error)})
        else:
            self.done(N_("The role has been changed."))


class TokenPage(RolePage):
    """``/admin/operators/tokens``."""

    async def post(self) -> None:
        """Create a token from ``name``, ``scope`` and ``days`` and show it once, or revoke the token with the handle ``revoke``."""
        if faults := await self.proof_faults():
            # The fields beside a token are too small for a message.
            await self.show(faults={"": next(iter(faults.values()))} if self.form_value("revoke") else faults)
        elif self.form_value("revoke"):
            await self.parts.actions.revoke_token(self.actor(), self.form_value("revoke"))
            self.done(N_("The token has been revoked."))
        else:
            await self._create()

    async def _create(self) -> None:
        """Create a token, but only once per form, because reloading the response posts the form again.

        The session stores the id of the last form that created a token. It is swapped atomically, so of two concurrent posts only
        one creates a token. If no token was created, the old id is restored and the form can be posted again.
        """
        if faults := self._token_faults():
            self.set_status(400)
            await self.show(faults=faults)
            return
        form, before = self.form_value("once"), await self._swap_form(self.form_value("once"))
        if form and form == before:
            self.done(N_("This token has already been created and can't be shown again."), kind="bad")
            return
        scopes = self.get_body_arguments("scope")
        try:
            lifetime = rules.number(self.form_value("days"), "days") * rules.DAY
            token = await self.parts.actions.create_token(self.actor(), self.form_value("name"), scopes, lifetime)
        except SessionError as error:
            await self._swap_form(before)
            if not isinstance(error, OperationRefused):
                raise
            self.set_error_status(error)
            await self.show(faults={"": self.say_error(error)})
        else:
            await self.show(token)

    def _token_faults(self) -> dict[str, str]:
        """Return a message for each wrong field of a new token."""
        days = self.form_value("days")
        checks: dict[str, Callable[[], object]] = {
            "name": lambda: rules.check_token_name(self.form_value("name")),
            "scope": lambda: rules.check_scopes(self.get_body_arguments("scope")),
            "days": lambda: rules.check_token_lifetime(rules.number(days, "days") * rules.DAY),
        }
        faults = {}
        for field, check in checks.items():
            try:
                check()
            except OperationRefused as error:
                faults[field] = self.say_error(error)
        return faults

    async def _swap_form(self, form: JSONValue) -> JSONValue:
        before: JSONValue = None

        def swap(found: JSONValue) -> JSONValue:
            nonlocal before
            before = found
            return form

        await self.session.transform("token_made", swap)
        return before
