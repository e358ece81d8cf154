"""No redirect leads to another site, whatever a client writes into ``next``, ``Referer`` or the address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.browser import Browser
from support.people import make_operator

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.web.local_paths import local_path, normalised


@pytest.fixture
def url() -> str:
    """What is tested here knows no store."""
    return "memory://"


OURS = {"https://example.org"}
#: What a browser or a proxy could read as another site, or what is no path at all.
ELSEWHERE = [
    "//evil.example", "///evil.example", "////evil.example/x", "/\\evil.example", "\\\\evil.example", "\\/evil.example",
    "https://evil.example", "https:evil.example", "https:/evil.example", "https:///evil.example", "HTTPS://EVIL.example/a",
    "https://example.org@evil.example/", "https://ada:pw@example.org/account", "https://example.org.evil.example/",
    "https://example.org:444/", "http://example.org/account", "//example.org/account", "javascript:alert(1)", "data:text/html,x",
    "/\t/evil.example", "/\n/evil.example", "\t//evil.example", " //evil.example", "/\r\nSet-Cookie: a=b", "/\0", "/\x7f",
    "/.//evil.example", "/./\\evil.example", "/a/..//evil.example", "/%2e//evil.example", "/%2e%2e//evil.example", "/a//b",
    "/%2fevil.example", "/%2F%2Fevil.example", "/%5cevil.example", "/%5C%5Cevil.example", "/%09/evil.example", "/%00", "/%0d%0a",
    "evil.example", "", ".", "..", "?a=b", "#a", "/账户", "/\u2028/evil.example", "http://[::1", "https://example.org\\@evil.example",
    "/" + "a" * 3000,
]  # fmt: skip
#: Paths whose GET does something, in every spelling.
ACTING = [
    "/logout", "/logout?a=b", "/logout#a", "/logout/", "/./logout", "/../logout", "/a/../logout", "/%2e/logout", "/%2E%2e/logout",
    "/%6cogout", "/%6C%6fgout", "/language/zh", "/./language/zh", "https://example.org/logout", "https://EXAMPLE.org:443/./logout",
]  # fmt: skip


@pytest.mark.parametrize("url", ELSEWHERE + ACTING)
def test_a_url_that_leads_elsewhere_is_refused(url: str) -> None:
    assert local_path(url, OURS) is None


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/account", "/account"),
        ("/", "/"),
        ("/admin/?user=a%2Fb&next=//x", "/admin/?user=a%2Fb&next=//x"),
        ("/a/./b/../c", "/a/c"),
        ("/a/b/..", "/a/"),
        ("/../../..", "/"),
        ("/%61ccount", "/account"),
        ("/%252e%252e/a", "/%252e%252e/a"),
        ("/account#top", "/account"),
        ("https://example.org", "/"),
        ("https://EXAMPLE.org:443/account?a=b", "/account?a=b"),
    ],
)
def test_a_url_of_this_server_becomes_a_path_in_its_normal_form(url: str, path: str) -> None:
    assert local_path(url, OURS) == path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/ops/account", "/account"),
        ("/ops", "/"),
        ("/ops/", "/"),
        ("https://example.org/ops/a", "/a"),
        ("/a/../ops/b", "/b"),
        ("/account", None),
        ("/opsx/account", None),
        ("/ops/../account", None),
        ("/ops/./logout", None),
        ("/ops/ops/logout", None),  # which a proxy that removes the prefix would shorten
        ("/ops/%6fps/language/zh", None),
        ("/ops/%2e%2e/account", None),
        ("/ops//evil.example", None),
        ("https://example.org/account", None),
    ],
)
def test_below_a_prefix_only_its_own_paths_are_local(url: str, path: str | None) -> None:
    assert local_path(url, OURS, "/ops") == path


@given(st.text(alphabet="/\\.%2eEfF5c?#@:ah\t\n \0é", max_size=24))
def test_what_is_accepted_is_a_path_and_stays_the_same(url: str) -> None:
    found = normalised(url)
    if found is not None:
        path = found.partition("?")[0]
        assert path.startswith("/")
        assert not path.startswith("//")
        assert not set(found) & set("\\\t\n\0 ")
        assert not {".", ".."} & set(path.split("/"))
        assert normalised(found) == found


@pytest.mark.gen_test
async def test_a_sign_in_goes_on_to_our_own_pages_only(browser: Browser) -> None:
    await browser.register()
    for following in [*ELSEWHERE, *ACTING, "/login?a", "/login/code"]:
        if "\0" in following:
            continue
        browser.cookies.pop("sid", None)
        assert (await browser.log_in(next=following)).headers["Location"] == "/account", following
    assert (await browser.log_in(next="/home?a=b")).headers["Location"] == "/home?a=b"
    assert (await browser.get("/login?next=//evil.example")).headers["Location"] == "/account"
    assert (await browser.get("/login?next=/./logout")).headers["Location"] == "/account"


@pytest.mark.gen_test
async def test_the_choice_of_a_language_leads_back_to_our_own_pages_only(browser: Browser) -> None:
    base = browser.base
    for came_from, path in (
        (f"{base}/login?next=%2Fadmin%2F", "/login?next=%2Fadmin%2F"),
        (f"{base}//evil.example", "/home"),
        (f"{base}/\\evil.example", "/home"),
        (f"{base}/.//evil.example", "/home"),
        (f"{base}/./logout", "/home"),
        (f"{base}/language/zh", "/home"),
        ("//evil.example", "/home"),
        ("https://evil.example/account", "/home"),
        (base.replace("http://", "http://x@") + "/account", "/home"),
        ("", "/home"),
    ):
        assert (await browser.get("/language/zh", Referer=came_from)).headers["Location"] == path, came_from


@pytest.mark.gen_test
async def test_what_an_operator_came_from_is_a_filter_only(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for came_from in ("//evil.example", "?user=//evil.example", "\\evil", "?next=//evil.example"):
        answer = await operator.post("/admin/end", {"from": came_from})
        assert answer.headers["Location"].partition("?")[0] == "/admin/"
    assert (await operator.post("/admin/audit.csv?//evil.example", {})).code in (200, 303)


@pytest.mark.parametrize("target", ["//evil.example/account", "/\\evil.example", "http://evil.example/account"])
@pytest.mark.gen_test
async def test_the_address_of_a_page_for_users_only_leads_nowhere_else(browser: Browser, target: str) -> None:
    answer = await browser.get("/account?" + target)
    assert answer.headers["Location"].startswith("/login?next=%2Faccount")
