"""Fields that an application adds to its users: in forms, on pages, and in accounts that other processes change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2.profiles import CHEAPEST
from bs4 import BeautifulSoup
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD, SECRET
from tornado.web import Application

from tornado_sessions import UsageError
from tornado_sessions.server import Field
from tornado_sessions.server.accounts.fields import Fields
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.application import make_application

FIELDS = [
    Field("full_name", "Full name", required=True, max_length=20),
    Field("desk", "Desk", kind=int, check=lambda desk: "There are 99 desks." if desk > 99 else None),
    Field(
        "team",
        {"en_US": "Team", "zh": "团队"},
        choices={"ops": "Operations", "dev": {"en_US": "Development", "zh": "开发"}},
    ),
    Field("terms", "I accept the terms", kind=bool, required=True),
]
GOOD = {"extra_full_name": "  Ada <b>Lovelace ", "extra_desk": "7", "extra_team": "ops", "extra_terms": "1"}
STORED = {"full_name": "Ada <b>Lovelace", "desk": 7, "team": "ops", "terms": True}


def make_parts(url: str, clock: Clock, fields: list[Field]) -> Parts:
    options = ServerOptions(store=url, secret=[SECRET])
    return Parts(options, passwords=Passwords(CHEAPEST), clock=clock, fields=fields)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/users.db"


@pytest.fixture
def parts(url: str, clock: Clock, io_loop: Any) -> Iterator[Parts]:
    made = make_parts(url, clock, FIELDS)
    io_loop.run_sync(made.open)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def app(parts: Parts) -> Application:
    return make_application(parts)


async def register(browser: Browser, name: str = "ada", **more: str) -> Any:
    return await browser.post(
        "/reg", {"username": name, "email": f"{name}@example.org", "password": PASSWORD, **GOOD, **more}
    )


def soup_of(answer: Any) -> BeautifulSoup:
    return BeautifulSoup(answer.body, "html.parser")


async def extra_of(parts: Parts, name: str = "ada") -> dict[str, Any]:
    user = await parts.accounts.get(name)
    assert user is not None
    return user.extra


@pytest.mark.gen_test
async def test_people_enter_the_fields_and_change_them_and_operators_see_them(
    browser: Browser, parts: Parts, operator: Browser
) -> None:
    assert (await register(browser)).code == 200
    assert await extra_of(parts) == STORED
    await browser.log_in()
    profile = soup_of(await browser.get("/account/profile")).get_text(" ", strip=True)
    assert "Full name Ada <b>Lovelace" in profile
    assert "Team Operations" in profile
    form = soup_of(await browser.get("/account/details"))
    shown = {box["name"]: box.get("value") for box in form.select("main input[name^=extra_]")}
    assert shown == {"extra_full_name": "Ada <b>Lovelace", "extra_desk": "7", "extra_terms": "1"}
    assert form.select_one("option[selected]")["value"] == "ops"  # type: ignore[index]
    assert form.select_one("[name=extra_terms]").has_attr("checked")  # type: ignore[union-attr]
    changes = {**GOOD, "extra_desk": "", "extra_team": "dev"}
    assert (await browser.post("/account/details", changes)).headers["Location"] == "/account/profile"
    chinese = soup_of(await browser.get("/account/profile", Accept_Language="zh")).get_text(" ", strip=True)
    assert "团队 开发" in chinese
    # What is left empty is gone.
    assert await extra_of(parts) == {"full_name": "Ada <b>Lovelace", "team": "dev", "terms": True}
    await parts.accounts.register("root1", "root@example.org", PASSWORD, role=Role.VIEWER)
    await operator.log_in("root1")
    page = soup_of(await operator.get("/admin/user?name=ada&tab=profile")).get_text(" ", strip=True)
    assert "Full name Ada <b>Lovelace Desk – Team Development I accept the terms Yes" in page


#: What is typed into a field, and what is wrong with it.
FAULTS = {
    "extra_full_name": [("", "Fill in this field."), ("x" * 21, "Use at most 20 characters."), ("a\0b", "Use letters")],
    "extra_desk": [
        ("seven", "Enter a whole number."),
        ("9" * 40, "Enter a whole number."),
        ("100", "There are 99 desks."),
    ],
    "extra_team": [("boss", "Choose an option from the list."), ("<b>", "Choose an option from the list.")],
    "extra_terms": [("", "Tick this box to continue.")],
}


@pytest.mark.parametrize("path", ["/reg", "/account/details"])
@pytest.mark.gen_test
async def test_a_wrong_value_is_refused_beside_its_field_and_changes_nothing(
    browser: Browser, parts: Parts, path: str
) -> None:
    if path != "/reg":
        await register(browser)
        await browser.log_in()
    for name, tried in FAULTS.items():
        for typed, expected in tried:
            form = {**GOOD, name: typed, "extra_unknown": "x"}
            if path == "/reg":
                form |= {"username": "ada", "email": "ada@example.org", "password": PASSWORD}
            answer = await browser.post(path, form, page=path)
            page = soup_of(answer)
            assert answer.code == 400, (name, typed)
            box = page.find(id=name)
            assert box is not None, name
            assert box["aria-invalid"] == "true"
            described = page.find(id=f"{name}-error")
            assert described is not None
            assert expected in described.get_text()
            assert f"{name}-error" in box["aria-describedby"]
            summary = page.select("[role=alert] a")
            assert [link["href"] for link in summary] == [f"#{name}"]
            # What was right is still there.
            kept = page.find(id="extra_full_name")
            assert kept is not None
            assert name == "extra_full_name" or kept["value"] == "Ada <b>Lovelace"
    assert await parts.accounts.get("ada") is None if path == "/reg" else await extra_of(parts) == STORED


@pytest.mark.gen_test
async def test_a_process_with_other_fields_drops_nothing(
    browser: Browser, parts: Parts, url: str, clock: Clock
) -> None:
    """Such as one of an earlier version of the application, during a switch, and two forms sent at the same moment."""
    await register(browser)
    earlier = make_parts(url, clock, [Field("nickname", "Nickname")])
    await earlier.open()
    await earlier.accounts.change_extra("ada", {"extra_nickname": "Countess"})
    await earlier.accounts.set_role("ada", Role.VIEWER)
    await earlier.accounts.change_password("ada", PASSWORD, "an entirely different phrase", "::1")
    assert await extra_of(parts) == {**STORED, "nickname": "Countess"}
    forms = [({**GOOD, "extra_desk": str(number)}, {"extra_nickname": f"n{number}"}) for number in range(5)]
    await asyncio.gather(
        *(parts.accounts.change_extra("ada", ours) for ours, _ in forms),
        *(earlier.accounts.change_extra("ada", theirs) for _, theirs in forms),
    )
    found = await extra_of(parts)
    assert found.keys() == {*STORED, "nickname"}
    assert (found["desk"] in range(5), found["nickname"].startswith("n")) == (True, True)
    await earlier.close()


@pytest.mark.gen_test
async def test_an_invitation_and_the_setup_link_ask_for_the_fields(
    browser: Browser, parts: Parts, other: Browser
) -> None:
    made = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}
    setup = f"/setup/{await parts.setup.make()}"
    assert (await browser.post(setup, {**made, **GOOD, "extra_terms": ""}, page=setup)).code == 400
    assert (await browser.post(setup, {**made, **GOOD}, page=setup)).code == 200
    invitation = f"/invite/{await parts.links.for_invitation(Role.VIEWER, 'ada')}"
    invited = {**made, "username": "bob", "email": "bob@example.org"}
    assert (await other.post(invitation, {**invited, **GOOD, "extra_full_name": ""}, page=invitation)).code == 400
    assert (await other.post(invitation, {**invited, **GOOD}, page=invitation)).code == 200
    assert await extra_of(parts) == await extra_of(parts, "bob") == STORED


@pytest.mark.parametrize("stored", [7, ["a"], {"a": 1}, None, True, "x" * 5000])
def test_a_stored_value_of_another_kind_is_not_shown_and_not_lost(stored: object) -> None:
    """The application may have changed the kind of a field, or stored something itself."""
    record = User(name="ada", email="", password_hash="", created_at=1.0, password_changed_at=1.0, extra={"n": stored})
    found = User.restore(record.record)
    assert isinstance(found, User)
    assert found.extra == {"n": stored}
    [(_, shown)] = Fields([Field("n", "N", kind=int)]).shown(found.extra)
    assert shown == (7 if stored == 7 else None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Full Name"},
        {"name": ""},
        {"name": "a" * 41},
        {"label": ""},
        {"kind": float},
        {"max_length": 0},
        {"max_length": 501},
        {"kind": int, "choices": {"a": "A"}},
    ],
)
def test_a_field_out_of_its_bounds_is_refused_when_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Field(**{"name": "team", "label": "Team", **wrong})


def test_fields_have_different_names_and_are_few() -> None:
    for fields in ([Field("a", "A"), Field("a", "B")], [Field(f"f{number}", "F") for number in range(21)]):
        with pytest.raises(UsageError):
            Fields(fields)
