"""Every form of every page, found by the router: what is wrong is summarised at the top, focused, linked and marked."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from bs4 import BeautifulSoup
from support.browser import Browser
from support.clock import Clock
from support.forms import BAD, TYPED, asked, filled, forms_of
from support.people import fill_store, make_operator
from support.routes import pages_of
from tornado.httpclient import HTTPResponse
from tornado.web import Application

from tornado_sessions.query import Where
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.access import PASSWORD_FRESH_FOR


@pytest.fixture
def url() -> str:
    """What is tested here knows no store."""
    return "memory://"


def check_pattern(answer: HTTPResponse, sent: dict[str, list[str]], where: str) -> None:
    """Assert that a page says what is wrong with the form that was sent, in the one way of all pages."""
    assert 400 <= answer.code < 500, (where, answer.code, answer.headers.get("Location"))
    page = BeautifulSoup(answer.body, "html.parser")
    main = page.select_one("main")
    assert main is not None, where
    summaries = main.select('[role="alert"][data-focus]')
    assert len(summaries) == 1, (where, "one summary takes the focus")
    summary = summaries[0]
    assert summary["tabindex"] == "-1"
    assert summary.get_text(strip=True), where
    heading = main.select_one("h1")
    assert heading is not None, where
    assert not heading.has_attr("role"), where
    order = list(main.descendants)
    forms = [form for form in main.select("form") if asked(form)]
    assert all(order.index(summary) < order.index(form) for form in forms), (
        where,
        "the summary stands above the forms",
    )
    linked = {str(link["href"]).removeprefix("#") for link in summary.select("a")}
    invalid = {str(field["id"]) for field in main.select('[aria-invalid="true"]')}
    assert linked == invalid, (where, "each faulty field is linked, and no other")
    for name in linked:
        field = main.select_one(f"#{name}")
        assert field is not None, where
        texts = [main.select_one(f"#{part}") for part in str(field["aria-describedby"]).split()]
        assert all(text is not None and text.get_text(strip=True) for text in texts), (where, name)
    ids = [str(tag["id"]) for tag in page.select("[id]")]
    assert len(ids) == len(set(ids)), (where, "an ID names one thing")
    for field in main.select("input, textarea"):
        name = str(field.get("name", ""))
        if field.get("type") == "password":
            assert not field.get("value"), (where, "no password comes back")
        elif field.get("type", "text") in TYPED and sent.get(name, [""])[0].strip() == BAD and name in linked:
            assert BAD in (field.get("value"), field.get_text()), (where, name, "what was typed is kept")


async def check_forms(browser: Browser, path: str, answer: HTTPResponse) -> list[str]:
    """Send each form of a page empty and with bad values. Return what was refused."""
    refused = []
    for form in forms_of(answer.body):
        action = str(form.get("action") or path)
        for text in ("", BAD):
            sent = filled(form, text)
            told = await browser.send(
                "POST",
                action,
                urlencode(sent, doseq=True),
                Content_Type="application/x-www-form-urlencoded",
                Referer=browser.base + path,
            )
            check_pattern(told, sent, f"{path}: {action} with {text!r}")
            refused.append(action)
    return refused


@pytest.mark.gen_test(timeout=60)
async def test_every_form_says_what_is_wrong_in_one_way(
    browser: Browser, other: Browser, operator: Browser, parts: Parts, app: Application, clock: Clock
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator, Role.ADMIN)
    await fill_store(parts, 120, "192.0.2.7")
    entry = await parts.audit.note(Actor("root"), Action.END_MATCHING)
    where = Where(ip="192.0.2.7", created_until=clock())
    job = await parts.jobs.wait(await parts.jobs.start(Actor("root"), entry, where, expected=0, confirmed=0), 5)
    # So that each form of an operator asks for the password.
    clock.ahead += PASSWORD_FRESH_FOR + 1
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    refused: set[str] = set()
    for person in (other, browser, operator):
        pages = await pages_of(person, app, handle, "ada")
        if person is operator:
            pages[f"/admin/jobs/{job.id}"] = await operator.get(f"/admin/jobs/{job.id}")
            pages["/admin/user?name=ada"] = await operator.get("/admin/user?name=ada")
            for fields in (
                {"user": "ada"},
                {"where": '{"ip":"192.0.2.7"}'},
                {"everybody": "1", "but_mine": "1"},
                {"handle": handle},
            ):
                pages[f"/admin/end {fields}"] = await operator.post("/admin/end", fields)
        for path, answer in pages.items():
            refused.update(await check_forms(person, path.partition(" ")[0], answer))
    assert refused >= {"/login", "/reg", "/account/password", "/admin/end", f"/admin/jobs/{job.id}/resume"}
