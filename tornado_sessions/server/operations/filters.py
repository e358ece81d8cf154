"""Convert query strings to filters and back, for pages and API. The URL contains the complete state of a list.

It must not know handlers or accounts; ``People`` looks up roles.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode

from tornado_sessions.errors import QueryError
from tornado_sessions.proxies import plain_address
from tornado_sessions.query import Direction, Sort, State, Where
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.operations.people import People, PeopleQuery, PeopleWithRoles, id_of
from tornado_sessions.server.operations.rules import DAY
from tornado_sessions.server.operations.suspects import Suspects
from tornado_sessions.server.roles import Role
from tornado_sessions.stores.matching import DEVICES
from tornado_sessions.validation import check_limit

__all__ = [
    "AUDIT_PARAMETERS", "FILTERS", "PARAMETERS", "PEOPLE_PARAMETERS", "PLACE", "View", "action_named", "known_query",
    "read_people_query", "read_query", "read_view", "whole_number",
]  # fmt: skip

T = TypeVar("T")

_ROLES = {role.value: role for role in Role if role.is_staff}
_KINDS = {"users": True, "visitors": False}
_STATES = {state.value: state for state in State}
_SORTS = {sort.value: sort for sort in Sort}
_DIRECTIONS = {direction.value: direction for direction in Direction}
#: Filter parameters of a list of sessions, with their descriptions in the OpenAPI document.
FILTERS = {
    "user": "exact, or a prefix with * at its end",
    "ip": "exact, or a network such as 192.0.2.0/24",
    "handle": "exact",
    "q": "a prefix of the user, handle or IP address",
    "device": "one of " + ", ".join(DEVICES) + ", or a browser and a system, such as Firefox on Linux",
    "kind": " or ".join(_KINDS),
    "role": ", ".join(_ROLES),
    "signed_in_within": "seconds",
    "signed_in_since": "UTC seconds",
    "ended_by": "who ended them; with state=ended only, like the next three",
    "ended_action": "the ref of the action in the audit log that ended them",
    "ended_since": "UTC seconds",
    "ended_until": "UTC seconds",
    "idle_for": "seconds",
    "suspicious": "1: users with signs of a stolen session",
}
#: All parameters of a list of sessions.
PARAMETERS = {
    **FILTERS,
    "state": " or ".join(_STATES),
    "sort": ", ".join(_SORTS),
    "direction": "asc or desc; by default asc for expires and user, desc for other orders",
    "cursor": "next_cursor or previous_cursor of another page",
    "limit": "1 to 500",
}
#: Parameters of a list of audit entries.
AUDIT_PARAMETERS = {
    "who": "the actor, or the user concerned",
    "act": "the name of an action",
    "days": "only entries of the last days",
    "before": "only entries with a smaller id",
    "after": "only entries with a greater id, those next to it",
}
#: Parameters of a list of users.
PEOPLE_PARAMETERS = {
    "q": "the beginning of the username",
    "role": ", ".join(Role),
    "state": "active or blocked",
    "cursor": "next_cursor or previous_cursor of another page",
    "limit": "1 to 200",
}
#: Parameters that say where one is in a list, not which list it is.
PLACE = ("cursor", "limit")
_BLOCKED = {"active": False, "blocked": True}
_MOST_PEOPLE = 200


class View(NamedTuple):
    """One view of a list of sessions.

    Attributes:
        given: the non-empty parameters, unparsed.
        where: the filters, with absolute times.
        state, sort, direction, cursor, limit: see ``Query``.
    """

    given: dict[str, str]
    where: Where = Where()
    state: State = State.LIVE
    sort: Sort = Sort.LAST_SEEN
    direction: Direction = Direction.DESCENDING
    cursor: str | None = None
    limit: int = 50

    @property
    def is_filtered(self) -> bool:
        """Whether any filter is set."""
        return bool(self.where.given)

    @property
    def is_ascending(self) -> bool:
        """Whether the earliest time or the first name comes first."""
        return self.direction is Direction.ASCENDING

    @property
    def query(self) -> str:
        """The query string without the place in the list, as views are saved."""
        return _written(self.given, PLACE)

    def sort_url(self, sort: Sort) -> str:
        """Return the query string of this view in another order, or in the other direction if it has this order already."""
        if self.state is State.ENDED or sort is self.sort:
            turned = {Direction.ASCENDING: Direction.DESCENDING, Direction.DESCENDING: Direction.ASCENDING}
            return self.url(direction=turned[self.direction].value)
        return self.url(sort=sort.value, direction=None)

    def url(self, **changed: str | None) -> str:
        """Return the query string of this view with some parameters changed. Without ``cursor`` it leads to the first page."""
        merged = {**self.given, "cursor": None, **changed}
        return "?" + urlencode({name: value for name, value in merged.items() if value})


def known_query(query: str, without: Collection[str] = PLACE) -> str:
    """Return the parameters of a query string that a list knows, for one that a client gives and that is stored or redirected to.

    Args:
        query: the query string, with or without its question mark.
        without: parameters to leave out.
    """
    return _written(dict(parse_qsl(query.removeprefix("?"))), without)


def _written(given: Mapping[str, str], without: Collection[str]) -> str:
    return urlencode({name: given[name] for name in PARAMETERS if given.get(name) and name not in without})


async def read_view(get: Callable[[str], str], people: People, suspects: Suspects, now: float) -> View:
    """Return the view that a query string describes.

    Args:
        get: returns the value of a parameter, or an empty string.
        people: looks up users by name and by role.
        suspects: knows the users with signs of a stolen session.
        now: UTC seconds.

    Raises:
        QueryError: a value is invalid.
        StoreUnavailable: people or suspects cannot be read.
    """
    given = {name: value for name in PARAMETERS if (value := get(name).strip())}
    fields: dict[str, Any] = {"handle": given.get("handle"), "text": given.get("q"), "device": given.get("device")}
    fields |= {"ended_by": given.get("ended_by"), "ended_action": given.get("ended_action"), **_times(given, now)}
    user, address = given.get("user", ""), given.get("ip", "")
    if user.endswith("*"):
        fields["user_prefix"] = user.removesuffix("*") or None
    elif user:
        fields["user"] = await id_of(people, user)
    if address:
        fields |= {"network": address} if "/" in address else {"ip": _address(address)}
    if "kind" in given:
        fields["signed_in"] = _one_of(given, "kind", _KINDS)
    # Sessions do not contain the role, so this filter lists the users who have it.
    if "role" in given:
        if not isinstance(people, PeopleWithRoles):
            raise QueryError("There is no filter for roles here.")
        fields["users"] = tuple(person.id for person in await people.with_role(_one_of(given, "role", _ROLES)))
    if "suspicious" in given:
        _one_of(given, "suspicious", {"1": True})
        users = (await suspects.signs()).users
        fields["users"] = tuple(user for user in users if "users" not in fields or user in fields["users"])
    state, sort = _one_of(given, "state", _STATES, State.LIVE), _one_of(given, "sort", _SORTS, Sort.LAST_SEEN)
    usual = Direction.DESCENDING if state is State.ENDED else sort.usual
    return View(
        given=given,
        where=Where(**fields),
        state=state,
        sort=sort,
        direction=_one_of(given, "direction", _DIRECTIONS, usual),
        cursor=given.get("cursor"),
        limit=whole_number(given["limit"], "limit") if "limit" in given else 50,
    )


def read_query(get: Callable[[str], str], now: float) -> AuditQuery:
    """Return the audit query that a query string describes. Arguments and errors are as for ``read_view``."""
    days = whole_number(get("days") or "0", "days")
    return AuditQuery(
        who=get("who"),
        act=action_named(get("act")),
        since=now - days * DAY if days else None,
        before=whole_number(get("before") or "0", "before", digits=15) or None,
        after=whole_number(get("after"), "after", digits=15) if get("after") else None,
    )


def _times(given: Mapping[str, str], now: float) -> dict[str, float]:
    """Return the filters by time."""
    fields: dict[str, float] = {}
    for name, field in (("signed_in_within", "signed_in_since"), ("idle_for", "idle_since")):
        if name in given:
            fields[field] = now - whole_number(given[name], name)
    for name in ("signed_in_since", "ended_since", "ended_until"):
        if name in given:
            at = float(whole_number(given[name], name, digits=10))
            fields[name] = max(at, fields.get(name, at))
    return fields


def read_people_query(get: Callable[[str], str]) -> PeopleQuery:
    """Return the selection of users that a query string describes. Arguments and errors are as for ``read_view``."""
    given = {name: value for name in PEOPLE_PARAMETERS if (value := get(name).strip())}
    return PeopleQuery(
        text=given.get("q", ""),
        role=_one_of(given, "role", {role.value: role for role in Role}) if "role" in given else None,
        blocked=_one_of(given, "state", _BLOCKED) if "state" in given else None,
        cursor=given.get("cursor", ""),
        limit=check_limit(whole_number(given["limit"], "limit"), _MOST_PEOPLE) if "limit" in given else 50,
    )


def action_named(name: str) -> Action | Literal[""]:
    """Return the action with this name, or an empty string for an empty name. Raises ``QueryError`` for an unknown name."""
    if name and name not in list(Action):
        raise QueryError("There is no action %s.", repr(name[:60]))
    return Action(name) if name else ""


def whole_number(text: str, name: str, *, digits: int = 9) -> int:
    """Return the number in a text of 1 to ``digits`` digits. Raises ``QueryError``, which mentions the field's ``name``."""
    if not (text.isascii() and text.isdigit() and len(text) <= digits):
        raise QueryError("%s must be a whole number.", name)
    return int(text)


def _one_of(given: Mapping[str, str], name: str, known: Mapping[str, T], default: T | None = None) -> T:
    if name not in given and default is not None:
        return default
    if given[name] not in known:
        raise QueryError("%s must be one of: %s.", name, ", ".join(known))
    return known[given[name]]


def _address(text: str) -> str:
    """Return an IP address as sessions store it. Without the check, a typing error would silently match nothing."""
    try:
        return plain_address(text)
    except ValueError:
        raise QueryError("Enter an IP address like 192.0.2.7 or 2001:db8::7, not %s.", repr(text[:60])) from None
