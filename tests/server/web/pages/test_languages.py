"""Pages speak one language at a time: what readers of Chinese see has no English words."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from support.browser import Browser
from support.people import fill_store, make_operator

from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

#: Names of people, products, formats and standards, and what tests type: the same in every language.
NAMES = {
    "tornado_sessions", "tornado-sessions", "English",
    "IP", "ID", "UTC", "CIDR", "API", "CSV", "JSON", "Lines", "db", "example", "org", "com",
    "Express",
    "Firefox", "Linux", "Android", "Chrome", "Edge", "Opera", "Safari", "Windows", "iOS", "macOS", "Mozilla", "Gecko", "rv",
    "root", "ada", "RO", "AD", "name", "nobody", "memory", "Lax", "X-Forwarded-For", "env", "HTTPS", "Host-sid", "sid",
    "GET", "POST", "SameSite", "KiB", "Cookie", "encryption_key",
    "trusted_proxies", "audit", "verify",
}  # fmt: skip
VISITOR = ("/home", "/reg", "/login", "/nowhere")
USER = (
    "/account", "/account/security", "/account/profile", "/account/password", "/account/email", "/account/remove",
    "/account/two-steps", "/admin/",
)  # fmt: skip
OPERATOR = (
    "/admin/", "/admin/?state=ended", "/admin/?user=nobody", "/admin/?ip=x", "/admin/overview", "/admin/overview?span=7d",
    "/admin/audit", "/admin/audit?verify=1", "/admin/jobs", "/admin/operators", "/admin/settings", "/admin/user?name=ada",
    "/admin/operators/role?user=ada", "/admin/operators/invite", "/admin/operators/invite?revoke=x", "/admin/operators/tokens",
    "/admin/operators/tokens?revoke=x", "/admin/reset?user=ada",
    "/admin/users", "/admin/users?q=nobody", "/admin/user?name=ada&tab=security", "/admin/user?name=ada&tab=profile",
    "/admin/block?user=ada", "/admin/block?user=ada&seconds=0",
    "/admin/sessions/none",
)  # fmt: skip

pytestmark = pytest.mark.parametrize("url", ["memory://"])


def text_of(page: str) -> str:
    """What a reader of a page sees or hears, without code. Each element is a piece of its own unless it is within a sentence."""
    body = re.sub(r"<head>.*?</head>|<code[^>]*>.*?</code>", " ", page, flags=re.DOTALL)
    read = re.findall(r'(?:title|aria-label|placeholder|data-one|data-many)="([^"]*)"', body)
    tips = [
        text
        for tips in re.findall(r'data-tips="([^"]*)"', body)
        for *_, told, more in json.loads(unescape(tips))
        for text in (told, more)
    ]
    inline = re.sub(
        r"</?(?:a|b|bdi|span|small|time|strong)\b[^>]*>", "", re.sub(r"<svg.*?</svg>", "", body, flags=re.DOTALL)
    )
    return unescape("\n".join([re.sub(r"<[^>]*>", "\n", inline), *read, *tips]))


def english(page: str) -> set[str]:
    """The English words that a reader of a page sees or hears, apart from names and code."""
    found = re.findall(r"[A-Za-z][A-Za-z_-]+", re.sub(r"\S*[@*]\S*|/\S+", " ", text_of(page)))
    return set(found) - NAMES


def western(page: str) -> list[str]:
    """Punctuation of English beside Chinese characters, with what is around it. Between Latin letters and digits it is right."""
    text = re.sub(r"[^\S\n]*\n\s*", "\n", text_of(page))
    chinese = r"[\u3400-\u9fff\uff00-\uffef「」“”]"
    found = re.finditer(rf"{chinese} ?[,:;!?(]|[,:;!?)] ?{chinese}|{chinese}\.(?!\w)", text)
    return [text[max(0, one.start() - 15) : one.end() + 15] for one in found]


async def missed(browser: Browser, paths: tuple[str, ...]) -> dict[str, list[str]]:
    pages = {path: (await browser.get(path, Accept_Language="zh-CN,zh;q=0.9")).body.decode() for path in paths}
    return {path: found for path, page in pages.items() if (found := [*english(page), *western(page)])}


@pytest.mark.gen_test
async def test_what_visitors_and_users_see_is_chinese(browser: Browser) -> None:
    assert await missed(browser, VISITOR) == {}
    await browser.register()
    await browser.log_in()
    assert await missed(browser, USER) == {}


@pytest.mark.gen_test
async def test_what_operators_see_is_chinese(parts: Parts, operator: Browser, browser: Browser) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator, Role.ADMIN)
    await fill_store(parts, 3, "192.0.2.7")
    await operator.post("/admin/operators/tokens", {"name": "ada", "scope": "sessions:read", "days": "90"})
    await operator.post("/admin/block", {"user": "ada", "seconds": "3600", "reason": "Maintenance"})
    await operator.post("/admin/operators/role", {"user": "ada", "role": "viewer"})
    where = {"where": '{"ip":"192.0.2.7"}', "confirm": "1", "expected": "3", "why": "Suspicious activity"}
    await operator.post("/admin/end", where)
    for act, text, reason in STORED:
        await parts.audit.note(Actor("root", "192.0.2.7"), act, user="ada", target=text, reason=reason)
    own = (await parts.sessions.find(user="root")).items[0].handle
    asked = await operator.send("POST", "/admin/end", f"handle={own}&_xsrf={await operator.token()}", **CHINESE)
    assert (english(asked.body.decode()), western(asked.body.decode())) == (set(), [])
    assert await missed(operator, (*OPERATOR, f"/admin/sessions/{own}")) == {}


#: What the audit log stores in English.
STORED = [
    (Action.REFUSED, "POST /admin/end", "403 Forbidden, as viewer"),
    (Action.REFUSED, "GET /admin/", "401 Unauthorized, as user"),
    (Action.REFUSED, "7 more requests", ""),
    (Action.BLOCK, "no end", "Lost or stolen device: 4711"),
    (Action.BLOCK, "3600 s", "Maintenance"),
    (Action.END_MATCHING, "user_prefix=ada signed_in=True idle_since=1700000000", "Suspicious activity"),
    (Action.END_EVERYBODY, "but_mine", "Compromised account"),
    (Action.CHANGE_ROLE, "admin", ""),
    (Action.LOG_IN, "Firefox on Linux", ""),
    *((act, "", "") for act in Action),
]
CHINESE = {"Accept_Language": "zh", "Content_Type": "application/x-www-form-urlencoded"}
