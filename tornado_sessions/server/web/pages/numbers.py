"""The overview's numbers with their change since yesterday, and its lists of those with the most sessions, in the user's language.

It must not know how they are counted or drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_network
from typing import NamedTuple
from urllib.parse import quote_plus, urlencode

from tornado_sessions.messages import N_
from tornado_sessions.server.languages import Language
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.activity import EVENTS, Snapshot
from tornado_sessions.server.operations.health import band_texts, rate_text
from tornado_sessions.server.operations.overview import Board
from tornado_sessions.server.operations.tops import MAX_TOPS
from tornado_sessions.server.web import words

__all__ = ["TITLES", "Number", "Top", "TopItem", "numbers_of", "tops_of"]

TITLES = {
    "active": N_("Active sessions"),
    "users": N_("Signed in"),
    "visitors": N_("Anonymous"),
    "sign-ins": N_("Sign-ins"),
    "failures": N_("Failed sign-ins"),
    "ended": N_("Ended"),
}
#: Pages with what a number counts.
_PAGES = {
    "active": "/",
    "users": "/?kind=users",
    "visitors": "/?kind=visitors",
    "sign-ins": "/audit?" + urlencode({"act": Action.LOG_IN.value}),
    "failures": "/audit?" + urlencode({"act": Action.LOG_IN_FAILED.value}),
    "ended": "/?state=ended",
}
#: From this number of sessions, and this multiple of the average, a user is conspicuous.
_MANY, _TIMES_AVERAGE = 20, 5
#: The length of each list.
_SHOWN = 20
#: Maximum length of a name that is shown whole, and of one with a link, in characters.
_LONGEST_NAME, _LONGEST_LINKED = 60, 512

_NO_DATA = N_("No data from yesterday")

Address = Callable[[str], str]


class Number(NamedTuple):
    """One of the numbers at the top: a link with its change since yesterday."""

    label: str
    value: str
    url: str
    unit: str = ""
    note: str = ""
    trend: str = ""
    bad: bool = False


class TopItem(NamedTuple):
    """One of those with the most sessions. ``share`` is its part of the first one's number; ``before`` explains ``change``."""

    name: str
    number: str
    share: float
    url: str
    note: str = ""
    hot: bool = False
    change: str = ""
    before: str = ""


class Top(NamedTuple):
    """A list of those with the most sessions. ``more`` is the URL of all; empty if there is no such page."""

    title: str
    items: list[TopItem]
    more: tuple[str, str] | None = None


def numbers_of(board: Board, language: Language, url: Address) -> Iterator[Number]:
    """Yield the numbers. ``url`` returns the address of a path of the dashboard."""
    snapshot, say = board.snapshot, language.translate
    counts = {"active": snapshot.active, "users": snapshot.users, "visitors": snapshot.visitors}
    for name, count in counts.items():
        yesterday = board.trends.yesterday(name)
        share = count.total / yesterday - 1 if yesterday else None
        change, trend = _change(share, language.percent, language)
        if name == "users" and snapshot.figures is not None:
            people = language.plural("%s user", "%s users", snapshot.figures.people)
            note = " · ".join(filter(None, (change, people)))
        else:
            note = _since_yesterday(change, trend, language)
            if yesterday is None:
                note = say(_NO_DATA)
        yield Number(say(TITLES[name]), language.number(count), url(_PAGES[name]), "", note, trend)
    for name in EVENTS:
        rate = board.trends.rate(name)
        difference = None if rate.yesterday is None else round(rate.now, 1) - round(rate.yesterday, 1)
        change, trend = _change(difference, rate_text, language)
        bad = name == "failures" and rate.since is not None
        note = _since_yesterday(change, trend, language)
        if not note:
            note = say("usually %s–%s") % band_texts(rate.band) if rate.band is not None else say(_NO_DATA)
        yield Number(say(TITLES[name]), rate_text(rate.now), url(_PAGES[name]), say("/min"), note, trend, bad)


def _change(change: float | None, written: Callable[[float], str], language: Language) -> tuple[str, str]:
    """Return the size of a change in words and its direction; empty texts if it is unknown."""
    if change is None:
        return "", ""
    if written(abs(change)) == written(0.0):
        return language.translate("Same as yesterday"), ""
    return written(abs(change)), "up" if change > 0 else "down"


def _since_yesterday(change: str, trend: str, language: Language) -> str:
    return language.translate("%s vs. yesterday") % change if trend else change


def tops_of(
    snapshot: Snapshot, language: Language, url: Address, place: Callable[[str], str], called: Callable[[str], str]
) -> Iterator[Top]:
    """Yield the lists of a snapshot with figures.

    Args:
        snapshot, language, url: of the page.
        place: returns the place of an IP address, or an empty text.
        called: returns the name of a user.
    """
    figures, before, say = snapshot.figures, snapshot.tops_before, language.translate
    if figures is None:
        return
    tops = figures.tops

    def items(kind: str, path: str, make: Callable[[TopItem, str, int], TopItem]) -> list[TopItem]:
        found, top = [], getattr(tops, kind)
        for name, number in top[:_SHOWN]:
            # No list accepts a longer name, but an earlier version of the application may have stored one.
            link = url(path + quote_plus(name)) if len(name) <= _LONGEST_LINKED else ""
            item = TopItem(_cut(name), language.number(number), number / top[0][1], link)
            if before is not None:
                change, told = _top_change(name, number, getattr(before, kind), language)
                item = item._replace(change=change, before=told)
            found.append(make(item, name, number))
        return found

    def user(item: TopItem, name: str, number: int) -> TopItem:
        times = number * figures.people / max(1, figures.signed_in)
        is_hot = number >= _MANY and times >= _TIMES_AVERAGE
        return item._replace(
            name=_cut(called(name)),
            hot=is_hot,
            note=say("%s times the average") % language.number(round(times)) if is_hot else "",
        )

    def network(item: TopItem, name: str, _number: int) -> TopItem:
        return item._replace(note=place(str(ip_network(name).network_address + 1))[:40])

    def device(item: TopItem, name: str, _number: int) -> TopItem:
        return item._replace(name=say(words.DEVICE_KINDS.get(name, "")) or language.device(name))

    yield Top(say("Top users"), items("users", "/user?name=", user), (url("/users"), say("All users")))
    yield Top(say("Top networks"), items("networks", "/?ip=", network))
    yield Top(say("Top devices"), items("devices", "/?device=", device))
    if tops.places:
        yield Top(say("Top places"), [item._replace(url="") for item in items("places", "", lambda item, *_: item)])


def _top_change(name: str, number: int, before: Sequence[tuple[str, int]], language: Language) -> tuple[str, str]:
    """Return how much more or less somebody has than a day before, and a sentence about it."""
    known = dict(before)
    if name not in known and len(before) >= MAX_TOPS:
        few = language.number(before[-1][1])
        return language.translate(N_("new")), language.translate(N_("at most %s at this time yesterday")) % few
    then = known.get(name, 0)
    told = language.translate(N_("%s at this time yesterday")) % language.number(then)
    if number == then:
        return "=", told
    return ("+" if number > then else "−") + language.number(abs(number - then)), told


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
