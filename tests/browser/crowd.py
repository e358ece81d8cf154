"""A crowd of sessions, with hostile ones among them, put into a store."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec

from tornado_sessions.record import Create, Record
from tornado_sessions.stores import open_store

AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/604.1",
    "curl/8.5.0",
]
NAMES = ["amelia", "bruno", "chiara", "dmitri", "elif", "farid", "greta", "hiro", "ines", "jonas", "名前", "zoë"]
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "'\"><script>alert(1)</script>",
    "\u202egnp.exe",
    "a\u0000b",
    "x" * 60_000,
    "{{ 7*7 }}",
    "%s%d",
]


def people(count: int) -> Iterator[Create]:
    """Sessions of people and visitors; mallory has some in two networks, and a few have names that want to be more."""
    chance, now = random.Random(3), time.time()
    for number in range(count):
        seen = now - 1 - 1200 * number / count
        user: str | None = f"{NAMES[number % len(NAMES)]}{number // len(NAMES)}"
        ip = f"198.51.{number % 100}.{number % 250}"
        if number % 9 == 8:
            user = None
        if number % (count // 60) == 7:
            # Below 60, so that none of them has the address of the hostile names.
            user, ip = "mallory", f"203.0.113.{number % 200}" if number % 2 else f"192.0.2.{number % 60}"
        if 20 <= number < 20 + len(HOSTILE):
            user, ip = HOSTILE[number - 20], "192.0.2.66"
        yield Create(
            record=Record(
                handle=f"h{number:05x}{chance.getrandbits(80):020x}",
                user=user,
                ip=ip,
                user_agent=HOSTILE[number - 20] if 20 <= number < 20 + len(HOSTILE) else AGENTS[number % len(AGENTS)],
                created_at=seen - 600,
                signed_in_at=seen - 500 if user is not None else None,
                last_seen_at=seen,
                expires_at=seen + 7200,
                secret_hash=chance.randbytes(32),
                rotated_at=seen,
                confirmed_at=seen,
                absolute_at=seen + 40000,
                idle_timeout=7200.0,
                data={"cart": b'["book", 3]', "theme": b'"dark"'},
            )
        )


def without_address(now: float) -> Iterator[Create]:
    """A session that no address is known of."""
    record = next(people(60)).record
    yield Create(
        record=msgspec.structs.replace(record, handle="hwithoutaddress", user="nowhere", ip="", last_seen_at=now)
    )


async def _fill(url: str, count: int) -> None:
    store = open_store(url)
    await store.open()
    items = list(people(count))
    for start in range(0, count, 500):
        await store.save(items[start : start + 500])
    await store.close()


def fill_store(url: str, count: int) -> None:
    """Put them in; in a thread, since Playwright's own loop runs in the tests'."""
    with ThreadPoolExecutor() as pool:
        pool.submit(asyncio.run, _fill(url, count)).result()
