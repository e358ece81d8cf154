"""The access log: nobody fills the disk with requests."""

from __future__ import annotations

import pytest
from support.browser import Browser
from support.waiting import until

from tornado_sessions.server.web.access_log import LINES_OF_STRANGER, LINES_OF_STRANGERS, LINES_OF_USER, LineBudget


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
