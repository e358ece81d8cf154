"""The example of an application whose users register and sign in with our pages, on its own table of users."""

from __future__ import annotations

import re
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pyotp
import pytest
from argon2.profiles import CHEAPEST
from support.browser import Browser
from support.passwords import PASSWORD
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from examples.own_users.app import make
from examples.own_users.users import Members, former_hash
from tornado_sessions.server import AccountPages, Role
from tornado_sessions.server.accounts.passwords import Passwords

OTHER = "an entirely different phrase"


class Shop:
    """The running application."""

    def __init__(self, members: Members, pages: AccountPages, browser: Browser, path: Path) -> None:
        self.members, self.pages, self.browser, self.path = members, pages, browser, path

    def another(self) -> Browser:
        return Browser(self.browser.client, self.browser.base)

    def rows(self, what: str, *values: Any) -> list[Any]:
        connection = sqlite3.connect(self.path)
        try:
            with connection:
                return connection.execute(what, values).fetchall()
        finally:
            connection.close()


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Shop]:
    members = Members(f"sqlite:///{folder}/members.db")
    application, pages = make(members, f"sqlite:///{folder}/shop.db", passwords=Passwords(CHEAPEST))
    server, [listening] = HTTPServer(application), bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    client = AsyncHTTPClient(force_instance=True)
    await pages.open()
    try:
        browser = Browser(client, f"http://127.0.0.1:{listening.getsockname()[1]}")
        yield Shop(members, pages, browser, folder / "members.db")
    finally:
        server.stop()
        client.close()
        await pages.close()
        await application.settings["sessions"].close()
        members.engine.dispose()


async def post(browser: Browser, path: str, **fields: str) -> Any:
    return await browser.post(path, fields, page="/auth/login" if "sid" not in browser.cookies else "/auth/account")


async def register(browser: Browser, name: str = "ada", **more: str) -> Any:
    return await post(
        browser,
        "/auth/register",
        username=name,
        email=f"{name}@example.org",
        password=PASSWORD,
        extra_full_name="Ada Lovelace",
        **more,
    )


async def log_in(browser: Browser, name: str = "ada", password: str = PASSWORD, following: str = "") -> Any:
    return await post(browser, "/auth/login", username=name, password=password, next=following)


def text(answer: Any) -> str:
    return answer.body.decode()  # type: ignore[no-any-return]


@pytest.mark.gen_test
async def test_a_visitor_registers_signs_in_and_out_on_the_tables_of_the_shop(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        ada = shop.browser
        answer = await ada.get("/plan")
        assert answer.headers["Location"].startswith("/auth/login?next=%2Fplan")
        assert (await register(ada)).code == 200
        assert shop.rows("SELECT id, name, email, full_name, plan, revision FROM members") == [
            (1, "ada", "ada@example.org", "Ada Lovelace", "free", 1)
        ]
        assert (await log_in(ada, following="/plan")).headers["Location"] == "/plan"
        assert "Your plan: free" in text(await ada.get("/plan"))
        account = await ada.get("/auth/account")
        assert "ada" in text(account)
        assert "· Shop</title>" in text(account)
        assert (await post(ada, "/auth/logout")).code == 200
        assert (await ada.get("/plan")).code == 302
        # Without a page that asked for it, a sign-in leads to the shop.
        assert (await log_in(ada)).headers["Location"] == "/"


#: What a browser asks a sign-in to lead to, and where it leads.
NEXT = {
    "/plan?a=1": "/plan?a=1",
    "/auth/account/security": "/auth/account/security",
    "/auth/../plan": "/plan",
    "//evil.example": "/",
    "https://evil.example/plan": "/",
    "/\\evil.example": "/",
    "/auth/logout": "/",
    "/auth/language/zh": "/",
    "/auth/login": "/",
    "": "/",
}


@pytest.mark.gen_test
async def test_a_sign_in_leads_to_pages_of_the_shop_and_nowhere_else(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        await shop.pages.accounts.register("ada", "ada@example.org", PASSWORD)
        for asked, leads_to in NEXT.items():
            browser = shop.another()
            assert (await log_in(browser, following=asked)).headers["Location"] == leads_to
            # Who is signed in is led on as well.
            answer = await browser.get("/auth/login?" + urlencode({"next": asked}))
            assert answer.headers["Location"] == leads_to


@pytest.mark.gen_test
async def test_changes_keep_the_columns_of_the_shop_and_take_over_its_own_changes(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        ada = shop.browser
        await register(ada)
        shop.rows(
            "UPDATE members SET plan = 'gold', email = 'new@example.org', email_key = 'new@example.org', revision = 2"
        )
        await log_in(ada)
        shop.rows("UPDATE members SET full_name = 'Countess Lovelace', revision = revision + 1")
        profile = text(await ada.get("/auth/account/profile"))
        assert "new@example.org" in profile
        assert "Countess Lovelace" in profile
        answer = await post(ada, "/auth/account/password", old_password=PASSWORD, new_password=OTHER)
        assert answer.code == 303
        assert shop.rows("SELECT plan, email, revision FROM members") == [("gold", "new@example.org", 4)]
        await post(ada, "/auth/account/details", extra_full_name="Lovelace")
        assert shop.rows("SELECT full_name, plan FROM members") == [("Lovelace", "gold")]
        assert (await log_in(shop.another(), password=PASSWORD)).code == 401
        assert (await log_in(shop.another(), password=OTHER)).code == 303


@pytest.mark.gen_test
async def test_two_steps_are_turned_on_and_asked_for_by_an_app_that_names_the_shop(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        ada = shop.browser
        await register(ada)
        await log_in(ada)
        page = text(await ada.get("/auth/account/two-steps"))
        found = re.search(r"otpauth://totp/[^\"<\s]+", page)
        assert found
        uri = urlsplit(found[0].replace("&amp;", "&"))
        given = parse_qs(uri.query)
        assert (given["issuer"], uri.path) == (["Shop"], "/Shop:ada")
        secret = given["secret"][0]
        code = pyotp.TOTP(secret).now()
        assert (await post(ada, "/auth/account/two-steps", secret=secret, password=PASSWORD, code=code)).code == 200
        elsewhere = shop.another()
        form = text(await log_in(elsewhere, following="/plan"))
        fields = {name: form.split(f'name="{name}" value="')[1].split('"')[0] for name in ("name", "ticket", "next")}
        # The code has been used; the app's next one is good already.
        later = pyotp.TOTP(secret).at(int(time.time()) + 30)
        assert fields["name"] == "1"
        assert (await post(elsewhere, "/auth/login/code", code="000000", **fields)).code == 401
        answer = await post(elsewhere, "/auth/login/code", code=later, **fields)
        assert (answer.code, answer.headers.get("Location")) == (303, "/plan")


@pytest.mark.gen_test
async def test_operators_see_and_end_the_same_people(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        ada, bob = shop.browser, shop.another()
        await shop.pages.accounts.register("ada", "ada@example.org", PASSWORD, role=Role.ADMIN)
        await register(bob, "bob")
        for browser, name in ((ada, "ada"), (bob, "bob")):
            await log_in(browser, name)
        assert (await bob.get("/auth/admin/")).code == 403
        listed = text(await ada.get("/auth/admin/users?q=b"))
        assert ">bob<" in listed
        assert "user?name=2" in listed
        person = text(await ada.get("/auth/admin/user?name=2&tab=profile"))
        assert "bob@example.org" in person
        assert "Ada Lovelace" in person
        block = {"user": "2", "seconds": "no end", "reason": "left"}
        assert (await ada.post("/auth/admin/block", block, page="/auth/admin/")).code == 303
        assert (await bob.get("/plan")).code == 302
        assert (await log_in(shop.another(), "bob")).code == 403
        assert shop.rows("SELECT id FROM members WHERE blocked_until IS NOT NULL") == [(2,)]
        reset = {"user": "2", "what": "password", "reason": "asked"}
        answer = text(await ada.post("/auth/admin/reset", reset, page="/auth/admin/"))
        assert "/auth/password/" in answer


@pytest.mark.gen_test
async def test_a_name_that_is_the_id_of_somebody_else_gains_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        await register(shop.browser, "ada")
        mallory = shop.another()
        await register(mallory, "11")
        assert shop.rows("SELECT id, name FROM members") == [(1, "ada"), (2, "11")]
        shop.rows("UPDATE members SET id = 11 WHERE id = 1")
        # Deleted, while a session of hers goes on: it is nobody's, and not that of whoever has the name.
        await log_in(shop.browser)
        shop.rows("DELETE FROM members WHERE id = 11")
        page = text(await shop.browser.get("/auth/account/profile"))
        assert "11@example.org" not in page
        assert (await log_in(mallory, "11")).code == 303


@pytest.mark.gen_test
async def test_a_member_of_old_signs_in_with_the_old_password_once_and_gets_our_hash(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        sql = "INSERT INTO members (name, email, full_name, plan, name_key, email_key, role, revision, record, former_password)"
        values = "VALUES ('Old Ada', 'ada@example.org', '', 'gold', 'old ada', 'ada@example.org', 'user', 1, '', ?)"
        shop.rows(f"{sql} {values}", former_hash("short one", b"salt"))
        assert (await log_in(shop.browser, "old ada", "wrong one")).code == 401
        assert (await log_in(shop.browser, "old ada", "short one")).code == 303
        [(record, plan, former)] = shop.rows("SELECT record, plan, former_password FROM members")
        assert "$argon2id$" in record
        assert (plan, former) == ("gold", "")
        assert (await log_in(shop.another(), "old ada", "short one")).code == 303


@pytest.mark.gen_test
async def test_an_outage_of_the_table_signs_nobody_out(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        await register(shop.browser)
        await log_in(shop.browser)
        shop.rows("ALTER TABLE members RENAME TO away")
        for path in ("/auth/account", "/auth/account/profile"):
            answer = await shop.browser.get(path)
            assert (answer.code, answer.headers.get("Retry-After") is not None) == (503, True)
            assert "Set-Cookie" not in answer.headers
        assert (await log_in(shop.another())).code == 503
        shop.rows("ALTER TABLE away RENAME TO members")
        assert (await shop.browser.get("/auth/account")).code == 200


@pytest.mark.gen_test
async def test_the_guide_makes_a_shop_whose_table_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of the guide, from top to bottom, is a program that works."""
    monkeypatch.chdir(tmp_path)
    text_of_guide = (Path(__file__).parents[2] / "docs/howto/own-users.md").read_text(encoding="utf8")
    guide = ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", guide)
    exec("\n".join(re.findall(r"```python\n(.*?)```", text_of_guide, re.DOTALL)), guide.__dict__)
    made: list[Any] = []

    def make_empty_table() -> Any:
        made.append(guide.Members(f"sqlite:///{tmp_path}/{len(made)}.db"))
        return made[-1]

    await guide.check(make_empty_table)
    server, [listening] = HTTPServer(guide.application), bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    client = AsyncHTTPClient(force_instance=True)
    await guide.pages.open()
    try:
        ada = Browser(client, f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert (await ada.get("/plan")).headers["Location"] == "/auth/login?next=%2Fplan"
        await register(ada)
        await guide.hire("Ada")
        assert (await log_in(ada)).headers["Location"] == "/plan"
        assert "Your plan: free" in text(await ada.get("/plan"))
        assert (await ada.get("/auth/admin/")).code == 200
    finally:
        server.stop()
        client.close()
        await guide.pages.close()
        await guide.sessions.close()
        for table in (*made, guide.members):
            table.engine.dispose()
