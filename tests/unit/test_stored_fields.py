"""Stored fields are read one by one, and what is wrong with them is said without their values."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tornado_sessions.damage import Unreadable, fields_of, salvaged, struct_of
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.documents import Document
from tornado_sessions.server.documents.log import outdated
from tornado_sessions.server.operations.entries import DamagedEntry, Entry, read_entry

SOUND: dict[str, Any] = {
    "name": "ada",
    "email": "ada@example.org",
    "password_hash": "x",
    "created_at": 1.0,
    "password_changed_at": 2,
}
WRONG = [
    ({}, "name is missing"),
    ({**SOUND, "created_at": "secret"}, "created_at has the wrong type"),
    ({**SOUND, "created_at": True}, "created_at has the wrong type"),
    ({**SOUND, "created_at": float("nan")}, "created_at is not valid"),
    ({**SOUND, "blocked_until": float("inf")}, "blocked_until is not valid"),
    ({**SOUND, "email": "a\ud800"}, "email is not valid"),
    ({**SOUND, "role": "secret"}, "role has an unknown value"),
    ({**SOUND, "recovery": ["a", 7]}, "recovery has the wrong type"),
]


@pytest.mark.parametrize(("fields", "why"), WRONG, ids=[why for _, why in WRONG])
def test_what_is_wrong_is_said_without_the_value(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(Unreadable) as told:
        struct_of(User, fields)
    assert told.value.why == why


def test_unknown_fields_are_ignored_and_missing_ones_take_their_default() -> None:
    user = struct_of(User, {**SOUND, "invented_later": {"a": 1}})
    assert (user.name, user.totp_step, user.password_changed_at) == ("ada", 0, 2.0)


@pytest.mark.parametrize("stored", [b"", b"{", b"\xff", b"[]", b"7", b"null", b"[" * 100_000, b'{"a": "\\ud800"}'])
def test_bytes_that_are_no_object_are_unreadable(stored: bytes) -> None:
    with pytest.raises(Unreadable):
        fields_of(stored)


def test_what_is_right_by_itself_is_kept() -> None:
    fields = {**SOUND, "created_at": "noon", "role": "emperor", "password_changed_at": float("inf")}
    assert salvaged(User, fields) == {"name": "ada", "email": "ada@example.org", "password_hash": "x"}


def test_an_entry_is_damaged_where_its_number_is_anothers() -> None:
    sound = Entry(id=3, at=1.0, actor="root", act="log-out")
    body = msgspec.json.encode(sound)
    assert read_entry(Document("0003", 1, body)) == sound
    found = read_entry(Document("0004", 1, body))
    assert isinstance(found, DamagedEntry)
    assert (found.id, found.actor, found.why) == (4, "root", "id is not the one it is filed under")


@pytest.mark.parametrize(
    ("times", "old"),
    [
        ([1.0, 2.0, 9.0], [0, 1]),
        ([1.0, 2.0], [0]),
        ([1.0, None, 2.0, 9.0], [0, 1, 2]),
        ([1.0, 0.0, 9.0], [0]),
        ([None, 9.0, 1.0], []),
        ([], []),
    ],
)
def test_entries_grow_old_from_the_oldest_on_and_damage_does_not_stop_it(times: list[Any], old: list[int]) -> None:
    entries = ((str(number), at) for number, at in enumerate(times))
    assert outdated(entries, 5.0) == [str(number) for number in old]


def test_documents_of_another_type_are_damaged() -> None:
    assert Document.checked("k", 1, b"x") == Document("k", 1, b"x")
    for revision, body in ((None, b"x"), ("1", b"x"), (True, b"x"), (0, b"x"), (1, None), (1, "x"), (1, 7)):
        found = Document.checked("k", revision, body)
        assert (bool(found.damage), found.body) == (True, b"")


def test_a_damaged_entry_is_still_an_entry_that_can_be_written_as_json() -> None:
    found = read_entry(Document("3", 1, b'{"id": 3, "at": "noon"}'))
    assert msgspec.json.decode(msgspec.json.encode(found))["why"] == "at has the wrong type"
