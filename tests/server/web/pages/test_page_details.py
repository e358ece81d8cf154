"""Details of single pages: languages, old records, charts, forms that are sent twice."""

from __future__ import annotations

import re

import pytest
from support.browser import Browser
from support.clock import Clock
from support.people import make_operator

from tornado_sessions.proxies import Proxies
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role


@pytest.mark.gen_test
async def test_users_are_found_however_their_name_is_written(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await make_operator(parts, operator)
    page = (await operator.get("/admin/?user=ADA")).body.decode()
    assert 'href="/admin/user?name=ada"' in page, "also without a session"
    await browser.log_in()
    assert "End 1 matching session" in (await operator.get("/admin/?user=ADA")).body.decode()


@pytest.mark.gen_test
async def test_a_language_is_chosen_without_losing_the_page(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for referer, location in (
        (operator.base + "/admin/?user=ada", "/admin/?user=ada"),
        ("https://evil.example/x", "/home"),
        ("", "/home"),
    ):
        answer = await operator.get("/language/zh", Referer=referer)
        assert answer.headers["Location"] == location


@pytest.mark.gen_test
async def test_what_is_not_kept_any_more_says_so(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for path in ("/admin/sessions/gone", "/admin/user?name=nobody"):
        answer = await operator.get(path)
        assert (answer.code, "kept for a limited time" in answer.body.decode()) == (404, True)


@pytest.mark.gen_test
async def test_a_page_that_is_loaded_again_makes_no_second_token(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    once = (await operator.get("/admin/operators/tokens")).body.decode().split('name="once" value="')[1].split('"')[0]
    form = {"name": "robot", "scope": "sessions:read", "days": "7", "once": once}
    assert [(await operator.post("/admin/operators/tokens", form)).code for _ in range(2)] == [200, 303]
    assert len(await parts.tokens.all()) == 1


@pytest.mark.gen_test
async def test_a_session_has_a_timeline_siblings_and_the_action_that_ended_it(
    browser: Browser, other: Browser, operator: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    await browser.log_in()
    await other.log_in()
    await make_operator(parts, operator)
    first, second = (item.handle for item in (await parts.sessions.find(user="ada")).items)
    page = (await operator.get(f"/admin/sessions/{first}")).body.decode()
    assert f"/admin/sessions/{second}" in page
    assert "End all 2 sessions" in page
    assert "Key last rotated" in page
    clock.ahead += 5
    await operator.post("/admin/end", {"handle": first, "confirm": "1", "why": "Suspicious activity"})
    page = (await operator.get(f"/admin/sessions/{first}")).body.decode()
    timeline = page.partition('class="timeline"')[2].partition("</ol>")[0]
    texts = re.findall(r"<p>([^·<]*?) ?[·<]", timeline)
    assert texts[-1].strip() == "Created"
    assert "Ended by an operator" in timeline
    assert "View in audit log" in page


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=30)
async def test_a_timeline_has_all_new_keys_and_addresses(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock
) -> None:
    """Also of somebody about whom the log has more entries than a page reads, and of visitors. Nothing of it is a value."""
    parts.sessions.proxies = Proxies(("127.0.0.1",), "X-Forwarded-For")
    await browser.register()
    await browser.log_in()
    for number in range(4):
        clock.ahead += 901
        browser.headers["X-Forwarded-For"] = f"203.0.113.{number // 2}"
        assert (await browser.get("/account")).code == 200
    for _ in range(210):
        await parts.audit.note(Actor("ada"), Action.PROOF_FAILED, user="ada")
    await make_operator(parts, operator)
    (item,) = (await parts.sessions.find(user="ada")).items
    page = (await operator.get(f"/admin/sessions/{item.handle}")).body.decode()
    timeline = page.partition('class="timeline"')[2].partition("</ol>")[0]
    texts = [text.strip() for text in re.findall(r"<p>([^<]*)<", timeline)]
    assert texts.count("Key rotated") == 4, texts
    assert re.findall(r">before: ([^<]*)<", timeline) == ["203.0.113.0", "127.0.0.1"]
    assert "history" not in page.partition(">Session data<")[2].partition("Reveal")[0]
    assert "history" not in str(await parts.sessions.values_of(item.handle))


@pytest.mark.gen_test(timeout=30)
async def test_operators_see_the_names_that_people_give_their_devices(
    browser: Browser, operator: Browser, parts: Parts
) -> None:
    await make_operator(parts, operator)
    await browser.register()
    await browser.log_in()
    second = Browser(browser.client, browser.base)
    await second.log_in()
    first, last = (item.handle for item in (await parts.sessions.find(user="ada")).items)
    assert (await browser.post(f"/account/devices/{first}", {"name": "<i>Wen's phone"})).code == 303
    for path in ("/admin/user?name=ada", f"/admin/sessions/{first}", f"/admin/sessions/{last}"):
        page = (await operator.get(path)).body.decode()
        assert page.count("&lt;i&gt;Wen&#x27;s phone") == 1, path
        assert "Firefox" in page, "the name stands beside what the device is, which its owner cannot choose"
    await parts.sessions.destroy(first)
    assert "Wen&#x27;s phone" in (await operator.get("/admin/user?name=ada")).body.decode()
