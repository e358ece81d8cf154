"""The whole server in a thread of this process, with people in it, so that tests reach each state of a page directly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import pyotp
from argon2.profiles import CHEAPEST
from browser.crowd import people
from support.browser import FIREFOX, Browser
from support.clock import Clock
from support.passwords import PASSWORD, SECRET
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.web import Application

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
from tornado_sessions.server.operations.selections import Matching
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.access import PASSWORD_FRESH_FOR
from tornado_sessions.server.web.application import make_application

T = TypeVar("T")

#: Everybody whose pages are looked at, besides visitors, with their roles.
PEOPLE = {
    "ada": Role.USER,
    "careful": Role.USER,
    "vic": Role.VIEWER,
    "root": Role.ADMIN,
    "fresh": Role.ADMIN,
}


class Site:
    """A server on a store of its own, in a thread.

    Args:
        folder: where the files of SQLite are.
        url: of the store; by default SQLite.
        options: further settings.

    Attributes:
        cookies: of whoever has signed in, by name.
    """

    parts: Parts
    app: Application
    url: str

    def __init__(self, folder: Path, url: str | None = None, **options: Any) -> None:
        self.file = folder / "sessions.db"
        self.clock = Clock(now=None)
        self.cookies: dict[str, dict[str, str]] = {"visitor": {}}
        self.totp = ""
        self._numbers = 0
        self._options = ServerOptions(
            store=url or f"sqlite:///{self.file}", secret=[SECRET], store_timeout=60, idle_timeout=4 * 3600, **options
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine in the server's thread and return its result."""

        async def wrapped() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(wrapped(), self._loop).result(120)

    async def _open(self) -> None:
        self.parts = Parts(self._options, passwords=Passwords(CHEAPEST), clock=self.clock)
        await self.parts.open()
        self.app = make_application(self.parts, place=place_of, recovery_url="/home")
        self._server = HTTPServer(self.app)
        self._server.listen(0, "127.0.0.1")
        port = next(iter(self._server._sockets.values())).getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    async def _close(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()
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
        await self.parts.census.figures(wait=10)
        for name in (*["ada"] * 30, "careful", "vic", "root"):
            await self.sign_in(name)
        await self._act()
        # From now on, operators are asked for their passwords; "fresh" has just given it.
        self.clock.ahead += PASSWORD_FRESH_FOR + 1
        await self.sign_in("fresh")

    async def _act(self) -> None:
        root = Actor("root", "192.0.2.17", Role.ADMIN, FIREFOX)
        parts = self.parts
        await parts.actions.end(root, Matching(Where(ip="192.0.2.66")), "Suspicious activity", expected=None)
        await parts.sessions.destroy_many(await self.handles(None, 30), cause=Cause.LOGOUT)
        entry = await parts.audit.note(root, Action.END_MATCHING, reason="Signed in with stolen passwords, ticket 4711")
        await parts.actions.block(root, "person07", 5 * 3600, "Lost phone")
        await parts.actions.create_token(root, "deploy", ["sessions:read"], 86400)
        await parts.credentials.invite(root, Role.OPERATOR)
        await parts.saved_views.save("root", "Phones of mallory", "user=mallory")
        await self._put_jobs(entry)

    async def _put_jobs(self, entry: Entry) -> None:
        """Jobs of every state. None of them runs, because this server has no background work."""
        now, where = self.clock(), Where(user="mallory")
        job = Job(
            id="running", where=where, actor="root", reason="Leak", entry=entry, expected=400, ended=150, confirmed=400,
            started_at=now - 60, since=now - 9, lease_until=now + 36000,
        )  # fmt: skip
        change = partial(msgspec.structs.replace, job)
        counting = change(id="counting", is_exact=False, ended=0, confirmed=0)
        paused = change(id="paused", ended=0, confirmed=0, state=JobState.PAUSED)
        done = change(id="done", ended=400, state=JobState.DONE, finished_at=now)
        cancelled = change(id="cancelled", state=JobState.CANCELLED, finished_at=now)
        failed = change(id="failed", state=JobState.FAILED, finished_at=now, error="Redis: LOADING")
        for each in (job, counting, paused, done, cancelled, failed):
            await self.parts.documents.put(KIND, document_of(each, 1), tags=[each.state.value])
        await self.parts.documents.put(KIND, Document("damaged", 1, b"{"), tags=["running"])

    async def handles(self, user: str | None, count: int = 1) -> list[str]:
        """Return session IDs of a user's sessions; ``None``: of visitors'."""
        where = Where(user=user) if user is not None else Where(signed_in=False)
        return [item.handle for item in (await self.parts.sessions.find(where, limit=count)).items]

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

    async def ended(self) -> str:
        """Return a cookie of a session that an operator has ended."""
        browser = Browser(AsyncHTTPClient(), self.url)
        assert (await browser.log_in("person01")).code == 303
        for handle in await self.handles("person01", 50):
            await self.parts.sessions.destroy(handle, cause=Cause.OPERATOR, by="root", reason="Suspicious activity")
        return browser.cookies["sid"]

    def number(self) -> int:
        """Return another number at each call, for names that are not taken."""
        self._numbers += 1
        return self._numbers

    async def newcomer(self, name: str) -> str:
        """Return the session cookie of somebody who has just registered."""
        await self.parts.accounts.register(name, f"{name}@example.org", PASSWORD)
        browser = Browser(AsyncHTTPClient(), self.url)
        assert (await browser.log_in(name)).code == 303
        return browser.cookies["sid"]

    async def starter(self, name: str) -> tuple[str, str, str]:
        """Return the session cookie of somebody new, with a secret for an authenticator app and its code."""
        secret = pyotp.random_base32(32)
        return await self.newcomer(name), secret, pyotp.TOTP(secret).at(int(self.clock()))
