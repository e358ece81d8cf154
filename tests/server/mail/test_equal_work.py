"""An answer costs the same whether an account exists: as many hashes, the same calls of the store, as many mails queued.

How long it takes is measured by ``benchmarks/equal_time.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from argon2.profiles import CHEAPEST
from support.browser import Browser
from support.clock import Clock
from support.mail_server import MailServer
from support.passwords import PASSWORD, SECRET
from typing_extensions import override

from tornado_sessions.server.accounts.fair_queue import Turn
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions


class Work(NamedTuple):
    """What a request has cost.

    Attributes:
        status: of its answer.
        length: of its answer, in bytes, and of the names of its headers.
        hashes: how many passwords were hashed or verified.
        calls: of the document store, with the kind of document.
        mails: how many it has queued.
    """

    status: int
    length: int
    headers: list[str]
    hashes: int
    calls: list[str]
    mails: int


class CountedPasswords(Passwords):
    """Counts what is hashed, with dummies as well."""

    many = 0

    @override
    async def hash(self, password: str, turn: Turn) -> str:
        self.many += 1
        return await super().hash(password, turn)

    @override
    async def verify(self, password_hash: str | None, password: str, turn: Turn) -> bool:
        self.many += 1
        return await super().verify(password_hash, password, turn)


class Counter:
    """Counts the work of requests to a server."""

    def __init__(self, parts: Parts, passwords: CountedPasswords) -> None:
        self._parts, self._passwords = parts, passwords
        self._calls: list[str] = []
        for name in ("get", "put", "delete", "page", "links", "count"):
            setattr(parts.documents, name, self._counted(name))

    def _counted(self, name: str) -> Any:
        call = getattr(self._parts.documents, name)

        async def counted(*given: Any, **named: Any) -> Any:
            self._calls.append(f"{name} {given[0] if isinstance(given[0], str) else len(given[0])}")
            return await call(*given, **named)

        return counted

    async def of(self, browser: Browser, path: str, fields: dict[str, str]) -> Work:
        await browser.get("/forgot")
        before = len(await self._parts.documents.all("mail"))
        self._calls.clear()
        self._passwords.many = 0
        answer = await browser.post(path, fields)
        # The head of the audit log is written in the background, by the clock.
        calls = sorted(call for call in self._calls if call != "put audit_head")
        mails = len(await self._parts.documents.all("mail")) - before
        names = sorted(name for name, _ in answer.headers.get_all())
        return Work(answer.code, len(answer.body), names, self._passwords.many, calls, mails)


@pytest.fixture
def passwords() -> CountedPasswords:
    return CountedPasswords(CHEAPEST)


@pytest.fixture
def parts(
    url: str, clock: Clock, mail_server: MailServer, passwords: CountedPasswords, io_loop: Any
) -> Iterator[Parts]:
    options = ServerOptions(
        store=url,
        secret=[SECRET],
        smtp_url=mail_server.url,
        public_url="http://sessions.example",
        allowed_hosts=["127.0.0.1", "localhost"],
    )
    parts = Parts(options, passwords=passwords, clock=clock)
    io_loop.run_sync(parts.open)
    yield parts
    io_loop.run_sync(parts.close)


def registration(name: str, email: str) -> dict[str, str]:
    return {"username": name, "email": email, "password": PASSWORD}


#: By what is asked: the path, and forms that must cost the same. All texts of a group have the same length.
GROUPS = {
    "sign-in": (
        "/login",
        [{"username": name, "password": "wrong"} for name in ("ada", "eve", "zzz", "bob")],
    ),
    "sign-in with an email": (
        "/login",
        [{"username": f"{name}@example.org", "password": "wrong"} for name in ("ada", "eve", "zzz")],
    ),
    "sign-in of a blocked account": (
        "/login",
        [{"username": name, "password": "wrong"} for name in ("ben", "zzz")],
    ),
    "forgotten password": (
        "/forgot",
        [{"username": name} for name in ("ada", "eve", "zzz", "ben")],
    ),
    "forgotten password by email": (
        "/forgot",
        [{"username": f"{name}@example.org"} for name in ("ada", "eve", "zzz", "ben")],
    ),
    "registration": (
        "/reg",
        [
            registration("new", "n01@example.org"),
            registration("ada", "n02@example.org"),
            registration("ne3", "ada@example.org"),
            registration("ada", "ada@example.org"),
            registration("ne4", "eve@example.org"),
        ],
    ),
}


@pytest.mark.parametrize("asked", GROUPS)
@pytest.mark.gen_test(timeout=30)
async def test_an_answer_costs_the_same_whether_the_account_exists(
    browser: Browser, parts: Parts, passwords: CountedPasswords, asked: str
) -> None:
    for name, is_confirmed in (("ada", True), ("eve", False), ("ben", True)):
        await parts.accounts.register(name, f"{name}@example.org", PASSWORD, email_confirmed=is_confirmed)
    await parts.accounts.block("ben", None)
    counter = Counter(parts, passwords)
    path, forms = GROUPS[asked]
    # The first request of a process may do more, such as read the head of the audit log.
    await counter.of(browser.copy(), path, {**forms[0], "username": "other"})
    works = [await counter.of(browser.copy(), path, form) for form in forms]
    assert {str(work) for work in works} == {str(works[0])}, works
    assert works[0].hashes == (0 if path == "/forgot" else 1)
    assert works[0].mails == (0 if path == "/login" else 1)


@pytest.mark.gen_test(timeout=30)
async def test_a_failed_sign_in_of_nobody_is_recorded_without_what_was_typed(browser: Browser, parts: Parts) -> None:
    await browser.post("/login", {"username": "my secret password", "password": "x"})
    (entry,) = await parts.audit.entries(AuditQuery(act="log-in failed"))
    assert (entry.user, entry.actor) == ("", "")
    assert "my secret" not in str(await parts.audit.entries())
