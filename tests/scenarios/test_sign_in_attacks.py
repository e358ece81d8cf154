"""Attacks on sign-ins over HTTP, with real hashing and several processes on one store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.amount import amount
from support.browser import Browser
from support.server_process import ServerProcess, ShippedServer
from support.tried import Tried
from support.waiting import until
from tornado.httpclient import AsyncHTTPClient, HTTPError

PROXY = ("--trusted-proxies", "127.0.0.1")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """Two servers on one store, which believe what a proxy says about addresses."""
    started: list[ServerProcess] = [ShippedServer(tmp_path, *PROXY) for _ in range(2)]
    yield started
    for server in started:
        server.stop()


def browser_at(server: ServerProcess, ip: str, like: Browser | None = None) -> Browser:
    made = Browser(AsyncHTTPClient(force_instance=True, max_clients=1000), server.url)
    if like is not None:
        made.cookies = dict(like.cookies)
    made.headers["X-Forwarded-For"] = ip
    return made


async def left(browser: Browser) -> Browser:
    """A browser that has signed in once, and is signed out again."""
    assert (await browser.log_in()).code == 303
    await browser.post("/logout", {})
    return browser


@pytest.mark.gen_test(timeout=60)
async def test_two_servers_count_together_and_kill_9_forgets_nothing(
    servers: list[ServerProcess], tried: Tried
) -> None:
    owner = browser_at(servers[0], "198.51.100.1")
    await owner.register()
    await left(owner)
    for ip, checked in amount([("192.0.2.1", 10)], [("192.0.2.1", 10), ("192.0.2.2", 10)]):
        guesses = [browser_at(server, ip).log_in(password="wrong") for server in servers for _ in range(8)]
        codes = [response.code for response in await asyncio.gather(*guesses)]
        tried(
            "guesses at once at two servers: beyond the limit",
            times=len(codes),
            lost=max(codes.count(401) - checked, 0),
        )
        assert sorted(codes) == [401] * checked + [429] * (16 - checked)
    # In a usual run one of them forgets all it knows.
    for server in servers[: amount(1, 2)]:
        server.kill()
        server.restart()
        assert (await browser_at(server, "192.0.2.1").log_in()).code == 429
        assert (await browser_at(server, "192.0.2.1", owner).log_in()).code == 303
        assert (await browser_at(server, "198.51.100.1").log_in()).code == 303


@pytest.mark.long
@pytest.mark.gen_test(timeout=120)
async def test_a_flood_from_two_hundred_addresses_gives_no_right_password_503(
    servers: list[ServerProcess], tried: Tried
) -> None:
    server = servers[0]
    owner = browser_at(server, "198.51.100.1")
    await owner.register()
    await left(owner)
    is_over, asked = asyncio.Event(), set[int]()

    async def flood(number: int) -> None:
        bot = browser_at(server, f"10.0.{number}.1")
        while not is_over.is_set():
            asked.add(number)
            with suppress(HTTPError):  # it has given up
                await bot.log_in(f"user{number}", "wrong")

    bots = [asyncio.create_task(flood(number)) for number in range(200)]
    await until(lambda: len(asked) == 200, "every address of the flood")
    for number in range(amount(2, 20)):
        known = await browser_at(server, f"203.0.{number}.1", owner).log_in()
        unknown = await browser_at(server, f"203.1.{number}.1").log_in()
        refused = sum(answer.code != 303 for answer in (known, unknown))
        tried("right passwords in a flood of sign-ins from 200 addresses", times=2, lost=refused)
        assert refused == 0
    is_over.set()
    for bot in bots:
        bot.cancel()
    await asyncio.gather(*bots, return_exceptions=True)
