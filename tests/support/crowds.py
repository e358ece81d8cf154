"""Many sessions, put straight into a store."""

from __future__ import annotations

from collections.abc import Iterable

from tornado_sessions.manager import Sessions
from tornado_sessions.record import Create, Record

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def record(number: int, now: float, user: str | None, ip: str = "192.0.2.1", agent: str = FIREFOX) -> Create:
    """A live session, last used ``number`` hundredths of a second ago."""
    seen = now - 1 - number / 100
    return Create(
        record=Record(
            handle=f"{number:026d}",
            user=user,
            ip=ip,
            user_agent=agent,
            created_at=seen - 60,
            signed_in_at=seen - 60 if user is not None else None,
            last_seen_at=seen,
            expires_at=now + 7200,
            secret_hash=number.to_bytes(32),
            rotated_at=seen,
            confirmed_at=seen,
            absolute_at=now + 40000,
            idle_timeout=7200.0,
        )
    )


async def put(sessions: Sessions, created: Iterable[Create]) -> None:
    """Store them in batches."""
    made = list(created)
    await sessions.open()
    for start in range(0, len(made), 500):
        await sessions.store.save(made[start : start + 500])


def crowd(many: int, now: float) -> Iterable[Create]:
    """Of ``many`` sessions, mallory has 61, spread among all and from one network; each tenth is of a visitor."""
    step = many // 61
    for number in range(many):
        if number % step == 0 and number // step < 61:
            yield record(number, now, "mallory", f"203.0.113.{number % 200 + 1}", CHROME)
        else:
            ip = f"198.51.{number // 100 % 100}.{number % 100 + 1}"
            yield record(number, now, None if number % 10 == 5 else f"user{number // 2}", ip)
