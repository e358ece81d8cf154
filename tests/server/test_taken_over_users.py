"""Which account a session of Express may enter: only one that an operator has made for that person, and never a new one."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from argon2.profiles import CHEAPEST
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD, SECRET
from support.redis_servers import Valkey
from support.second_step import make_two_step_user

from tornado_sessions.server.accounts.errors import InvalidForm
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.accounts.registration import MadeBy
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.takeover import Express


@pytest.fixture
def prefix() -> str:
    return f"{uuid4().hex}:"


@pytest.fixture
def parts(url: str, clock: Clock, redis: Valkey, prefix: str, tmp_path: Path, io_loop: Any) -> Iterator[Parts]:
    file = tmp_path / "express-secret"
    file.write_text("keyboard cat")
    options = ServerOptions(
        store=url,
        secret=[SECRET],
        takeover=f"express+{redis.url}?prefix={prefix}",
        takeover_secret_file=str(file),
        takeover_user_key="user",
    )
    made = Parts(options, passwords=Passwords(CHEAPEST), clock=clock)
    io_loop.run_sync(made.open)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def visitor(browser: Browser, redis: Valkey, prefix: str) -> Callable[[str], Browser]:
    """Returns a browser that is signed in at Express with a name."""

    def signed_in(name: str) -> Browser:
        session = {"cookie": {"originalMaxAge": None, "expires": None}, "user": name, "cart": [1]}
        session_id = uuid4().hex
        redis.ask("SET", f"{prefix}{session_id}", json.dumps(session), "EX", 3600)
        signature = base64.b64encode(hmac.digest(b"keyboard cat", session_id.encode(), "sha256")).decode().rstrip("=")
        visitor = browser.copy()
        visitor.cookies = {"connect.sid": quote(f"s:{session_id}.{signature}", safe="")}
        return visitor

    return signed_in


async def is_in(browser: Browser) -> bool:
    return (await browser.get("/account")).code == 200


async def by_command(parts: Parts, name: str, **more: Any) -> User:
    return await parts.accounts.register(name, f"{name}@example.org", PASSWORD, made_by=MadeBy.COMMAND, **more)


async def by_form(parts: Parts, name: str) -> User:
    return await parts.accounts.register(name, f"{name}@example.org", PASSWORD, client="192.0.2.1")


async def by_provider(parts: Parts, name: str) -> User:
    claims = {"preferred_username": name, "sub": "s"}
    return (await parts.identities.sign_in("https://op.example", "s", claims, Role.USER))[0]


WAYS = [by_command, by_form, by_provider]


@pytest.mark.every_backend
@pytest.mark.parametrize("make", WAYS)
@pytest.mark.gen_test(timeout=30)
async def test_no_way_to_make_an_account_lets_in_a_session_that_moved_before(
    parts: Parts, visitor: Callable[[str], Browser], make: Callable[[Parts, str], Awaitable[User]]
) -> None:
    moved, other = visitor("Grace"), visitor("ada")
    assert await is_in(moved)
    assert await is_in(other)
    assert (await make(parts, "grace")).name == "grace"
    assert not await is_in(moved), "the account is somebody else's"
    assert await is_in(other)


@pytest.mark.parametrize("make", WAYS)
@pytest.mark.gen_test(timeout=30)
async def test_nor_one_that_moves_at_the_same_moment(
    parts: Parts, visitor: Callable[[str], Browser], make: Callable[[Parts, str], Awaitable[User]]
) -> None:
    express = parts.sessions.takeover
    assert isinstance(express, Express)
    find = express.find_user
    assert find is not None

    async def find_and_lose(name: str) -> str | None:
        found = await find(name)
        express.find_user = find
        await make(parts, "grace")
        return found

    express.find_user = find_and_lose
    moved = visitor("grace")
    assert await is_in(moved) == (make is by_command), "only an operator says that it is the same person"
    assert await is_in(moved) == (make is by_command)


@pytest.mark.gen_test(timeout=30)
async def test_a_session_enters_only_an_account_that_an_operator_made_and_nothing_more_protects(
    parts: Parts, visitor: Callable[[str], Browser], clock: Clock
) -> None:
    await by_command(parts, "ada")
    await by_form(parts, "ben")
    await by_provider(parts, "cleo")
    await by_command(parts, "boss", role=Role.VIEWER)
    await by_command(parts, "dan")
    await parts.accounts.block("dan", None)
    await make_two_step_user(parts, clock, "eve")
    await parts.accounts.repository.change("eve", lambda _: None, is_vouched=True)
    entered = {name: await is_in(visitor(name)) for name in ("ada", "ben", "cleo", "boss", "dan", "eve", "grace")}
    assert entered == {
        "ada": True,
        "ben": False,
        "cleo": False,
        "boss": False,
        "dan": True,
        "eve": False,
        "grace": True,
    }
    await parts.accounts.block("ada", clock() + 60)
    assert not await is_in(visitor("ada"))


@pytest.mark.gen_test(timeout=30)
async def test_a_refused_registration_ends_nobodys_sessions(parts: Parts, visitor: Callable[[str], Browser]) -> None:
    await by_command(parts, "ada")
    moved = visitor("ada")
    assert await is_in(moved)
    with pytest.raises(InvalidForm):
        await by_form(parts, "ADA")
    assert await is_in(moved)
