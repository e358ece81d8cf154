"""One-time links that do nothing any more: their pages say what happened and lead on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.people import make_operator

from tornado_sessions.server.accounts.link_store import Purpose
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

pytestmark = knows_no_store

NEW = "an entirely different phrase"
WEEK = 7 * 86400


async def account(parts: Parts) -> User:
    user = await parts.accounts.get("ada")
    assert user is not None
    return user


async def password_link(parts: Parts) -> str:
    return f"/password/{await parts.links.for_password(await account(parts))}"


async def invitation(parts: Parts) -> str:
    return f"/invite/{await parts.links.for_invitation(Role.VIEWER, 'root')}"


async def registration(parts: Parts) -> str:
    user = await account(parts)
    return f"/confirm/{await parts.confirmations.for_registration('eve', 'eve@example.org', user.password_hash, 'en')}"


FIELDS = {"username": "eve", "email": "eve@example.org", "password": NEW}
LINKS = [
    (password_link, "To choose a new password, ask for a new link."),
    (invitation, "To join, ask the administrator who invited you for a new link."),
    (registration, "If you have no account yet, register again."),
]
TITLES = {
    "used": ("This link was already used", "这个链接已被使用", "It was used on 20"),
    "expired": ("This link has expired", "这个链接已过期", "It worked until 20"),
    "unknown": ("This link doesn&#x27;t work", "这个链接无效", "Part of it may be missing"),
}


@pytest.mark.parametrize("end", TITLES)
@pytest.mark.parametrize(("make", "advice"), LINKS)
@pytest.mark.gen_test(timeout=30)
async def test_a_link_that_ended_says_what_happened_and_what_to_do(
    browser: Browser, parts: Parts, clock: Clock, make: Callable[[Parts], Awaitable[str]], advice: str, end: str
) -> None:
    await make_operator(parts, browser, Role.ADMIN)
    await browser.register()
    guest, link = browser.copy(), await make(parts)
    await guest.post("/logout", {})
    if end == "used":
        assert (await guest.post(link, FIELDS)).code == 200
    elif end == "expired":
        clock.ahead += 86400
    else:
        link += "x"
    title, translated, sentence = TITLES[end]
    for _ in range(2):
        answer = await guest.get(link)
        page = answer.body.decode()
        assert answer.code == 404
        assert "Page not found" not in page
        assert all(text in page for text in (f"<h1>{title}</h1>", sentence, advice, 'href="/login"'))
    assert (await guest.post(link, FIELDS)).code == 404
    assert translated in (await guest.get(link, Accept_Language="zh")).body.decode()


@pytest.mark.gen_test
async def test_a_link_that_something_else_made_needless_says_so(browser: Browser, parts: Parts) -> None:
    await browser.register()
    first, second = await password_link(parts), await password_link(parts)
    assert (await browser.copy().post(first, FIELDS)).code == 200
    page = (await browser.copy().get(second)).body.decode()
    assert "<h1>This link no longer works</h1>" in page
    assert "The account has changed since the link was made." in page


@pytest.mark.gen_test
async def test_the_used_setup_link_has_a_title_of_its_own(browser: Browser, parts: Parts) -> None:
    link = f"/setup/{await parts.setup.make()}"
    assert (await browser.post(link, FIELDS)).code == 200
    page = (await browser.copy().get(link)).body.decode()
    assert "<h1>This setup link was already used</h1>" in page
    assert "Sign in as that admin" in page


@pytest.mark.gen_test
async def test_what_is_kept_of_old_links_holds_no_secret_and_goes_after_a_week(
    browser: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    hashed = (await account(parts)).password_hash.encode()
    used, unused = (
        await registration(parts),
        await parts.confirmations.for_registration("u", "u@example.org", hashed.decode(), "en"),
    )
    assert (await browser.copy().post(used, FIELDS)).code == 200
    kept = b"".join(document.body for document in await parts.documents.all("link"))
    assert kept.count(hashed) == 1, "that of the link which still works"
    clock.ahead += 86401
    await password_link(parts)
    left = b"".join(document.body for document in await parts.documents.all("link"))
    assert hashed not in left
    assert b"u@example.org" not in left
    assert unused.encode() not in left
    clock.ahead += 2 * WEEK
    await password_link(parts)
    (document,) = await parts.documents.all("link")
    assert Purpose.PASSWORD.value.encode() in document.body
