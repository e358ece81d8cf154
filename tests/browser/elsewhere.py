"""Sites beside the server with its own accounts: people of a provider, a server that sends mail, and applications of somebody
else with the dashboard, or with our pages on a table of users of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from argon2.profiles import CHEAPEST
from browser.crowd import people
from browser.served import Served
from browser.site import Site
from support.browser import Browser
from support.mail_server import MailServer
from support.oidc_provider import OIDCProvider, path_of
from support.oidc_provider import Person as Browsing
from support.passwords import PASSWORD, SECRET
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application
from typing_extensions import override

from examples.mounted.app import Home, Login, People, Users
from examples.own_users.app import Plan
from examples.own_users.users import Members
from tornado_sessions import SessionConfig, Sessions
from tornado_sessions.server import AccountPages, Dashboard, Field, Person
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.operations.people import PeoplePage, PeopleQuery
from tornado_sessions.server.roles import Role


class MailSite(Site):
    """A server that sends mail, to a real mail server."""

    recovery_url = ""

    def __init__(self, folder: Path, mail: MailServer) -> None:
        super().__init__(folder, smtp_url=mail.url)

    @override
    async def settings(self) -> dict[str, Any]:
        return {**self._options, "public_url": self.url}

    async def add_people(self) -> None:
        """Make somebody whose address is confirmed, somebody who has confirmed none, and somebody with a new one."""
        for name in ("ada", "bob", "eve"):
            await self.parts.accounts.register(name, f"{name}@example.org", PASSWORD)
        user = await self.parts.accounts.get("ada")
        assert user is not None
        link = await self.parts.confirmations.find(await self.parts.confirmations.for_email(user))
        await self.parts.confirmations.confirm(link)
        for name in ("ada", "bob", "eve"):
            await self.sign_in(name)

    async def confirmation(self, name: str) -> str:
        """Return the path of the link that confirms somebody's address."""
        user = await self.parts.accounts.get(name)
        assert user is not None
        return f"/confirm/{await self.parts.confirmations.for_email(user)}"

    async def registration(self, name: str) -> str:
        """Return the path of the link that creates an account."""
        email = f"new{self.number()}@example.org"
        return f"/confirm/{await self.parts.confirmations.for_registration(name, email, 'a hash', 'en_US')}"


class ProviderSite(Site):
    """A server whose people sign in at a real OpenID provider.

    Args:
        folder: where its files are.
        provider: a provider.
        only: whether no passwords are accepted.
    """

    recovery_url = ""

    def __init__(self, folder: Path, provider: OIDCProvider, *, only: bool = False) -> None:
        super().__init__(
            folder, oidc_only=only, oidc_roles="admins=admin", oidc_name="Example", encryption_key=["k" * 32]
        )
        self._provider = provider
        self.elsewhere = provider.issuer

    @override
    async def settings(self) -> dict[str, Any]:
        client = await self._provider.register(
            AsyncHTTPClient(),
            f"{self.url}/login/oidc/callback",
            post_logout_redirect_uris=[f"{self.url}/login/oidc/signed-out"],
        )
        secret = self.file.with_name("client-secret")
        secret.write_text(client["client_secret"])
        return {
            **self._options,
            "public_url": self.url,
            "oidc_issuer": self._provider.issuer,
            "oidc_client_id": client["client_id"],
            "oidc_client_secret_file": str(secret),
        }

    async def sign_in_there(self, name: str, groups: str = "-") -> Browser:
        """Sign somebody in at the provider; their cookies are kept."""
        browser = Browser(AsyncHTTPClient(), self.url)
        # The provider's time is the real one.
        later, self.clock.ahead = self.clock.ahead, 0
        await self._go_there(browser, "/login/oidc", name, groups)
        self.clock.ahead = later
        self.cookies[name] = browser.cookies
        return browser

    async def prove_there(self, name: str) -> Browser:
        """Sign somebody in, and let them prove once more who they are."""
        browser = await self.sign_in_there(name)
        await self._go_there(browser, "/login/oidc?prove=1", name, "-")
        return browser

    async def _go_there(self, browser: Browser, path: str, name: str, groups: str) -> None:
        started = await browser.get(path)
        person = Browsing(browser.client, self._provider.issuer, name, groups)
        back = path_of(await person.follow(started.headers["Location"]))
        answer = await browser.get(back, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
        assert answer.code == 303, answer.body

    async def add_people(self) -> None:
        """Make a person and an admin; the time in which a sign-in is a proof is over."""
        await self.sign_in_there("pat")
        await self.sign_in_there("olga", "admins")
        self.clock.ahead += 600


class SignsInAgain(People):
    """Users whose passwords the dashboard cannot check, and whom it cannot block. It lists nobody, but there may be more."""

    verify = search = block = None  # type: ignore[assignment]

    async def page(self, query: PeopleQuery) -> PeoplePage:
        return PeoplePage([], "more" if query.is_filtered else None)

    async def with_role(self, role: Role) -> list[Person]:
        found = await self.get("3")
        return [found] if found is not None and found.role is role else []

    async def set_role(self, user_id: str, role: Role) -> None:
        raise AssertionError("nobody's role is changed")


class MountedSite(Served):
    """The example of an application with its own users, and the dashboard below ``/ops``.

    Args:
        folder: where its files are.
        people: of the class that tells the dashboard about the users; ``SignsInAgain`` leads to the application's sign-in.
    """

    home = "/ops/jobs"
    kept = "ops_"

    def __init__(self, folder: Path, people: type[People] = People) -> None:
        super().__init__()
        self._folder = folder
        self._people = people

    @override
    async def make(self) -> Application:
        self.users = Users(str(self._folder / "users.db"))
        for name, role in (("ada", None), ("vic", "viewer"), ("root", "admin"), ("fresh", "admin"), ("bob", None)):
            self.users.add(name, PASSWORD, role)
        url = f"sqlite:///{self._folder}/sessions.db"
        self.sessions = Sessions(url, config=SessionConfig(secret=SECRET), clock=self.clock)
        self.dashboard = Dashboard(
            self.sessions, people=self._people(self.users), prefix="/ops", reauthenticate_url="/login?again=1"
        )
        await self.dashboard.open()
        return Application(
            [("/", Home), ("/login", Login), *self.dashboard.routes()],
            sessions=self.sessions,
            users=self.users,
            login_url="/login",
            xsrf_cookies=True,
        )

    @override
    async def end(self) -> None:
        await self.dashboard.close()
        await self.sessions.close()
        self.users.database.close()

    async def add_people(self) -> None:
        """Sign people in, and put sessions into the store; the time in which a sign-in is a proof is over for all but one."""
        await self.sessions.store.save([*people(60)])
        self.users.block("5", self.clock() + 5 * 3600)
        for name in ("ada", "vic", "root"):
            await self.sign_in(name)
        self.clock.ahead += 600
        await self.sign_in("fresh")

    async def sign_in(self, name: str) -> None:
        """Sign somebody in; their cookies are kept."""
        browser = Browser(AsyncHTTPClient(), self.url)
        await browser.get("/login")
        fields = {"name": name, "password": PASSWORD, "next": "/", "_xsrf": browser.cookies["_xsrf"]}
        answer = await browser.send(
            "POST", "/login", urlencode(fields), Content_Type="application/x-www-form-urlencoded"
        )
        assert answer.code == 302, answer.body
        self.cookies[name] = browser.cookies

    async def handle_of(self, user_id: str) -> str:
        """Return the session ID of somebody."""
        return (await self.sessions.find(user=user_id, limit=1)).items[0].handle


#: One of each kind, with a text of one language and of two.
FIELDS = [
    Field("full_name", "Full name", required=True),
    Field("desk", "Desk", kind=int, hint="The number on it."),
    Field("team", {"en_US": "Team", "zh": "团队"}, choices={"ops": "Operations", "dev": "Development"}),
    Field("terms", "I accept the terms", kind=bool, required=True),
]


class OwnUsersSite(Served):
    """The example of an application with our pages on its own table of users, with fields of every kind.

    Args:
        folder: where its files are.
    """

    # Everybody may see that nothing is there.
    home = "/auth/nothing-here"
    kept = "auth_"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._members = Members(f"sqlite:///{folder}/members.db")
        self._sessions = Sessions(f"sqlite:///{folder}/shop.db", secret=SECRET)

    @override
    async def make(self) -> Application:
        self.pages = AccountPages(
            self._sessions,
            users=self._members,
            home="/plan",
            service="Shop",
            fields=FIELDS,
            passwords=Passwords(CHEAPEST),
        )
        await self.pages.open()
        return Application(
            [("/plan", Plan), *self.pages.routes()],
            sessions=self._sessions,
            members=self._members,
            login_url=self.pages.login_url,
            xsrf_cookies=True,
        )

    @override
    async def end(self) -> None:
        await self.pages.close()
        await self._sessions.close()
        self._members.engine.dispose()

    async def add_people(self) -> None:
        """Make somebody who has filled in the fields, and an admin, and sign them in."""
        own = {"extra_full_name": "Ada Lovelace", "extra_desk": "7", "extra_team": "ops", "extra_terms": "1"}
        await self.pages.accounts.register("ada", "ada@example.org", PASSWORD, extra=own)
        await self.pages.accounts.register("root", "root@example.org", PASSWORD, role=Role.ADMIN)
        for name in ("ada", "root"):
            browser = Browser(AsyncHTTPClient(), self.url)
            answer = await browser.post("/auth/login", {"username": name, "password": PASSWORD}, page="/auth/login")
            assert answer.code == 303, answer.body
            self.cookies[name] = browser.cookies
