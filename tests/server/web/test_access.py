"""Who may do what: every route and every role, and how long an operator stays signed in."""

from __future__ import annotations

import re

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.people import make_operator
from support.role_matrix import MATRIX
from tornado.httputil import HTTPHeaders
from tornado.web import Application

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.site import Site

pytestmark = knows_no_store

PRIVATE = ["/admin/", "/admin/audit", "/admin/sessions/x", "/admin/api/sessions"]


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.gen_test
async def test_the_dashboard_is_for_operators_only(browser: Browser, path: str) -> None:
    assert (await browser.get(path)).code in (302, 401)
    await browser.register()
    await browser.log_in()
    assert (await browser.get(path)).code == 403


@pytest.mark.gen_test
async def test_only_staff_count_as_operators_when_the_server_is_busy(
    browser: Browser, operator: Browser, parts: Parts, app: Application
) -> None:
    """Neither users with an account, nor everybody without a cookie once a program on this host has read the metrics."""

    def is_seen(person: Browser) -> bool:
        cookies = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
        return site.people_seen.is_operator(HTTPHeaders({"Cookie": cookies} if cookies else {}))

    site: Site = app.settings["site"]

    assert (await browser.get("/metrics")).code == 200
    assert not is_seen(browser)
    await browser.register()
    await browser.log_in()
    assert (await browser.get("/account")).code == 200
    assert not is_seen(browser)
    await make_operator(parts, operator, Role.VIEWER)
    assert (await operator.get("/admin/")).code == 200
    assert (await operator.get("/admin/jobs")).code == 200
    assert is_seen(operator)


@pytest.mark.gen_test
async def test_a_viewer_looks_and_does_not_touch(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator, Role.VIEWER)
    assert (await operator.get("/admin/")).code == 200
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    assert (await operator.post("/admin/end", {"handle": handle, "confirm": "1"})).code == 403
    assert (await browser.get("/account")).code == 200


@pytest.mark.gen_test
async def test_an_operators_session_ends_after_a_quarter_of_an_hour_unused(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    await browser.log_in(remember="1")
    await make_operator(parts, operator)
    clock.ahead += 850
    assert (await operator.get("/admin/")).code == 200
    clock.ahead += 901
    assert (await operator.get("/admin/")).headers["Location"].startswith("/login")
    assert (await browser.get("/account")).code == 200


@pytest.mark.gen_test
async def test_an_operators_session_ends_after_eight_hours_of_use(
    operator: Browser, parts: Parts, clock: Clock
) -> None:
    await make_operator(parts, operator)
    for _ in range(33):
        clock.ahead += 850
        assert (await operator.get("/admin/")).code == 200
    clock.ahead += 751
    assert (await operator.get("/admin/")).code == 302


def staff_routes(app: Application) -> list[str]:
    found = [str(getattr(rule.matcher, "regex").pattern) for rule in app.wildcard_router.rules]  # noqa: B009
    return [pattern.removesuffix("$") for pattern in found if pattern.startswith("/admin")]


def test_every_route_of_the_dashboard_is_in_the_matrix(app: Application) -> None:
    assert set(staff_routes(app)) == MATRIX.keys()


@pytest.mark.gen_test(timeout=60)
async def test_each_role_gets_what_is_its_own(browser: Browser, parts: Parts) -> None:
    people = [Browser(browser.client, browser.base) for _ in range(5)]
    names = dict(zip(("ada", "vera", "oscar", "alice"), Role, strict=True))
    for (name, role), person in zip(names.items(), people[1:], strict=True):
        await parts.accounts.register(name, f"{name}@example.org", PASSWORD, role=role)
        await person.log_in(name)
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    tokens = [await person.token() for person in people]
    for pattern, expected in MATRIX.items():
        told: dict[str, list[int]] = {method: [] for method in expected}
        for person, token in zip(people, tokens, strict=True):
            path = pattern.replace("/?", "/").replace(r"\.(jsonl|csv)", ".csv").replace(r"\.", ".")
            path = re.sub(r"\(\[.*?\)", "ada" if "/users/" in path else handle, path)
            path += "?name=ada" if path == "/admin/user" else ""
            headers = {"X_XSRFToken": token, "Content_Type": "application/x-www-form-urlencoded"}
            for method, codes in told.items():
                answer = await person.send(method, path, None if method == "GET" else "", **headers)
                codes.append(answer.code)
        assert {method: tuple(codes) for method, codes in told.items()} == expected, pattern
    assert (await parts.sessions.count()).total == 4


@pytest.mark.gen_test
async def test_a_page_that_updates_a_part_of_itself_is_loaded_anew_after_its_session_has_ended(
    browser: Browser,
) -> None:
    part = await browser.get("/admin/jobs/live", HX_Request="true")
    assert (part.code, part.headers["HX-Refresh"], part.body) == (401, "true", b"")
    assert (await browser.get("/admin/jobs")).headers["Location"] == "/login?next=%2Fadmin%2Fjobs"
