"""Every page, found by the router, has what each page must have."""

from __future__ import annotations

import re

import pytest
from support.browser import Browser
from support.people import make_operator
from support.routes import pages_of
from tornado.web import Application

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role


@pytest.fixture
def url() -> str:
    """What is tested here knows no store."""
    return "memory://"


async def texts_of(browser: Browser, app: Application, handle: str) -> dict[str, str]:
    """The HTML of each page by its path."""
    pages = await pages_of(browser, app, handle, "root")
    return {path: answer.body.decode() for path, answer in pages.items()}


@pytest.mark.gen_test
async def test_every_page_for_people_who_are_signed_in_has_a_button_to_sign_out(
    operator: Browser, parts: Parts, app: Application
) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    pages = await texts_of(operator, app, (await parts.sessions.find(user="root")).items[0].handle)
    assert {"/account", "/admin/", "/admin/audit"} <= set(pages)
    for path, page in pages.items():
        assert re.search(r'<form method="post" action="/logout">.*?<button', page, re.DOTALL), path


@pytest.mark.gen_test
async def test_passwords_are_masked_and_left_to_password_managers(
    browser: Browser, operator: Browser, parts: Parts, app: Application
) -> None:
    visible = await texts_of(browser, app, "x")
    await make_operator(parts, operator, Role.ADMIN)
    found = 0
    for pages in (visible, await texts_of(operator, app, "x")):
        for path, page in pages.items():
            assert "onpaste" not in page
            for field in re.findall(r'<input[^>]*name="[a-z_]*password"[^>]*>', page):
                found += 1
                assert 'type="password"' in field, (path, field)
                assert re.search(r'autocomplete="(current|new)-password"', field), (path, field)
                assert "maxlength" not in field
    assert found >= 6


@pytest.mark.gen_test
async def test_no_page_has_what_the_content_security_policy_forbids(
    browser: Browser, operator: Browser, parts: Parts, app: Application
) -> None:
    """No style or script of its own, and nothing from another host."""
    visible = await texts_of(browser, app, "x")
    await make_operator(parts, operator, Role.ADMIN)
    handle = (await parts.sessions.find(user="root")).items[0].handle
    for pages in (visible, await texts_of(operator, app, handle)):
        assert len(pages) >= 3
        for path, page in pages.items():
            assert re.findall(r"<style|<script(?! src=)|<[^>]* (?:style|on\w+)=|javascript:", page) == [], path
            loaded = re.findall(r'<(?:script|link|img|use|iframe|source)\b[^>]*? (?:src|href)="([^"]*)"', page)
            assert [url for url in loaded if not url.startswith("/")] == [], path
