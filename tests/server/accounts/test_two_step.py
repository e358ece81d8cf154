"""Sign-in in two steps."""

from __future__ import annotations

import base64
import math

import pyotp
import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD

from tornado_sessions.codec import Codec
from tornado_sessions.server.accounts.errors import WrongCode
from tornado_sessions.server.accounts.two_step import new_recovery_codes
from tornado_sessions.server.parts import Parts

pytestmark = knows_no_store


@pytest.mark.gen_test
async def test_what_an_app_shares_is_sealed_and_recovery_codes_outlive_the_key(parts: Parts, clock: Clock) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    secret = pyotp.random_base32(32)
    recovery = await parts.accounts.enable_two_steps("ada", secret, pyotp.TOTP(secret).at(clock()))
    stored = await parts.accounts.get("ada")
    assert stored is not None
    assert secret.encode() not in base64.b64decode(stored.totp_secret or "")
    clock.ahead += 30
    sealed_with, parts.accounts._codec = parts.accounts._codec, Codec(["another secret, which did not seal it"])
    with pytest.raises(WrongCode):
        await parts.accounts.second_step("ada", pyotp.TOTP(secret).at(clock()), "::1")
    assert (await parts.accounts.second_step("ada", recovery[0], "::1")).name == "ada"
    parts.accounts._codec = sealed_with
    assert (await parts.accounts.second_step("ada", pyotp.TOTP(secret).at(clock()), "::1")).name == "ada"


def test_a_recovery_code_is_random_enough_for_a_plain_hash() -> None:
    codes = [code.replace("-", "") for _ in range(200) for code in new_recovery_codes()]
    letters = set("".join(codes))
    assert len(set(codes)) == 2000
    assert min(map(len, codes)) * math.log2(len(letters)) >= 112


@pytest.mark.gen_test
async def test_a_code_is_asked_for_and_taken_once(browser: Browser, other: Browser, parts: Parts, clock: Clock) -> None:
    await browser.register()
    await browser.log_in()
    secret = pyotp.random_base32(32)
    app_of = pyotp.TOTP(secret)
    # Half a minute begins, so that none ends between making a code and using it.
    clock.ahead += 30 - clock() % 30
    good = {"secret": secret, "code": app_of.at(clock()), "password": PASSWORD}
    for wrong in ({"code": "000000"}, {"password": "wrong"}):
        assert (await browser.post("/account/two-steps", {**good, **wrong})).code == 400
    assert (await browser.post("/account/two-steps", {**good, "secret": "x"})).code == 303
    switched = await browser.post("/account/two-steps", good)
    recovery = switched.body.decode().split("<code>")[1].split("<")[0]

    async def second(code: str, **more: str) -> int:
        page = (await other.log_in()).body.decode()
        fields = {name: page.split(f'name="{name}" value="')[1].split('"')[0] for name in ("name", "ticket")}
        return (await other.post("/login/code", {**fields, "code": code, **more})).code

    assert b"Enter your code" in (await other.log_in()).body
    assert (await other.get("/account")).code == 302
    assert await second("123") == 401
    assert await second(app_of.at(clock())) == 401, "it was taken when it was switched on"
    clock.ahead += 30
    code = app_of.at(clock())
    assert await second(code) == 303
    await other.post("/logout", {})
    assert await second(code) == 401
    assert await second(recovery.lower()) == 303
    await other.post("/logout", {})
    assert await second(recovery) == 401
    assert await second(app_of.at(clock() + 30), ticket="1.x") == 303
    assert (await other.get("/account")).code == 302
    clock.ahead += 60
    off = {"off": "1", "off_password": PASSWORD, "code": app_of.at(clock())}
    assert (await browser.post("/account/two-steps", off)).code == 303
    assert (await other.log_in()).code == 303
    told = {entry.act for entry in await parts.audit.entries()}
    assert {"two steps on", "two steps off", "log-in failed"} <= told
