"""Measure whole requests of the dashboard at a million sessions: the server, its store, rendering and HTTP.

    python -m benchmarks.requests                              1,000,000 sessions on SQLite and on Redis
    python -m benchmarks.requests --stores sqlite --size 20000 --browser

Each row is the time of one kind of request on a kept connection, one after the other, in milliseconds: median, 95th percentile
and maximum; then the mean CPU time of the server, which depends less on what else runs, and the weight of the answer.
``--browser`` also loads pages and ends sessions in Chromium.
The client, the server and Redis share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from playwright.sync_api import Page, sync_playwright
from support.passwords import PASSWORD
from support.redis_servers import Valkey
from support.server_process import Client, ServerProcess

from benchmarks.pages import HEAVY, fill
from tornado_sessions.query import Query, Sort
from tornado_sessions.stores import open_store
from tornado_sessions.stores.cursor import Edge, SortKey, encode_edge, reverse_cursor

# Sends the form that the button "End" of the confirmation sends.
_SUBMIT = """fields => {
    const form = Object.assign(document.createElement("form"), {method: "post", action: "/admin/end"});
    fields._xsrf = document.querySelector("meta[name=xsrf-token]").content;
    for (const [name, value] of Object.entries(fields))
        form.append(Object.assign(document.createElement("input"), {type: "hidden", name, value}));
    document.body.append(form);
    form.submit();
}"""
#: Milliseconds of the 95th percentile that must not be passed, by store.
BARS = {"sqlite": 100.0, "redis": 150.0}


class Operator:
    """Sends requests on one connection, signed in as an operator."""

    def __init__(self, server: ServerProcess) -> None:
        self.base = urlsplit(server.url)
        client = Client(server.url)
        client.enter("ada")
        self.cookies = {cookie.name: cookie.value or "" for cookie in client.jar}
        self.connection = HTTPConnection(self.base.hostname or "", self.base.port, timeout=30)
        self.connection.connect()
        self.token = ""
        self.threads = Path(f"/proc/{server.process.pid}/task")

    def cpu(self) -> float:
        """Return the CPU time that the server has used, in milliseconds."""
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in self.threads.iterdir()) / 1e6

    def ask(self, path: str, form: dict[str, str] | None = None, expected: int = 200) -> int:
        """Send a request, and return the weight of its answer in bytes."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Cookie": cookie, "Accept-Encoding": "gzip", "Accept": "text/html"}
        body = None
        if form is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{self.base.netloc}"}
            body = urlencode({"_xsrf": self.token, **form})
        self.connection.request("GET" if form is None else "POST", path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == expected, (path, answer.status, text[:300])
        return len(text)

    def read_token(self) -> None:
        """Read the token that forms need."""
        self.connection.request("GET", "/admin/settings", headers={"Cookie": f"sid={self.cookies['sid']}"})
        found = re.search(rb'name="xsrf-token" content="([^"]+)"', self.connection.getresponse().read())
        assert found
        self.token = found[1].decode()


def questions(now: float) -> dict[str, str]:
    """Return the paths of the lists to measure."""
    deep = encode_edge(Edge(SortKey(0, "", 1200 - now, ""), is_after=True, number=600_001), Query(now=now))
    users = Query(now=now, sort=Sort.USER)
    by_user = encode_edge(Edge(SortKey(0, "user1500", -now, ""), is_after=True), users)
    found = {
        "first page": {},
        "least active first": {"direction": "asc"},
        "by sign-in": {"sort": "signed_in"},
        "expires last": {"sort": "expires", "direction": "desc"},
        "by user, Z to A": {"sort": "user", "direction": "desc"},
        "deep page": {"cursor": deep},
        "page before it": {"cursor": reverse_cursor(deep)},
        "deep page, by user": {"sort": "user", "cursor": by_user},
        "page before it, by user": {"sort": "user", "cursor": reverse_cursor(by_user)},
        "user": {"user": "heavy"},
        "network /24": {"ip": "10.0.1.0/24"},
        "address": {"ip": "10.0.1.7"},
        "search of a name": {"q": "USER123"},
        "search of an address": {"q": "10.0.1"},
        "search in vain": {"q": "nobody"},
        "device (no index)": {"device": "Firefox"},
        "signed in since 5 s": {"signed_in_since": str(int(now) - 5)},
    }
    paths = {name: "/admin/?" + urlencode(given) for name, given in found.items()}
    return {
        **paths,
        "suggestions": "/admin/api/suggest?q=10.0.1",
        "suggestions of a user": "/admin/api/suggest?q=user12",
    }


class Taken(NamedTuple):
    """Milliseconds of each request in order, of the server's CPU for one, and the weight of an answer in bytes."""

    each: list[float]
    cpu: float
    weight: int


def timed(operator: Operator, ask: Callable[[], int], times: int) -> Taken:
    ask()
    taken, weight, cpu = [], 0, operator.cpu()
    for _ in range(times):
        start = time.perf_counter()
        weight = ask()
        taken.append(1000 * (time.perf_counter() - start))
    return Taken(sorted(taken), (operator.cpu() - cpu) / times, weight)


def show(name: str, taken: list[float], bar: float, more: str = "") -> None:
    p95 = taken[int(0.95 * (len(taken) - 1))]
    late = "  TOO SLOW" if p95 > bar else ""
    print(f"  {name:26} {statistics.median(taken):8.1f} {p95:8.1f} {taken[-1]:8.1f} {more}{late}", flush=True)


def show_requests(name: str, taken: Taken, bar: float) -> None:
    weight = f"{taken.weight / 1000:7.1f} kB" if taken.weight else ""
    show(name, taken.each, bar, f"{taken.cpu:8.1f} {weight}")


@contextmanager
def store_url(name: str, folder: str) -> Iterator[str]:
    if name == "sqlite":
        yield f"sqlite:///{folder}/sessions.db"
        return
    server = Valkey()
    try:
        yield server.url
    finally:
        server.stop()


async def prepare(url: str, size: int, now: float) -> list[str]:
    """Fill the store, and return handles of sessions that can be ended."""
    store = open_store(url)
    await store.open()
    await fill(store, size, now)
    handles = [item.handle for item in (await store.find(Query(now=now, limit=500))).items]
    await store.close()
    return handles


def measure(operator: Operator, handles: list[str], times: int, bar: float, now: float) -> None:
    for name, path in questions(now).items():
        show_requests(name, timed(operator, lambda path=path: operator.ask(path), times), bar)  # type: ignore[misc]
    operator.read_token()
    left = iter(handles)

    def end_one() -> int:
        return operator.ask("/admin/end", {"handle": next(left), "confirm": "1", "reason": "benchmark"}, 303)

    show_requests("end a session", timed(operator, end_one, min(times, len(handles) - 2)), bar)
    start, cpu = time.perf_counter(), operator.cpu()
    number = str(HEAVY)
    form = {"user": "heavy", "confirm": "1", "reason": "benchmark", "expected": number, "number": number}
    operator.ask("/admin/end", form, 303)
    taken = 1000 * (time.perf_counter() - start)
    show_requests(f"end {HEAVY} of a user", Taken([taken], operator.cpu() - cpu, 0), 150.0)


def measure_browser(operator: Operator, handles: list[str], times: int, bar: float, now: float) -> None:
    """Load pages and end sessions in Chromium.

    The bar is for the whole request, from its start until its last byte has arrived. Beside it stands the time until every
    style, script and icon has been loaded and the page is laid out, which is Chromium's own work.
    """
    chosen = ("first page", "deep page", "page before it", "network /24", "search of a name")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        base = f"http://{operator.base.netloc}"
        context = browser.new_context(base_url=base)
        context.add_cookies([{"name": name, "value": value, "url": base} for name, value in operator.cookies.items()])
        page = context.new_page()
        for name, path in questions(now).items():
            if name in chosen:
                show_browser(name, [_navigate(page, path) for _ in range(times)], bar)
        ends = []
        for handle in handles[:times]:
            page.goto("/admin/settings")
            with page.expect_navigation():
                page.evaluate(_SUBMIT, {"handle": handle, "confirm": "1", "reason": "benchmark"})
            ends.append(_timing(page))
        show_browser("end a session", ends, bar)
        browser.close()


def _navigate(page: Page, path: str) -> tuple[float, float]:
    page.goto(path)
    return _timing(page)


def _timing(page: Page) -> tuple[float, float]:
    """Return the milliseconds until the last byte, and until the page was loaded."""
    entry = "performance.getEntriesByType('navigation')[0]"
    answered, loaded = page.evaluate(f"[{entry}.responseEnd, {entry}.loadEventEnd]")
    return answered, loaded


def show_browser(name: str, timings: list[tuple[float, float]], bar: float) -> None:
    show(f"{name}, in Chromium", sorted(answered for answered, _ in timings), bar)
    show("  until it is loaded", sorted(loaded for _, loaded in timings), math.inf)


def main(stores: list[str], size: int, times: int, *, with_browser: bool) -> None:
    for name in stores:
        now = time.time()
        with tempfile.TemporaryDirectory() as folder, store_url(name, folder) as url:
            handles = asyncio.run(prepare(url, size, now))
            random.Random(5).shuffle(handles)
            server = ServerProcess(Path(folder), "--store", url, "--log-level", "error")
            try:
                server.command("create-user", "ada", "--role", "operator", given=PASSWORD + "\n")
                operator = Operator(server)
                print(
                    f"{name}, {size:,} sessions, ms: median, p95, maximum (bar: p95 below {BARS[name]:g} ms), CPU",
                    flush=True,
                )
                measure(operator, handles[:-30], times, BARS[name], now)
                if with_browser:
                    measure_browser(operator, handles[-30:], times=20, bar=BARS[name], now=now)
            finally:
                server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", default=list(BARS), choices=list(BARS))
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--browser", action="store_true")
    given = parser.parse_args()
    main(given.stores, given.size, given.times, with_browser=given.browser)
