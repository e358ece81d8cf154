"""The runs along indexes that make a list, in which order, and where a row stands in one.

Pure: SQL as text and rows as tuples; it must not know connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import LATEST
from tornado_sessions.stores.cursor import Place
from tornado_sessions.stores.matching import straight
from tornado_sessions.stores.sqlite.columns import FACTS

__all__ = ["BYTES", "Values", "Walk", "behind", "joined", "place_of_row", "walks_of"]

# In a cursor, marks text that is not UTF-8 and is written as hexadecimal digits.
BYTES = "\U0010ffff"

Values = list[Any]


class Walk(NamedTuple):
    """A run along an index.

    Attributes:
        by: the index's name.
        where, values: the part of it.
        order: its order, as SQL.
        last: whether its rows come after all others of the list (``Place.last``).
    """

    by: str
    where: str
    values: Values
    order: str
    last: bool = False

    @property
    def column(self) -> str:
        """What it is ordered by."""
        return self.order.split(",")[0].removesuffix(" DESC")

    @property
    def time(self) -> str:
        """The time in its order."""
        return "last_seen_at" if self.column == "user" else self.column

    @property
    def sound(self) -> str:
        """The condition that the sort columns are readable. The plus keeps SQLite from choosing an index by these terms."""
        names = ("handle", "user") if self.column in {"user", "signed_in_at"} else ("handle",)
        text = " AND ".join(f"+{name} < x''" for name in names)
        return f"{text} AND +{self.time} > {-LATEST} AND +{self.time} < {LATEST}"


_NEWEST = "last_seen_at DESC, handle"
_ENDED = "ended_at DESC, handle"
_SIGNED_IN = "signed_in_at DESC, handle"
_INDEXES = {"user": "by_user", "ip": "by_ip"}


def walks_of(query: Query, era: int) -> list[Walk]:
    """The runs that make the list, one after the other; living sessions are those of this era."""
    if query.state is State.ENDED:
        for name in ("user", "ip"):
            if (value := getattr(query, name)) is not None:
                return [Walk(f"tombstones_{_INDEXES[name]}", f"{name} = ?", [value], _ENDED)]
        return [Walk("tombstones_by_end", "1", [], _ENDED)]
    bound, which, sort = [era], straight(query), query.sort
    visitors = Walk("sessions_of_visitors", "era = ? AND user IS NULL", bound, _NEWEST, last=sort is not Sort.LAST_SEEN)
    if which == "visitors":
        return [visitors]
    if which != "all":
        value = getattr(query, which)
        return [Walk(f"sessions_{_INDEXES[which]}", f"era = ? AND {which} = ?", [era, value], _NEWEST)]
    if sort is Sort.LAST_SEEN:
        return [Walk("sessions_by_last_seen", "era = ?", bound, _NEWEST)]
    if sort is Sort.EXPIRES:
        return [Walk("sessions_by_expiry", "era = ?", bound, "expires_at, handle")]
    name, order = ("by_signed_in", _SIGNED_IN) if sort is Sort.SIGNED_IN else ("by_user", f"user, {_NEWEST}")
    return [Walk(f"sessions_{name}", "era = ? AND user IS NOT NULL", bound, order), visitors]


def behind(walk: Walk, after: Place) -> Walk:
    """The part of a run behind a place."""
    column, handle = walk.column, _bound(after.handle)
    if column == "user":
        user = _bound(after.name)
        where = (
            "user >= CAST(? AS TEXT) AND (user > CAST(? AS TEXT) OR last_seen_at < ?"
            " OR (last_seen_at = ? AND handle > CAST(? AS TEXT)))"
        )
        values: Values = [user, user, -after.at, -after.at, handle]
    elif column == "expires_at":
        where = "expires_at >= ? AND (expires_at > ? OR handle > CAST(? AS TEXT))"
        values = [after.at, after.at, handle]
    else:
        where = f"{column} <= ? AND ({column} < ? OR handle > CAST(? AS TEXT))"
        values = [-after.at, -after.at, handle]
    return walk._replace(where=f"{walk.where} AND {where}", values=[*walk.values, *values])


def place_of_row(walk: Walk, row: tuple[Any, ...]) -> Place:
    """Where a row stands, from its stored values, so that a row damaged in other columns keeps its place."""
    at = row[8] if walk.column == "ended_at" else row[FACTS.index(walk.time)]
    name = _shown(row[1]) if walk.column == "user" else ""
    return Place(last=walk.last, name=name, at=at if walk.column == "expires_at" else -at, handle=_shown(row[0]))


def _shown(stored: str | bytearray) -> str:
    """A text as cursors hold it: hexadecimal digits if it is not UTF-8 or could be mistaken for such digits."""
    if isinstance(stored, str) and not stored.startswith(BYTES):
        return stored
    return BYTES + (stored.encode() if isinstance(stored, str) else stored).hex()


def _bound(shown: str) -> str | bytes:
    """Undo ``_shown``, for ``CAST(? AS TEXT)``. Raises ``QueryError``."""
    if not shown.startswith(BYTES):
        return shown
    try:
        return bytes.fromhex(shown.removeprefix(BYTES))
    except ValueError:
        raise QueryError("the cursor is not one that a page gave; start from the first page") from None


def joined(walks: Sequence[Walk]) -> tuple[str, Values]:
    """The condition that all walks of a list together meet."""
    return ("era = ?", walks[0].values) if len(walks) > 1 else (walks[0].where, walks[0].values)
