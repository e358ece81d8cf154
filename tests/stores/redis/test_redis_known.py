"""What the store on Redis remembers of a record never changes what it answers."""

from __future__ import annotations

import random

from tornado_sessions.record import Record
from tornado_sessions.stores.redis.known import KnownRecords
from tornado_sessions.stores.redis.records import load_record, write_record
from tornado_sessions.testing.maker import make_record

DATA = {"name": b'"ada"', "visits": b"7"}
RECORD = make_record("h1", previous_hash=bytes(32), data=DATA)
OTHERS = [
    RECORD,
    make_record("h1", previous_hash=bytes(32), data={**DATA, "visits": b"8"}),
    make_record("h1", previous_hash=bytes(32), data={}),
    make_record("h1", data=DATA),
    make_record("h1", user="bob", data=DATA),
    make_record("h1", user=None, ip="", user_agent="", data=DATA),
    make_record("h1", previous_hash=bytes(32), last_seen_at=RECORD.last_seen_at + 1, data=DATA),
    make_record("h1", data={"large": b'"' + b"x" * 5000 + b'"'}),
]


def test_a_record_that_has_changed_is_decoded_again() -> None:
    known, choice = KnownRecords(), random.Random(1)
    for _ in range(500):
        stored = write_record(choice.choice(OTHERS))
        assert known.load("h1", stored) == load_record("h1", stored)


def test_damaged_bytes_are_refused_as_ever() -> None:
    known, choice = KnownRecords(), random.Random(2)
    good = write_record(RECORD)
    for _ in range(3000):
        at = choice.randrange(len(good))
        spoiled = choice.choice(
            (good[:at], good[:at] + choice.randbytes(1) + good[at + 1 :], good + choice.randbytes(3))
        )
        for stored in (spoiled, good):
            assert known.load("h1", stored) == load_record("h1", stored)


def test_readers_of_a_record_do_not_share_what_a_later_one_changes() -> None:
    known = KnownRecords()
    first = known.load("h1", write_record(OTHERS[0]))
    second = known.load("h1", write_record(OTHERS[1]))
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert (first.data["visits"], second.data["visits"]) == (b"7", b"8")


def test_sessions_of_one_store_do_not_mix_and_are_bounded() -> None:
    known = KnownRecords()
    for number in range(10_000):
        handle = f"h{number}"
        record = make_record(handle, user=f"user{number}", data=DATA)
        assert known.load(handle, write_record(record)) == record
    assert known.load("h1", write_record(make_record("h1", user="user1", data=DATA))) == make_record(
        "h1", user="user1", data=DATA
    )
    assert len(known) == 4096
