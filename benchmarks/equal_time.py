"""Does the time of an answer tell whether an account exists? Measures it on a real server: `python -m benchmarks.equal_time`.

Each comparison sends requests of two kinds in random order, and prints the median of each, their difference, and the
Mann-Whitney test: how likely a difference at least as large is if both kinds take equally long. Below 0.001 the kinds differ.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import math
import random
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink

from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions

ROOT = Path(__file__).parents[1]
PASSWORD = "correct horse battery staple"


class Comparison(NamedTuple):
    """Two kinds of a request that must take equally long.

    Attributes:
        name: what is compared.
        path: of the form.
        forms: for a number, the fields of each kind.
    """

    name: str
    path: str
    forms: tuple[Callable[[int], dict[str, str]], Callable[[int], dict[str, str]]]


def known(number: int) -> str:
    return f"person{number:04d}"


def unknown(number: int) -> str:
    return f"nobody{number:04d}"


def email_of(name: str) -> str:
    return f"{name}@example.org"


def registration(name: str, email: str) -> dict[str, str]:
    return {"username": name, "email": email, "password": PASSWORD}


COMPARISONS = [
    Comparison(
        "sign-in: known and unknown name",
        "/login",
        (
            lambda number: {"username": known(number), "password": "wrong"},
            lambda number: {"username": unknown(number), "password": "wrong"},
        ),
    ),
    Comparison(
        "forgotten password: known and unknown name",
        "/forgot",
        (lambda number: {"username": known(number)}, lambda number: {"username": unknown(number)}),
    ),
    Comparison(
        "forgotten password: known and unknown email",
        "/forgot",
        (lambda number: {"username": email_of(known(number))}, lambda number: {"username": email_of(unknown(number))}),
    ),
    Comparison(
        "registration: taken and free email",
        "/reg",
        (
            lambda number: registration(f"new{number}", email_of(known(number))),
            lambda number: registration(f"new{number}", email_of(f"fresh{number}")),
        ),
    ),
    Comparison(
        "registration: taken and free name",
        "/reg",
        (
            lambda number: registration(known(number), email_of(f"fresh{number}")),
            lambda number: registration(f"new{number}", email_of(f"fresh{number}")),
        ),
    ),
]


def rank_test(first: list[float], second: list[float]) -> float:
    """Return the two-sided p-value of the Mann-Whitney test, by its normal approximation."""
    ranked = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    rank_sum = sum(rank for rank, (_, group) in enumerate(ranked, 1) if group == 0)
    many, others = len(first), len(second)
    u = rank_sum - many * (many + 1) / 2
    deviation = math.sqrt(many * others * (many + others + 1) / 12)
    return math.erfc(abs(u - many * others / 2) / deviation / math.sqrt(2))


class Visitor:
    """Sends forms over one connection, each from an address of its own."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        self._addresses = count(1)
        page, headers = self._send("GET", "/forgot")
        self._headers = {"Cookie": headers["Set-Cookie"].partition(";")[0]}
        found = re.search(r'name="xsrf-token" content="([^"]+)"', page)
        assert found
        self._token = found[1]

    def _send(self, method: str, path: str, body: str = "", **headers: str) -> tuple[str, http.client.HTTPMessage]:
        self._connection.request(method, path, body or None, headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        assert response.status in (200, 401), (path, response.status)
        return text, response.headers

    def seconds_of(self, path: str, fields: dict[str, str]) -> float:
        """Send a form and return how long its answer took."""
        body = urlencode({"_xsrf": self._token, **fields})
        number = next(self._addresses)
        more = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Forwarded-For": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            **self._headers,
        }
        started = time.perf_counter()
        self._send("POST", path, body, **more)
        return time.perf_counter() - started


async def add_accounts(options: ServerOptions, many: int) -> None:
    """Add accounts that all have a real hash."""
    parts = Parts(options)
    async with parts.opened():
        made = await parts.accounts.register("template", "template@example.org", PASSWORD)
        hashed = made.password_hash
        for number in range(many):
            name = known(number)
            now = {"created_at": 1.0, "password_changed_at": 1.0, "email_confirmed_at": 1.0}
            await parts.accounts.repository.add(User(name=name, email=email_of(name), password_hash=hashed, **now))


def measured(visitor: Visitor, comparison: Comparison, rounds: int, numbers: Iterator[int]) -> dict[str, object]:
    """Send both kinds in random order, so that whatever else the machine does hits both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        number = next(numbers)
        for kind in random.sample((0, 1), 2):
            times[kind].append(visitor.seconds_of(comparison.path, comparison.forms[kind](number)))
    medians = [1000 * statistics.median(each) for each in times]
    return {
        "comparison": comparison.name,
        "median_ms": [round(each, 3) for each in medians],
        "difference_ms": round(medians[0] - medians[1], 3),
        "p": round(rank_test(*times), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=150, help="requests of each kind in each comparison")
    rounds = parser.parse_args().rounds
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    mail = Controller(Sink(), "127.0.0.1", port)
    mail.start()
    with tempfile.TemporaryDirectory() as folder:
        flags = {
            "store": f"sqlite:///{folder}/sessions.db",
            "secret": secrets.token_hex(32),
            "smtp_url": f"smtp://127.0.0.1:{port}",
            "public_url": "http://localhost",
            "trusted_proxies": "127.0.0.1",
            "allowed_hosts": "127.0.0.1",
        }
        asyncio.run(add_accounts(ServerOptions(**flags), rounds * len(COMPARISONS)))
        given = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", value)]
        command = [sys.executable, str(ROOT / "server.py"), "--port", "0", "--log-level", "error", *given]
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            url = next(found[1] for line in server.stdout if (found := re.search(r"Serving on (http://\S+)", line)))
            visitor, numbers = Visitor(url), count()
            for comparison in COMPARISONS:
                print(json.dumps(measured(visitor, comparison, rounds, numbers)), flush=True)
        finally:
            server.terminate()
            server.wait(timeout=20)
            mail.stop()


if __name__ == "__main__":
    main()
