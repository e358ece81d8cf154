"""The whole server in a thread of this process, with people in it, so that tests reach each state of a page directly."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyotp
from argon2.profiles import CHEAPEST
from browser.crowd import people, without_address
from browser.served import Served
from support.browser import FIREFOX, Browser
from support.passwords import PASSWORD, SECRET
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application
from typing_extensions import override

from tornado_sessions.query import Where
from tornado_sessions.record import Cause
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.demo.crowd import place_of
from tornado_sessions.server.documents import Document
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.entries import Entry
from tornado_sessions.server.operations.job import Job, JobState, document_of
from tornado_sessions.server.operations.job_runner import KIND
from tornado_sessions.server.operations.selections import Handles, Matching, OfUser
from tornado_sessions.server.operations.tops import Tops
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.access import PASSWORD_FRESH_FOR
from tornado_sessions.server.web.application import make_application
from tornado_sessions.server.web.server_site import Demo

#: Everybody whose pages are looked at, besides visitors, with their roles.
PEOPLE = {
    "ada": Role.USER,
    "careful": Role.USER,
    "vic": Role.VIEWER,
    "root": Role.ADMIN,
    "fresh": Role.ADMIN,
}


class Site(Served):
    """A server on a store of its own, in a thread.

    Args:
        folder: where the files of SQLite are.
        url: of the store; by default SQLite.
        demo: whose pages say that all is made up.
        options: further settings.
    """

    parts: Parts
    recovery_url = "/home"

    def __init__(self, folder: Path, url: str | None = None, demo: Demo | None = None, **options: Any) -> None:
        super().__init__()
        self.file = folder / "sessions.db"
        self.totp = ""
        self._demo = demo
        self._options = {"store": url or f"sqlite:///{self.file}", **options}

    async def settings(self) -> dict[str, Any]:
        """Return the settings; ``url`` is known."""
        return self._options

    @override
    async def make(self) -> Application:
        options = ServerOptions(secret=[SECRET], store_timeout=60, idle_timeout=4 * 3600, **await self.settings())
        self.parts = Parts(options, passwords=Passwords(CHEAPEST), clock=self.clock)
        await self.parts.open()
        return make_application(self.parts, place=place_of, recovery_url=self.recovery_url, demo=self._demo)

    @override
    async def end(self) -> None:
        await self.parts.close()

    async def sign_in(self, name: str) -> None:
        """Sign somebody in; their cookies are kept."""
        browser = Browser(AsyncHTTPClient(), self.url)
        answer = await browser.log_in(name)
        if name == "careful":
            page = answer.body.decode()
            fields = {field: page.split(f'name="{field}" value="')[1].split('"')[0] for field in ("name", "ticket")}
            answer = await browser.post("/login/code", {**fields, "code": self.code()})
        assert answer.code == 303, name
        self.cookies[name] = browser.cookies

    def code(self) -> str:
        """Return a new code of careful's authenticator app."""
        self.clock.ahead += 31
        return pyotp.TOTP(self.totp).at(int(self.clock()))

    async def fill(self, sessions: int = 600, accounts: int = 60) -> None:
        """Put people, sessions, jobs and a history into the stores."""
        register = self.parts.accounts.register
        for name, role in PEOPLE.items():
            await register(name, f"{name}@example.org", PASSWORD, role=role)
        for number in range(accounts):
            name = f"person{number:02}"
            await register(name, f"{name}@example.org", PASSWORD)
        made = list(people(sessions))
        for start in range(0, sessions, 200):
            await self.parts.sessions.store.save(made[start : start + 200])
        self.totp = pyotp.random_base32(32)
        await self.parts.accounts.enable_two_steps("careful", self.totp, self.code())
        await self.parts.sessions.store.save([*without_address(self.clock())])
        before = Tops(users=[("mallory", 3)], devices=[("Firefox on Linux", 300)])
        await self.parts.census.history.keep(self.clock() - 86400, before)
        await self.parts.census.figures(wait=10)
        for name in (*["ada"] * 30, "careful", "vic", "root"):
            await self.sign_in(name)
        await self.parts.device_names.rename("ada", (await self.handles("ada"))[0], "Work laptop")
        await self._act()
        # From now on, operators are asked for their passwords; "fresh" has just given it.
        self.clock.ahead += PASSWORD_FRESH_FOR + 1
        await self.sign_in("fresh")

    async def _act(self) -> None:
        root = Actor("root", "192.0.2.17", Role.ADMIN, FIREFOX)
        parts = self.parts
        await parts.actions.end(root, Matching(Where(ip="192.0.2.66")), "Suspicious activity", expected=None)
        await parts.sessions.destroy_many(await self.handles(None, 30), cause=Cause.LOGOUT)
        await parts.sessions.destroy_many(await self.handles("mallory", 12), cause=Cause.LOGOUT)
        entry = await parts.audit.note(root, Action.END_MATCHING, reason="Signed in with stolen passwords, ticket 4711")
        await parts.actions.block(root, "person07", 5 * 3600, "Lost phone")
        await self._make_staff(root)
        token = await parts.actions.create_token(root, "deploy", ["sessions:read"], 86400)
        await parts.tokens.verify(token, "192.0.2.17")
        await parts.actions.create_token(root, "backup", ["sessions:read"], None)
        await parts.audit.note(root, Action.CANCEL_JOB, target="cancelled")
        await parts.audit.note(Actor("cli"), Action.CANCEL_JOB, target="cancelled")
        failed = await parts.audit.note(root, Action.END_USER, user="jonas2", reason="Lost phone", ref="failed")
        await parts.audit.outcome(root, failed, error="StoreUnavailable")
        await parts.credentials.invite(root, Role.OPERATOR)
        await parts.saved_views.save("root", "Phones of mallory", "user=mallory")
        await self._put_jobs(entry)
        for _ in range(3):
            await self.sign_in("person02")
        await parts.actions.end(root, OfUser("person02"), "Lost or stolen device", expected=None)
        await parts.actions.end(root, Handles(await self.handles("jonas3")), "Suspicious activity", expected=None)

    async def _make_staff(self, root: Actor) -> None:
        """Somebody with two-step verification, who is blocked."""
        await self.parts.accounts.register("vera", "vera@example.org", PASSWORD, role=Role.VIEWER)
        secret = pyotp.random_base32(32)
        await self.parts.accounts.enable_two_steps("vera", secret, pyotp.TOTP(secret).at(int(self.clock())))
        await self.parts.actions.block(root, "vera", 5 * 3600, "Left the company")

    async def _put_jobs(self, entry: Entry) -> None:
        """Jobs of every state. None of them runs, because this server has no background work."""
        now, where = self.clock(), Where(user="mallory")
        job = Job(
            id="running", where=where, actor="root", reason="Leak", entry=entry, expected=400, ended=150, confirmed=400,
            started_at=now - 60, since=now - 9, lease_until=now + 36000,
        )  # fmt: skip
        others = await self.parts.audit.note(
            Actor("root", "192.0.2.17"), Action.END_EVERYBODY, target="except", reason="Leak"
        )
        change = partial(msgspec.structs.replace, job)
        counting = change(id="counting", is_exact=False, ended=0, confirmed=0)
        paused = change(id="paused", ended=0, confirmed=0, state=JobState.PAUSED)
        grown = change(id="grown", ended=20, confirmed=300, state=JobState.PAUSED)
        done = change(id="done", ended=400, state=JobState.DONE, finished_at=now)
        cancelled = change(id="cancelled", state=JobState.CANCELLED, finished_at=now)
        failed = change(id="failed", state=JobState.FAILED, finished_at=now, error="Redis: LOADING")
        everybody = change(id="everybody", where=None, except_handle=(await self.handles("root"))[0], entry=others)
        continued = msgspec.structs.replace(failed, id="continued")
        successor = msgspec.structs.replace(done, id=continued.successor_id)
        for each in (job, counting, paused, grown, done, cancelled, failed, everybody, continued, successor):
            await self.parts.documents.put(KIND, document_of(each, 1), tags=[each.state.value])
        await self.parts.documents.put(KIND, Document("damaged", 1, b"{"), tags=["running"])

    async def put_stopped_job(self) -> None:
        """A job whose server has stopped, which is something that operators must look at."""
        now = self.clock()
        entry = await self.parts.audit.note(Actor("root", "192.0.2.17"), Action.END_USER, user="ada", reason="Leak")
        job = Job(
            id="stopped", where=Where(user="ada"), actor="root", reason="Leak", entry=entry, expected=40, ended=15, confirmed=40,
            started_at=now - 3600, since=now - 3600, lease_until=now - 3600,
        )  # fmt: skip
        await self.parts.documents.put(KIND, document_of(job, 1), tags=[job.state.value])

    async def handles(self, user: str | None, count: int = 1) -> list[str]:
        """Return session IDs of a user's sessions; ``None``: of visitors'."""
        where = Where(user=user) if user is not None else Where(signed_in=False)
        return [item.handle for item in (await self.parts.sessions.find(where, limit=count)).items]

    async def proved(self) -> dict[str, str]:
        """Return the cookies of an admin who has just given the password."""
        browser = Browser(AsyncHTTPClient(), self.url)
        assert (await browser.log_in("fresh")).code == 303
        return browser.cookies

    async def ticket(self) -> dict[str, str]:
        """Return the fields by which somebody new goes on to the second step. Wrong codes slow down nobody else."""
        name = await self.two_step_user()
        page = (await Browser(AsyncHTTPClient(), self.url).log_in(name)).body.decode()
        return {field: page.split(f'name="{field}" value="')[1].split('"')[0] for field in ("name", "ticket")}

    async def two_step_user(self) -> str:
        """Return the name of somebody new with two-step verification."""
        name, secret = f"step{self.number()}", pyotp.random_base32(32)
        await self.parts.accounts.register(name, f"{name}@example.org", PASSWORD)
        await self.parts.accounts.enable_two_steps(name, secret, pyotp.TOTP(secret).at(int(self.clock())))
        return name

    async def ended(self) -> dict[str, str]:
        """Return the cookies of a session that an operator has ended."""
        browser = Browser(AsyncHTTPClient(), self.url)
        assert (await browser.log_in("person01")).code == 303
        for handle in await self.handles("person01", 50):
            await self.parts.sessions.destroy(handle, cause=Cause.OPERATOR, by="root", reason="Suspicious activity")
        return browser.cookies

    async def newcomer(self, name: str, role: Role = Role.USER) -> dict[str, str]:
        """Return the cookies of somebody who has just registered."""
        await self.parts.accounts.register(name, f"{name}@example.org", PASSWORD, role=role)
        browser = Browser(AsyncHTTPClient(), self.url)
        assert (await browser.log_in(name)).code == 303
        return browser.cookies

    async def starter(self, name: str) -> tuple[dict[str, str], str, str]:
        """Return the cookies of somebody new, with a secret for an authenticator app and its code."""
        secret = pyotp.random_base32(32)
        return await self.newcomer(name), secret, pyotp.TOTP(secret).at(int(self.clock()))
