"""``/admin/operators``: the roles of staff, and the API tokens. It must not know stores."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from tornado_sessions.codec import JSONValue
from tornado_sessions.errors import SessionError
from tornado_sessions.messages import N_
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.errors import InvalidInput, NoSuchUser, OperationRefused
from tornado_sessions.server.operations.people import PeopleWithRoles, Person
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.acts import ActPage

__all__ = ["InvitationsPage", "OperatorsPage", "RolePage", "TokenPage"]

_STAFF = [role for role in Role if role.is_staff]


class OperatorsPage(OperatorHandler):
    """``/admin/operators``: all staff, open invitations and all tokens. Only admins can change them."""

    role_to_act = rules.REQUIRED_ROLE[Action.CHANGE_ROLE]

    async def get(self) -> None:
        """Show the page."""
        people = self.parts.people
        staff = list[Person]()
        if isinstance(people, PeopleWithRoles):
            staff = [person for role in reversed(_STAFF) for person in await people.with_role(role)]
        self.render_page(
            "operators.html",
            staff=staff,
            invitations=await self.parts.credentials.invitations(),
            can_invite=self.parts.credentials.is_available,
            tokens=await self.parts.tokens.all(),
            roles=_STAFF,
            scopes=list(Scope),
        )


class _AdminPage(ActPage):
    """Base of the forms that only admins see."""

    role_to_view = role_to_act = Role.ADMIN

    def done(self, text: str, kind: str = "good") -> None:
        """Redirect to the list of operators, which shows a notice."""
        self.notify(text, kind=kind)
        self.to_dashboard("/operators", status=303)


class RolePage(_AdminPage):
    """``/admin/operators/role``."""

    async def get(self) -> None:
        """Ask for a user and a role, which the link may name."""
        self.ask("role.html", roles=list(Role))

    async def post(self) -> None:
        """Change the role of ``user`` to ``role``."""

        async def change() -> None:
            role = rules.check_role(self.form_value("role"))
            reason = self.form_value("reason")
            await self.parts.actions.set_role(self.actor(), self.form_value("user"), role, reason)

        if faults := await self.run(change, {NoSuchUser: "user", InvalidInput: "role"}):
            self.ask("role.html", faults, roles=list(Role))
        else:
            self.done(N_("The role has been changed."))


class InvitationsPage(_AdminPage):
    """``/admin/operators/invite``: invite somebody, or revoke the invitation ``revoke``."""

    async def get(self) -> None:
        """Ask for a role."""
        self.ask("invite.html", roles=_STAFF)

    async def post(self) -> None:
        """Show a new link once, or revoke one."""
        revoked, links = self.form_value("revoke"), list[str]()

        async def act() -> None:
            if revoked:
                await self.parts.credentials.revoke_invitation(self.actor(), revoked)
            else:
                role = rules.check_role(self.form_value("role"))
                links.append(await self.parts.credentials.invite(self.actor(), role, self.form_value("reason")))

        if faults := await self.run(act):
            self.ask("invite.html", faults, roles=_STAFF)
        elif links:
            invited = Role(self.form_value("role"))
            self.ask("link.html", person=None, invited=invited, two_step=False, ended=0, link=self.absolute(links[0]))
        else:
            self.done(N_("The invitation has been revoked."))


class TokenPage(_AdminPage):
    """``/admin/operators/tokens``."""

    async def get(self) -> None:
        """Ask for the token to create, or before one is revoked."""
        self._ask()

    def _ask(self, faults: dict[str, str] | None = None, created: str = "") -> None:
        """Show the form, or a new token, once."""
        self.ask(
            "token.html",
            faults,
            token=created,
            api=self.absolute(f"{self.site.dashboard}/api/sessions"),
            once=secrets.token_hex(8),
            chosen=self.get_body_arguments("scope") if faults else [Scope.READ.value],
            scopes=list(Scope),
        )

    async def post(self) -> None:
        """Create a token from ``name``, ``scope`` and ``days`` and show it once, or revoke the token with the handle ``revoke``."""
        if faults := await self.proof_faults():
            self._ask(faults)
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
            self._ask(faults)
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
            self._ask({"": self.say_error(error)})
        else:
            self._ask(created=token)

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

        await self.session.transform(self.own_key("token_made"), swap)
        return before
