"""A token of the API ends when the admin who created it is no longer one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD

from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.documents import Document
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.tokens import ApiToken, Scope
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

pytestmark = knows_no_store

ROOT, CLI = Actor("boss", "::1"), Actor("cli")
Way = Callable[[Parts], Awaitable[object]]


async def removed(parts: Parts) -> None:
    await parts.accounts.remove("ada", PASSWORD, "::1")


async def damaged(parts: Parts) -> None:
    found = await parts.documents.get("account", "ada")
    assert found is not None
    await parts.documents.put("account", Document("ada", found.revision + 1, b"{"))


def by_action(role: Role) -> Way:
    return lambda parts: parts.actions.set_role(ROOT, "Ada", role)


def in_account(role: Role) -> Way:
    return lambda parts: parts.accounts.set_role("ada", role)


#: Ways to lose the right to create tokens. Some go around the operations, as another version or a host application does.
LOWER = [role for role in Role if role is not Role.ADMIN]
WAYS: dict[str, Way] = {
    **{f"role {role}": by_action(role) for role in LOWER},
    **{f"account's role {role}": in_account(role) for role in LOWER},
    "blocked by a page": lambda parts: parts.actions.block(ROOT, "ADA", 60),
    "blocked by a command": lambda parts: parts.actions.block(CLI, "ada", 60, keep_sessions=True),
    "account blocked": lambda parts: parts.accounts.block("ada", parts.sessions.clock() + 60),
    "removed": removed,
    "damaged": damaged,
}


async def works(browser: Browser, token: str) -> bool:
    answers = [
        (await browser.get(path, Authorization=f"Bearer {token}")).code
        for path in ("/admin/api/sessions", "/admin/api/audit")
    ]
    ended = await browser.send(
        "POST", "/admin/api/sessions/destroy", json.dumps({"user": "nobody"}), Authorization=f"Bearer {token}"
    )
    codes = {*answers, ended.code}
    assert codes in ({200}, {401})
    return codes == {200}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.gen_test(timeout=30)
async def test_a_token_ends_with_its_maker(browser: Browser, parts: Parts, way: str, clock: Clock) -> None:
    for name in ("boss", "ada"):
        await parts.accounts.register(name, f"{name}@example.org", PASSWORD, role=Role.ADMIN)
    token = await parts.actions.create_token(Actor("ada", "::1"), "robot", list(Scope), 3600)
    others = [await parts.actions.create_token(actor, "other", list(Scope), None) for actor in (ROOT, CLI)]
    assert await works(browser, token)
    await WAYS[way](parts)
    assert not await works(browser, token)
    assert [await works(browser, other) for other in others] == [True, True]
    if way == "damaged":
        return
    # What has ended stays ended when the maker is back, under the same name.
    clock.ahead += 61
    if way == "removed":
        await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    await parts.accounts.set_role("ada", Role.ADMIN)
    assert not await works(browser, token)
    assert {one.created_by for one in await parts.tokens.all() if isinstance(one, ApiToken)} == {"boss", "cli"}


@pytest.mark.gen_test
async def test_a_token_survives_damage_that_is_repaired(browser: Browser, parts: Parts) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, role=Role.ADMIN)
    token = await parts.actions.create_token(Actor("ada", "::1"), "robot", list(Scope), 3600)
    good = await parts.documents.get("account", "ada")
    assert good is not None
    await damaged(parts)
    assert not await works(browser, token)
    fixed = Document("ada", good.revision + 2, good.body.replace(b'"revision":1', b'"revision":3'))
    assert await parts.documents.put("account", fixed)
    assert isinstance(await parts.accounts.look_up("ada"), User)
    assert await works(browser, token)
