"""Two servers behind nginx with the shipped site are restarted one after the other, and no request fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.amount import amount
from support.browser import Browser
from support.nginx_process import Nginx
from support.ports import free_port
from support.redis_servers import Valkey
from support.server_process import ServerProcess
from support.tried import Tried
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

READERS, WRITERS = amount(3, 6), amount(2, 4)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[ServerProcess]]:
    valkey, started = Valkey(), []
    try:
        for number, processes in enumerate((1, 2)):
            folder = tmp_path / str(number)
            folder.mkdir()
            flags = ["--store", valkey.url, "--secret", "a secret of the tests that both servers share"]
            flags += ["--port", str(free_port()), "--processes", str(processes), "--trusted-proxies", "127.0.0.1"]
            started.append(ServerProcess(folder, *flags, "--drain-delay", "0.3"))
        yield started
    finally:
        for server in started:
            server.stop()
        valkey.stop()


@pytest.fixture
def nginx(servers: list[ServerProcess], tmp_path: Path) -> Iterator[Nginx]:
    one, two = (server.url.removeprefix("http://") for server in servers)
    started = Nginx(tmp_path, one, two)
    yield started
    started.stop()


class Load:
    """People who read and write until they are told to stop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_over = False
        self.answers: Counter[str] = Counter()

    def _count(self, expected: int, what: str) -> Callable[[HTTPResponse], None]:
        def count(response: HTTPResponse) -> None:
            right = response.code == expected
            self.answers[what if right else f"{what}: {response.code} {response.error}"] += 1

        return count

    def browser(self) -> Browser:
        # A client of its own: its connections to nginx are not shared.
        return Browser(AsyncHTTPClient(force_instance=True), self._url)

    async def read(self, browser: Browser) -> None:
        while not self._is_over:
            self._count(200, "GET")(await browser.get("/account"))
            await asyncio.sleep(0.005)

    async def write(self, browser: Browser, name: str) -> None:
        while not self._is_over:
            self._count(303, "sign-in")(await browser.log_in(name))
            self._count(303, "form")(await browser.post("/account/end", {}))
            self._count(200, "sign-out")(await browser.post("/logout", {}))

    def end(self) -> None:
        self._is_over = True


@pytest.mark.timeout(1200)
@pytest.mark.gen_test(timeout=1200)
async def test_no_request_fails_while_two_servers_are_restarted(
    servers: list[ServerProcess], nginx: Nginx, tried: Tried
) -> None:
    load = Load(nginx.http)
    names = [f"ada{number}" for number in range(READERS + WRITERS)]
    browsers = [load.browser() for _ in names]
    for name, browser in zip(names, browsers, strict=True):
        assert (await browser.register(name)).code == 200
        assert (await browser.log_in(name)).code == 303
    people = [load.read(browser) for browser in browsers[:READERS]]
    people += [load.write(browser, name) for browser, name in zip(browsers[READERS:], names[READERS:], strict=True)]
    running = asyncio.gather(*people)
    for _ in range(amount(1, 20)):
        for server in servers:
            assert await asyncio.to_thread(server.stop) == 0
            await asyncio.to_thread(server.restart)
    load.end()
    await running
    print(dict(load.answers))
    right = {"GET", "sign-in", "form", "sign-out"}
    failed = sum(count for answer, count in load.answers.items() if answer not in right)
    tried("restarts of one of two servers behind nginx", times=amount(1, 20) * len(servers), lost=failed)
    tried("requests during these restarts, POSTs included", times=load.answers.total(), lost=failed)
    assert set(load.answers) == right
