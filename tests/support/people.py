"""People and operators, and the sessions they work on."""

from __future__ import annotations

from support.browser import Browser
from support.passwords import PASSWORD

from tornado_sessions.request import RequestInfo
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role


async def make_operator(parts: Parts, operator: Browser, role: Role = Role.OPERATOR) -> None:
    await parts.accounts.register("root", "root@example.org", PASSWORD, role=role)
    assert (await operator.log_in("root")).code == 303


async def fill_store(parts: Parts, count: int, ip: str, user: str | None = None, agent: str = "") -> None:
    """Sessions of visitors who stored something, or of a user, from one address."""
    for number in range(count):
        request = parts.sessions.new_request_session(RequestInfo(parts.sessions.clock(), ip, agent))
        request.session["n"] = number
        if user is not None:
            await parts.sessions.log_in(request, user)
        await parts.sessions.commit(request)
