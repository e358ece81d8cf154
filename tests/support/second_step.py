"""A user with two-step verification and an authenticator app."""

from __future__ import annotations

import pyotp
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from tornado.httpclient import HTTPResponse

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role


class Phone:
    """An authenticator app.

    Attributes:
        recovery: the recovery codes.
    """

    def __init__(self, secret: str, recovery: list[str], clock: Clock) -> None:
        self._app, self.recovery, self._clock = pyotp.TOTP(secret), recovery, clock

    def code(self) -> str:
        """Return a code that was not used before: half a minute passes."""
        self._clock.ahead += 31
        return self._app.at(int(self._clock()))


async def make_two_step_user(parts: Parts, clock: Clock, name: str = "ada", role: Role = Role.USER) -> Phone:
    await parts.accounts.register(name, f"{name}@example.org", PASSWORD, role=role)
    secret = pyotp.random_base32(32)
    codes = await parts.accounts.enable_two_steps(name, secret, pyotp.TOTP(secret).at(int(clock())))
    return Phone(secret, codes, clock)


async def sign_in_with_code(browser: Browser, code: str, name: str = "ada") -> HTTPResponse:
    page = (await browser.log_in(name)).body.decode()
    fields = {field: page.split(f'name="{field}" value="')[1].split('"')[0] for field in ("name", "ticket")}
    return await browser.post("/login/code", {**fields, "code": code})
