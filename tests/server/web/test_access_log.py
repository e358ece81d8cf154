"""The access log: nobody fills the disk with requests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.routes import routes_of
from support.waiting import until
from tornado.web import Application

from tornado_sessions.server.web.access_log import LINES_OF_STRANGER, LINES_OF_STRANGERS, LINES_OF_USER, LineBudget

pytestmark = knows_no_store


def test_a_client_has_so_many_lines_a_second_and_the_rest_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tornado_sessions.access")
    lines = LineBudget()
    logged = [lines.may_log("192.0.2.1", 5.0 + n / 10_000) for n in range(LINES_OF_STRANGER + 7)]
    assert logged == [True] * LINES_OF_STRANGER + [False] * 7
    assert lines.may_log("192.0.2.2", 5.5), "another client has lines of its own"
    assert caplog.messages == []
    assert lines.may_log("192.0.2.1", 6.0)
    assert caplog.messages == ["7 more requests (192.0.2.1) within a second"]


def test_many_strangers_share_their_lines_and_users_have_their_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tornado_sessions.access")
    lines = LineBudget()
    assert sum(lines.may_log(f"192.0.{n // 250}.{n % 250}", 5.0) for n in range(5_000)) == LINES_OF_STRANGERS
    assert sum(lines.may_log("user ada", 5.0, is_user=True) for _ in range(5_000)) == LINES_OF_USER
    assert caplog.messages == []
    assert lines.may_log("192.0.2.1", 6.0)
    assert len(caplog.messages) == 6
    assert sum(int(message.split()[0]) for message in caplog.messages) == 10_000 - LINES_OF_STRANGERS - LINES_OF_USER


@pytest.mark.gen_test
async def test_a_long_path_is_cut(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tornado_sessions.access")
    await browser.get("/" + "x" * 20_000)
    # The line is written after the response has left.
    await until(lambda: caplog.messages, "the line of the request")
    assert max(map(len, caplog.messages)) < 400


#: Parameters of a URL that are no secrets: who or what a page is about.
PUBLIC = (
    "([A-Za-z0-9]{1,64})",
    "([^/]{1,200})",
    "(jsonl|csv)",
    "(en_US|zh)",
    "(?:ister)?",
    "(favicon\\.ico)",
    "(robots\\.txt)",
    "(.*)",
)


@pytest.mark.gen_test(timeout=30)
async def test_no_token_of_a_one_time_link_is_in_any_log_or_other_url(
    browser: Browser, app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    """A new route with a token in its path fails until the log masks it."""
    caplog.set_level("DEBUG")
    token = "k-9_" + "Zq7" * 9
    patterns = [pattern for pattern in routes_of(app) if "_-]" in pattern]
    assert len(patterns) == 5, "set-up, invitation, new password, second step and email"
    for pattern in routes_of(app):
        rest = pattern.replace("([A-Za-z0-9_-]{1,64})", "")
        for public in PUBLIC:
            rest = rest.replace(public, "")
        assert "(" not in rest, f"{pattern}: is this a secret? Mask it in the log, or name it in PUBLIC"
    for pattern in patterns:
        path = pattern.replace("([A-Za-z0-9_-]{1,64})", token)
        twice = path.replace("/" + token, "%252F" + token)
        for method, asked in (
            ("GET", path),
            ("HEAD", path),
            ("POST", path),
            ("PUT", path),
            ("GET", path + "/"),
            ("GET", twice),
        ):
            for url in (asked, asked.upper().replace(token.upper(), token), f"/ops{asked}", f"{asked}?x={token}"):
                answer = await browser.send(method, url, "" if method in ("POST", "PUT") else None, User_Agent="")
                assert answer.headers["Referrer-Policy"] == "same-origin", (
                    "no other site learns the address of the page"
                )
                assert token not in answer.headers.get("Location", "")
    await until(lambda: sum("…" in message for message in caplog.messages) >= len(patterns), "lines of the requests")
    assert token not in caplog.text


def test_the_nginx_site_and_the_traces_leave_the_same_links_out(app: Application) -> None:
    words = [pattern.split("/")[1] for pattern in routes_of(app) if "_-]" in pattern]
    root = Path(__file__).parents[3]
    site = re.findall(r"uri ~ ./\((.*)\)/", (root / "examples/deploy/nginx.conf").read_text())
    assert sorted(site[0].split("|")) == sorted(words)
    for path in ("docs/howto/deploy.md", "tests/scenarios/test_tracing.py"):
        text = (root / path).read_text()
        assert all(f"{word}/," in text for word in words), path
    table = (root / "docs/reference/server.md").read_text()
    assert all(f"| `/{word}/…` |" in table for word in words)


@pytest.mark.gen_test
async def test_no_page_takes_a_token_from_the_query(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    await browser.get("/login?next=/home&token=s3cretZq7")
    await until(lambda: any("GET /login" in message for message in caplog.messages), "the line of the request")
    assert "s3cretZq7" not in caplog.text, "the query is not logged"
