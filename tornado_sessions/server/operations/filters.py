"""From the address of a list to filters and back: the whole view is in the URL, for pages and API alike.

It must not know handlers or stores; who has a role is asked of the accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import urlencode

from tornado_sessions.errors import QueryError
from tornado_sessions.proxies import plain_address
from tornado_sessions.query import Sort, State, Where
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.stores import AuditQuery
from tornado_sessions.server.roles import Role

__all__ = ["FILTERS", "LABELS", "NAMES", "View", "action_named", "read_query", "read_view", "whole_number"]

T = TypeVar("T")

_DAY = 86400.0

#: Everything that an address can say of a list.
NAMES = (
    "user",
    "ip",
    "handle",
    "q",
    "device",
    "kind",
    "role",
    "signed_in_within",
    "idle_for",
    "state",
    "sort",
    "cursor",
    "limit",
)
#: What fields of ``Where`` are called on pages.
LABELS = {
    "user": "User",
    "user_prefix": "User begins with",
    "users": "Users",
    "ip": "Address",
    "network": "Network",
    "handle": "Handle",
    "text": "Begins with",
    "device": "Device",
    "signed_in": "Logged in",
    "signed_in_since": "Logged in since",
    "idle_since": "Unused since",
}
#: Those of them that filter.
FILTERS = NAMES[:9]
_KINDS = {"users": True, "visitors": False}


class View(NamedTuple):
    """One view of a list.

    Attributes:
        given: what the address says, without what is empty.
        where: the same as filters, with times made absolute.
        state, sort, cursor, limit: of the list.
    """

    given: dict[str, str]
    where: Where
    state: State
    sort: Sort
    cursor: str | None
    limit: int

    @property
    def is_filtered(self) -> bool:
        """Whether any filter is set."""
        return bool(self.where.given)

    def url(self, **changed: str | None) -> str:
        """The address of this view with something changed; without ``cursor``, of its first page."""
        kept = {name: value for name, value in self.given.items() if name != "cursor"}
        merged = {**kept, **changed}
        return "?" + urlencode({name: value for name, value in merged.items() if value})

    def described(self) -> list[tuple[str, str]]:
        """The filters that are set, by name, as they were given."""
        return [(name, self.given[name]) for name in FILTERS if name in self.given]


async def read_view(get: Callable[[str], str], accounts: Accounts, now: float) -> View:
    """The view that an address asks for.

    Args:
        get: the value of a name in the address; empty when it is missing.
        accounts: know who has which role.
        now: the time, in UTC seconds.

    Raises:
        QueryError: something in it makes no sense.
    """
    given = {name: value for name in NAMES if (value := get(name).strip())}
    fields: dict[str, object] = {"handle": given.get("handle"), "text": given.get("q"), "device": given.get("device")}
    user, address = given.get("user", ""), given.get("ip", "")
    if user.endswith("*"):
        fields["user_prefix"] = user.removesuffix("*") or None
    elif user:
        fields["user"] = await accounts.name_of(user)
    if "/" in address:
        fields["network"] = address
    elif address:
        fields["ip"] = _address(address)
    if "kind" in given:
        fields["signed_in"] = _one_of(given, "kind", _KINDS)
    if "role" in given:
        role = _one_of(given, "role", {role.value: role for role in Role if role.is_staff})
        fields["users"] = tuple(user.name for user in await accounts.with_role(role))
    if "signed_in_within" in given:
        fields["signed_in_since"] = now - _seconds(given, "signed_in_within")
    if "idle_for" in given:
        fields["idle_since"] = now - _seconds(given, "idle_for")
    return View(
        given=given,
        where=Where(**fields),  # type: ignore[arg-type]
        state=_one_of(given, "state", {state.value: state for state in State}, State.LIVE),
        sort=_one_of(given, "sort", {sort.value: sort for sort in Sort}, Sort.LAST_SEEN),
        cursor=given.get("cursor"),
        limit=int(_seconds(given, "limit")) if "limit" in given else 50,
    )


def read_query(get: Callable[[str], str], now: float) -> AuditQuery:
    """The entries of the audit log that an address asks for.

    Args:
        get: the value of a name in the address: ``who``, ``act``, ``days`` (the last ones), ``before`` (an id).
        now: in UTC seconds.

    Raises:
        QueryError: one of them makes no sense.
    """
    days = whole_number(get("days") or "0", "days")
    before = whole_number(get("before") or "0", "before", digits=15)
    return AuditQuery(
        who=get("who"),
        act=action_named(get("act")),
        since=now - days * _DAY if days else None,
        before=before or None,
    )


def action_named(name: str) -> Action | Literal[""]:
    """The action of this name; empty where none is asked for. Raises ``QueryError``: a typing error would find nothing."""
    if name and name not in list(Action):
        raise QueryError("there is no action %s", repr(name[:60]))
    return Action(name) if name else ""


def _one_of(given: Mapping[str, str], name: str, known: Mapping[str, T], default: T | None = None) -> T:
    if name not in given and default is not None:
        return default
    value = given[name]
    if value not in known:
        raise QueryError("%s is one of %s", name, ", ".join(known))
    return known[value]


def _address(text: str) -> str:
    """As sessions have it; what is no address would look like one that nobody has."""
    try:
        return plain_address(text)
    except ValueError:
        raise QueryError("an address is written like 192.0.2.7 or 2001:db8::7, not %s", repr(text[:60])) from None


def _seconds(given: Mapping[str, str], name: str) -> float:
    return float(whole_number(given[name], name))


def whole_number(text: str, name: str, *, digits: int = 9) -> int:
    """A number that somebody typed, not negative. Raises ``QueryError``, which calls it by its name."""
    if not (text.isascii() and text.isdigit() and len(text) <= digits):
        raise QueryError("%s must be a whole number", name)
    return int(text)
