"""The public surface: names and errors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tornado_sessions
from tornado_sessions import (
    Session,
    SessionError,
    SessionMixin,
    Sessions,
    StoreMismatch,
    StoreUnavailable,
    errors,
)

ROOT = Path(__file__).parents[2]

#: Methods that only the package itself calls.
INTERNAL = {
    "commit", "delta", "pending_save", "end", "fetch", "fetch_at_once", "fetch_one_of", "finish", "log_in", "may_have_to_save",
    "rebase", "reload", "reset", "rotate", "mark_saved", "new_request_session", "send", "settle", "take_over",
}  # fmt: skip
#: Names in annotations that come from Python and Tornado.
PLAIN = {
    "Any",
    "AsyncGenerator",
    "Awaitable",
    "Callable",
    "Future",
    "IOStream",
    "Iterable",
    "Iterator",
    "Mapping",
    "None",
    "Transform",
    "V",
}


#: What an application uses, and what the author of a store does besides; errors are checked by walking their tree.
NAMES = {
    "Cause", "Count", "Damaged", "Direction", "Event", "EventKind", "SessionSummary",
    "Ended", "EndedAll", "Moved", "Rotated", "SessionEvent", "SignedIn", "SignedOut", "TakenOver", "Theft",
    "JSONValue", "Page", "Record", "Session", "SessionConfig",
    "SessionMixin", "Sessions", "Sort", "State", "Store", "StoreCall", "Tombstone", "Where", "open_store",
}  # fmt: skip
NAMES_OF_STORES = {
    "Change", "Conflict", "Create", "Ending", "Loaded", "Outcome", "Query", "Rotation", "Swapped",
}  # fmt: skip


def tree(error: type[Exception]) -> Iterator[type[Exception]]:
    yield error
    for below in error.__subclasses__():
        yield from tree(below)


#: The library's; those of the ready server belong to it.
ERRORS = {error for error in tree(SessionError) if error.__module__ == "tornado_sessions.errors"}


def test_the_public_names_are_these() -> None:
    assert set(tornado_sessions.__all__) == NAMES | NAMES_OF_STORES | {error.__name__ for error in ERRORS}


@pytest.mark.parametrize("error", sorted(ERRORS, key=str), ids=lambda error: error.__name__)
def test_every_error_can_be_imported_from_the_package_and_has_a_status(error: type[SessionError]) -> None:
    assert getattr(tornado_sessions, error.__name__) is error
    assert error.__name__ in errors.__all__
    assert error.__doc__
    assert 400 <= error.status <= 599


def test_an_error_from_elsewhere_in_the_library_is_kept_inside_or_is_one_of_these() -> None:
    """A store may tell its own faults apart; what it raises is caught by the names above."""
    outside = ("server", "errors")
    found = {error for error in tree(SessionError) if error.__module__.split(".")[1] not in outside}
    assert all(error.__bases__[0] in {StoreUnavailable, StoreMismatch} for error in found)


def test_whoever_listens_replaces_no_other_listener() -> None:
    """Callbacks are added by methods: an attribute for one callback would be overwritten by the dashboard, or by its host."""
    sessions = Sessions("memory://", secret="x" * 40)
    listened = [name for name in dir(sessions) if name.startswith("on")]
    assert listened == ["on"]
    assert not [
        name for name, value in vars(sessions).items() if value is None and not name.startswith("_") and "on_" in name
    ]


def test_types_of_public_signatures_can_be_imported_from_the_package() -> None:
    for owner in (Sessions, Session, SessionMixin):
        for name, method in inspect.getmembers(owner, inspect.isfunction):
            if name.startswith("_") or not method.__module__.startswith("tornado_sessions") or name in INTERNAL:
                continue
            for word in re.findall(r"[A-Z]\w+", " ".join(map(str, method.__annotations__.values()))):
                known = hasattr(tornado_sessions, word) or word in PLAIN
                assert known, f"{owner.__name__}.{name}: {word}"
