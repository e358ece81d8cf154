"""Hostile input and mistakes over HTTP: long names, absurd forms, formulas, odd user names."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any
from urllib.parse import quote

import pyotp
import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.people import fill_store, make_operator

from tornado_sessions.record import Tombstone
from tornado_sessions.server import display
from tornado_sessions.server.accounts.text import nfkc
from tornado_sessions.server.accounts.user import key_of
from tornado_sessions.server.display import device
from tornado_sessions.server.operations.export import csv_line
from tornado_sessions.server.operations.tokens import scopes_of
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

MARKS = "a" + "\u0301" * 15_000 + "\u0316" * 15_000


def test_long_names_are_not_normalised() -> None:
    """Unicode's normalisation takes quadratic time: a form's worth of marks would stop the server for seconds."""
    assert nfkc("e\u0301") == "é"
    assert nfkc(MARKS) == MARKS
    assert len(key_of(MARKS)) < 2_000


@pytest.mark.gen_test
async def test_forms_with_absurd_text_are_answered(browser: Browser) -> None:
    await browser.register()
    assert (await browser.log_in(MARKS)).code == 401
    assert (await browser.log_in(password=MARKS)).code == 401
    assert (await browser.post("/reg", {"username": MARKS, "email": MARKS, "password": MARKS})).code == 400
    assert (await browser.post("/login/code", {"name": MARKS, "ticket": "1.x", "code": "1"})).code == 303


@pytest.mark.gen_test
async def test_a_session_that_is_ended_while_its_password_changes_stays_ended(
    browser: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await browser.register()
    await browser.log_in()
    real = parts.accounts.change_password

    async def change(*given: Any) -> Any:
        changed = await real(*given)
        await parts.sessions.destroy_user("ada")
        return changed

    monkeypatch.setattr(parts.accounts, "change_password", change)
    fields = {"old_password": PASSWORD, "new_password": "another horse, another battery"}
    answer = await browser.post("/account/password", fields)
    assert (answer.code, answer.headers["Location"]) == (303, "/login")
    assert (await parts.sessions.count()).total == 0
    assert (await browser.get("/account")).code == 302


@pytest.mark.gen_test
async def test_a_second_step_is_never_replaced(browser: Browser, parts: Parts, clock: Clock) -> None:
    await browser.register()
    await browser.log_in()
    owner, thief = pyotp.random_base32(32), pyotp.random_base32(32)
    await parts.accounts.enable_two_steps("ada", owner, pyotp.TOTP(owner).at(clock()))
    given = {"secret": thief, "code": pyotp.TOTP(thief).at(clock()), "password": PASSWORD}
    assert (await browser.get("/account/two-steps")).headers["Location"] == "/account"
    assert (await browser.post("/account/two-steps", given)).headers["Location"] == "/account"
    clock.ahead += 30
    assert (await parts.accounts.second_step("ada", pyotp.TOTP(owner).at(clock()), "::1")).name == "ada"


@pytest.mark.gen_test
async def test_a_right_password_forgives_no_wrong_codes(browser: Browser, parts: Parts, clock: Clock) -> None:
    await browser.register()
    secret = pyotp.random_base32(32)
    await parts.accounts.enable_two_steps("ada", secret, pyotp.TOTP(secret).at(clock()))
    codes = []
    for _ in range(11):
        page = (await browser.log_in()).body.decode()
        fields = {name: page.split(f'name="{name}" value="')[1].split('"')[0] for name in ("name", "ticket")}
        codes.append((await browser.post("/login/code", {**fields, "code": "000000"})).code)
    assert codes == [401] * 10 + [429]


@pytest.mark.gen_test
async def test_names_are_the_same_however_they_are_written(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in(remember="1")
    await make_operator(parts, operator, Role.ADMIN)
    token = await operator.token()

    async def call(method: str, path: str, **body: Any) -> tuple[int, Any]:
        answer = await operator.send(method, f"/admin/api/{path}", json.dumps(body), X_XSRFToken=token)
        return answer.code, json.loads(answer.body) if answer.body else None

    assert (await call("PUT", "users/ADA/role", role="operator"))[0] == 204
    assert (await browser.get("/account")).code == 302, "who got another role logs in anew"
    assert (await parts.audit.entries())[0].user == "ada"
    assert (await call("PUT", "users/ROOT/role", role="user"))[0] == 403
    assert (await operator.post("/admin/operators/role", {"user": "ROOT", "role": "user"})).code == 403
    await browser.log_in()
    assert await call("POST", "sessions/destroy", user="ADA") == (200, {"destroyed": 1})


@pytest.mark.gen_test
async def test_only_an_admin_blocks_who_works_here(browser: Browser, operator: Browser, parts: Parts) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, role=Role.ADMIN)
    await make_operator(parts, operator)
    bearer = {"Authorization": f"Bearer {await parts.tokens.create('robot', scopes_of(Role.OPERATOR))}"}
    answer = await operator.send("POST", "/admin/api/users/ada/block", '{"seconds": 3600}', **bearer)
    assert (answer.code, "Only admins" in json.loads(answer.body)["detail"]) == (403, True)
    refused = await operator.post("/admin/block", {"user": "ada", "seconds": "3600"})
    assert (refused.code, "Only admins can block staff." in refused.body.decode()) == (403, True)
    assert (await browser.log_in()).code == 303


@pytest.mark.gen_test
async def test_the_setup_link_makes_one_admin_and_is_in_no_log(
    browser: Browser, other: Browser, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = await parts.setup.make()
    assert token is not None
    assert (await browser.send("POST", f"/setup/{token}", "")).code == 403
    made = await asyncio.gather(
        *(
            person.post(f"/setup/{token}", {"username": name, "email": f"{name}@example.org", "password": PASSWORD})
            for person, name in ((browser, "ada"), (other, "bob"))
        )
    )
    assert sorted(answer.code for answer in made) == [200, 404]
    admins = await parts.accounts.with_role(Role.ADMIN)
    assert len(admins) == 1
    await parts.accounts.set_role(admins[0].name, Role.USER)
    assert (await browser.get(f"/setup/{token}")).code == 404, "used once, dead for good"
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("tornado")]
    assert any("/setup/" in line for line in ours)
    assert token not in " ".join(ours)


@pytest.mark.gen_test
async def test_a_setup_link_outlives_a_form_with_faults(browser: Browser, parts: Parts) -> None:
    token = await parts.setup.make()
    assert token is not None
    fields = {"username": "ada", "email": "nowhere", "password": PASSWORD}
    assert (await browser.post(f"/setup/{token}", fields)).code == 400
    assert (await browser.post(f"/setup/{token}", {**fields, "email": "ada@example.org"})).code == 200


@pytest.mark.gen_test
async def test_numbers_without_end_are_refused(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    token = await operator.token()
    for digits in (400, 5_000):
        endless = "9" * digits
        form = {"where": '{"user": "zoe"}', "confirm": "1", "why": "x", "expected": endless}
        assert (await operator.post("/admin/end", form)).code == 400
        body = f'{{"where": {{"user": "zoe"}}, "reason": "x", "expected": {endless}}}'
        assert (await operator.send("POST", "/admin/api/sessions/destroy", body, X_XSRFToken=token)).code == 400
        for days in (endless, f"00001{endless}", "00001999999"):
            form = {"name": "x", "scope": "sessions:read", "days": days}
            assert (await operator.post("/admin/operators/tokens", form)).code == 400
    assert await parts.tokens.all() == []
    await parts.tokens.create("old", scopes_of(Role.VIEWER), lifetime=1e15)
    assert "9999-12-31" in (await operator.get("/admin/operators")).body.decode()
    assert (await operator.get("/static/%00")).code == 404


@pytest.mark.gen_test
async def test_a_bulk_act_says_one_thing_and_means_it(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    token = await operator.token()
    await fill_store(parts, 3, "192.0.2.7")
    typo = json.dumps({"where": {"usr": "mallory", "ip": "192.0.2.0/24"}, "reason": "a slip"})
    refused = await operator.send("POST", "/admin/api/sessions/destroy", typo, X_XSRFToken=token)
    assert (refused.code, "'usr'" in json.loads(refused.body)["detail"]) == (400, True)
    both = {"handle": "nobody", "where": '{"ip": "192.0.2.7"}', "confirm": "1", "why": "x", "expected": "0"}
    assert (await operator.post("/admin/end", both)).code == 400
    empty = await operator.send("POST", "/admin/api/sessions/destroy", '{"user": "ada"}', Authorization="")
    assert empty.code == 403, "an empty header is nobody's, and its form has no token"
    assert (await parts.sessions.count()).total == 4


@pytest.mark.gen_test
async def test_reasons_are_kept_to_a_length(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    token = await operator.token()
    await fill_store(parts, 1, "192.0.2.7")
    asked = json.dumps({"where": {"ip": "192.0.2.7"}, "reason": "x" * 50_000, "tell": True})
    await operator.send("POST", "/admin/api/sessions/destroy", asked, X_XSRFToken=token)
    ended = (await parts.sessions.find(state="ended")).items
    assert [len(item.ending.reason) for item in ended if isinstance(item, Tombstone)] == [500]
    assert len((await parts.jobs.all())[0].reason) == 500


@pytest.mark.parametrize("path", ["/admin/api", "/admin/api/", "/admin/api/nowhere"])
@pytest.mark.parametrize("method", ["GET", "POST", "FOO"])
@pytest.mark.gen_test
async def test_programs_get_problems_they_can_read(browser: Browser, path: str, method: str) -> None:
    answer = await browser.send(method, path, None if method == "GET" else "")
    assert 400 <= answer.code < 500
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("user", ["x" * 600, "名" * 300, "\x00", "."])
@pytest.mark.gen_test
async def test_a_name_that_no_user_can_have_is_refused_and_nothing_breaks(
    operator: Browser, parts: Parts, user: str
) -> None:
    await make_operator(parts, operator)
    address = quote(user, safe="")
    for path in (
        "/admin/user?name=",
        "/admin/?user=",
        "/admin/audit?who=",
        "/admin/api/users/",
        "/admin/api/sessions?user=",
    ):
        assert (await operator.get(path + address)).code in (200, 400, 404), path
    for fields in ({"user": user}, {"user": user, "confirm": "1", "expected": "0", "reason": "leak"}):
        assert (await operator.post("/admin/end", fields)).code in (200, 303, 400)
    assert (await operator.post("/admin/block", {"user": user, "seconds": "3600"})).code in (303, 400, 404)
    where = json.dumps({"user": user})
    assert (await operator.post("/admin/end", {"where": where})).code in (200, 400)
    assert (await operator.log_in(user)).code in (303, 400, 401)


@pytest.mark.parametrize("user", ["a\0b", "\t=1", "\n=1", "\x01root", "名前\u202e", "%2e%2e"])
@pytest.mark.gen_test
async def test_users_of_any_name_have_a_page(operator: Browser, parts: Parts, user: str) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 2, "192.0.2.7", user=user)
    page = (await operator.get("/admin/?ip=192.0.2.7")).body.decode()
    handle = page.split('href="/admin/sessions/')[1].split('"')[0]
    link = (await operator.get(f"/admin/sessions/{handle}")).body.decode().split('href="/admin/user?name=')[1]
    theirs = await operator.get("/admin/user?name=" + link.split('"')[0])
    assert (theirs.code, "End 2 sessions" in theirs.body.decode()) == (200, True)
    done = await operator.post("/admin/end", {"user": user, "confirm": "1", "expected": "2", "reason": "leak"})
    assert done.code == 303
    assert (await parts.sessions.count(user=user)).total == 0


@pytest.mark.parametrize("cell", ["=1", "＝1", "\n=1", " =1", "\t@x", "＋1", "-1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert csv_line([cell]).lstrip('"').startswith("'")


def test_long_user_agents_are_cut_before_they_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def remember(user_agent: str) -> display.DeviceParts:
        seen.append(user_agent)
        return display.DeviceParts("", "", "")

    monkeypatch.setattr(display, "_parts_of", remember)
    device("Mozilla/5.0 (Linux; Android 1; " + "x;/ " * 10_000)
    assert [len(text) for text in seen] == [300]
