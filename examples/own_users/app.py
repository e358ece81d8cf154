"""A shop with its own table of users, on which people register and sign in with our pages. Run it and open /."""

import asyncio
from typing import Any

import tornado.web

from examples.own_users.users import Members
from tornado_sessions import SessionMixin, Sessions
from tornado_sessions.server import AccountPages, Field, Role

#: Asked for at the registration, and stored in the shop's own column; see ``users.py``.
FIELDS = [Field("full_name", "Full name", required=True, max_length=80)]


class Page(SessionMixin, tornado.web.RequestHandler):
    """The base of the shop's handlers. ``current_user`` is the id of a member."""

    @property
    def members(self) -> Members:
        members: Members = self.settings["members"]
        return members


class Home(Page):
    def get(self) -> None:
        self.write(
            "Welcome. <a href=/plan>Your plan</a> <a href=/auth/register>Register</a> <a href=/auth/login>Sign in</a>"
        )


class Plan(Page):
    @tornado.web.authenticated
    async def get(self) -> None:
        plan = await self.members.plan_of(self.session.user)
        self.write(f"Your plan: {plan}. <a href=/auth/account>Account</a>")


def make(
    members: Members, store: str = "sqlite:///shop.db", **options: Any
) -> tuple[tornado.web.Application, AccountPages]:
    """Return the application and its account pages. ``options`` are further arguments of ``AccountPages``."""
    sessions = Sessions(store, secret="change me: at least 32 random characters")  # noqa: S106 - an example
    pages = AccountPages(sessions, users=members, prefix="/auth", service="Shop", fields=FIELDS, **options)
    application = tornado.web.Application(
        [("/", Home), ("/plan", Plan), *pages.routes()],
        sessions=sessions,
        members=members,
        login_url=pages.login_url,
    )
    return application, pages


async def main() -> None:
    members = Members("sqlite:///shop-members.db")
    application, pages = make(members)
    await pages.open()
    if await members.named("ada") is None:
        await pages.accounts.register("ada", "ada@example.com", "correct horse battery staple", role=Role.ADMIN)
    application.listen(8888, "127.0.0.1")
    try:
        await asyncio.Event().wait()
    finally:
        await pages.close()
        await application.settings["sessions"].close()


if __name__ == "__main__":
    asyncio.run(main())
