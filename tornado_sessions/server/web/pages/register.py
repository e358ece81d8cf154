"""``/reg``: create an account; ``/setup/TOKEN``: create the first admin account.

It must not know stores or hashing; ``Accounts`` decides.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from typing import Any

from tornado.web import HTTPError

from tornado_sessions.server.accounts.errors import AccountError
from tornado_sessions.server.accounts.setup import SetupLink
from tornado_sessions.server.accounts.user import clean
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.people import AccountHandler

__all__ = ["routes"]


class Register(AccountHandler):
    """``/reg``: a new account."""

    def get(self) -> None:
        """The form."""
        self.render("register.html", faults={}, username="", email="", operator=False)

    async def post(self) -> None:
        """Make the account, or say what is wrong with each field."""
        await self.register(Role.USER, nullcontext())

    async def register(self, role: Role, using: AbstractAsyncContextManager[None]) -> None:
        """Make an account with this role.

        Args:
            role: what it may do.
            using: what uses up the right to make it; entered when all is checked, left when the account is stored.
        """
        name, email, password = (
            self.form_value("username"),
            self.form_value("email"),
            self.form_value("password", strip=False),
        )
        try:
            async with AsyncExitStack() as stack:

                async def note() -> None:
                    """Take the turn and record the account, once the password is hashed: hashing takes time, and others wait."""
                    await stack.enter_async_context(using)
                    await self.record(Action.ACCOUNT_CREATED, clean(name))

                user = await self.parts.accounts.register(
                    name, email, password, role=role, ip=self.client_ip, note=note
                )
        except AccountError as error:
            self.fail("register.html", error, username=name, email=email, operator=role is Role.ADMIN)
            return
        self.render("registered.html", name=user.name)


class Setup(Register):
    """``/setup/TOKEN``: the first operator, by the link that the first start prints."""

    async def prepare(self) -> None:
        """Refuse a link that is used, old or made up."""
        await super().prepare()
        self.link: SetupLink = self.parts.setup
        if not await self.link.accepts(str(self.path_args[0])):
            raise HTTPError(404)

    def get(self, _token: str) -> None:  # type: ignore[override]
        """The form."""
        self.render("register.html", faults={}, username="", email="", operator=True)

    async def post(self, _token: str) -> None:  # type: ignore[override]
        """Make the operator."""
        await self.register(Role.ADMIN, self.link.using())


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/reg(?:ister)?", Register),
        (r"/setup/([A-Za-z0-9_-]{1,64})", Setup),
    ]
