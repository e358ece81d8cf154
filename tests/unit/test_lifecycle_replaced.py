"""When a request's genuine token counts as replaced: a table of what is stored × which secret × when."""

from __future__ import annotations

import pytest

from tornado_sessions import lifecycle
from tornado_sessions.record import Cause, Ending, Record, Tombstone, bury
from tornado_sessions.testing import make_record

NOW = 1_800_000_000.0
NEW, OLD, OLDER = b"n" * 32, b"o" * 32, b"x" * 32


def record(confirmed: float | None = NOW - 100, created: float = NOW - 200, expires: float = NOW + 100) -> Record:
    return make_record(
        secret_hash=NEW,
        previous_hash=OLD,
        confirmed_at=confirmed,
        grace=30.0,
        created_at=created,
        last_seen_at=created,
        expires_at=expires,
    )


def tombstone(cause: Cause, at: float) -> Tombstone:
    return bury(record(), Ending(at=at, cause=cause, keep_until=NOW + 1000))


TABLE = {
    "the newest secret": (record(), NEW, False),
    "the one before, its successor not seen yet": (record(confirmed=None), OLD, False),
    "the one before, within the grace": (record(confirmed=NOW - 29), OLD, False),
    "the one before, after the grace": (record(confirmed=NOW - 30), OLD, True),
    "an older one": (record(), OLDER, True),
    "an older one of an expired session": (record(expires=NOW), OLDER, False),
    "an older one, ended with everybody's": (record(created=NOW - 2000), OLDER, False),
    "nothing stored": (None, NEW, False),
    "signed out just now": (tombstone(Cause.LOGOUT, NOW), NEW, True),
    "signed out by a host ahead of us": (tombstone(Cause.LOGOUT, NOW + 5), NEW, True),
    "signed out 59 s ago": (tombstone(Cause.LOGOUT, NOW - 59), OLDER, True),
    "signed out a minute ago": (tombstone(Cause.LOGOUT, NOW - 60), NEW, False),
    **{f"ended by {cause}": (tombstone(cause, NOW), NEW, False) for cause in Cause if cause is not Cause.LOGOUT},
}


@pytest.mark.parametrize(("found", "secret", "replaced"), TABLE.values(), ids=TABLE)
def test_a_token_counts_as_replaced_while_its_browser_probably_holds_a_newer_one(
    found: Record | Tombstone | None, secret: bytes, replaced: bool
) -> None:
    verdict, _ = lifecycle.judge(found, secret, NOW, NOW - 1000)
    assert lifecycle.is_replaced(found, verdict, NOW) is replaced
