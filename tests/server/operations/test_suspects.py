"""Signs of a stolen session, the badges of lists, and places of addresses."""

from __future__ import annotations

import logging
import re

import pytest
from support.browser import Browser
from support.clock import Clock
from support.crowds import put, record
from support.people import make_operator
from tornado.web import Application

from tornado_sessions import Damaged, Moved, SessionSummary, Theft
from tornado_sessions.server.operations.places import Places
from tornado_sessions.server.operations.suspects import is_remembered
from tornado_sessions.server.parts import Parts

#: The country of an address is its last number.
COUNTRIES = {"1": "Utrecht, NL", "2": "Lyon, FR", "3": "Graz, AT", "4": "Turin, IT"}


def place_of(ip: str) -> str:
    return COUNTRIES.get(ip.rpartition(".")[2], "")


@pytest.mark.gen_test(timeout=30)
async def test_only_who_is_in_three_countries_within_an_hour_is_suspicious(parts: Parts, clock: Clock) -> None:
    parts.census.place = place_of
    users = ["roams", "roams", "roams", "travels", "travels", "stays", "stays", "stays", None, None, None]
    ips = ["1", "2", "3", "1", "2", "4", "4", "4", "1", "2", "3"]
    await put(
        parts.sessions,
        (record(number, clock(), users[number], f"192.0.2.{ips[number]}") for number in range(len(users))),
    )
    await put(parts.sessions, (record(400_000 + n, clock(), "was there", f"192.0.2.{n + 1}") for n in range(3)))
    await parts.census.figures(wait=10)
    signs = await parts.suspects.signs()
    assert (signs.countries, signs.users, signs.moved) == ({"roams": 3}, ("roams",), frozenset())


def moved(session: SessionSummary | Damaged) -> Moved:
    """The use of a session from another address."""
    assert isinstance(session, SessionSummary)
    return Moved(at=0, handle=session.handle, user=session.user, ip="198.51.100.7", previous_ip=session.ip)


@pytest.mark.gen_test(timeout=30)
async def test_a_new_address_and_an_old_token_are_signs_for_a_day(parts: Parts, clock: Clock) -> None:
    await put(parts.sessions, (record(number, clock(), name) for number, name in enumerate(("ada", "eve", "bob"))))
    ada, eve, _ = [(await parts.sessions.find(user=name)).items[0] for name in ("ada", "eve", "bob")]
    await parts.events.moved(moved(ada))
    await parts.audit.suspect(Theft(at=clock(), handle=eve.handle, user=eve.user, ip="198.51.100.7"))
    signs = await parts.suspects.signs()
    assert (signs.moved, signs.users) == (frozenset({ada.handle}), ("ada", "eve"))
    clock.ahead += 86_400 + 10
    assert (await parts.suspects.signs()).users == ()


@pytest.mark.parametrize(
    ("user", "left", "expected"), [("ada", 1800, False), ("ada", 86_400, True), (None, 86_400, False)]
)
def test_a_remembered_session_may_be_unused_for_longer_than_others(
    user: str | None, left: float, expected: bool
) -> None:
    session = record(0, 1_800_000_000.0, user).record
    found = type(session)(
        **{
            **{name: getattr(session, name) for name in session.__struct_fields__},
            "expires_at": session.last_seen_at + left,
        }
    )
    assert is_remembered(found, 1800.0) is expected


@pytest.mark.gen_test(timeout=30)
async def test_the_list_has_a_badge_for_each_sign_and_finds_the_suspicious(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    ada = (await parts.sessions.find(user="ada")).items[0]
    await parts.events.moved(moved(ada))
    page = (await operator.get("/admin/")).body.decode()
    assert page.count("<span>New IP</span>") == 1
    found = (await operator.get("/admin/?suspicious=1")).body.decode()
    assert "/admin/user?name=ada" in found
    assert "/admin/user?name=root" not in re.sub(r"<header.*?</header>", "", found, flags=re.DOTALL)


def test_a_place_is_asked_for_once_and_is_short(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    def ask(ip: str) -> str:
        asked.append(ip)
        return f"  a\nplace of {ip}" + "x" * 500

    places = Places(ask)
    assert [places("192.0.2.1"), places("192.0.2.1")] == [f"a place of 192.0.2.1{'x' * 500}"[:60]] * 2
    assert asked == ["192.0.2.1"]
    for number in range(20_001):
        places(str(number))
    assert places("192.0.2.1") == "a place of 192.0.2.1" + "x" * 40
    assert asked.count("192.0.2.1") == 2, "what is kept has a bound"
    assert caplog.records == []


@pytest.mark.parametrize("fault", [ValueError("no such address"), KeyError("x"), OSError("the file is gone")])
def test_a_function_that_fails_costs_the_place_only(fault: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def ask(ip: str) -> str:
        if ip == "192.0.2.1":
            raise fault
        return "Utrecht, NL"

    places = Places(ask)
    with caplog.at_level(logging.WARNING):
        assert [places("192.0.2.1") for _ in range(3)] == [""] * 3
    assert len(caplog.records) == 1
    assert places("192.0.2.2") == "Utrecht, NL"


def test_pages_and_census_ask_the_same_places(app: Application, parts: Parts) -> None:
    assert isinstance(parts.census.place, Places)
    assert app.settings["site"].place is parts.census.place
