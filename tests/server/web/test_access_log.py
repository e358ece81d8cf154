"""The access log: nobody fills the disk with requests."""

from __future__ import annotations

import pytest
from support.browser import Browser
from support.waiting import until

from tornado_sessions.server.web.access_log import LINES_PER_SECOND, LineBudget


def test_a_client_has_so_many_lines_a_second_and_the_rest_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tornado_sessions.access")
    lines = LineBudget()
    logged = [lines.may_log("192.0.2.1", 5.0 + n / 10_000) for n in range(LINES_PER_SECOND + 7)]
    assert logged == [True] * LINES_PER_SECOND + [False] * 7
    assert lines.may_log("192.0.2.2", 5.5), "another client has lines of its own"
    assert caplog.messages == []
    assert lines.may_log("192.0.2.1", 6.0)
    assert caplog.messages == ["7 more requests (192.0.2.1) within a second"]


@pytest.mark.gen_test
async def test_a_long_path_is_cut(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tornado_sessions.access")
    await browser.get("/" + "x" * 20_000)
    # The line is written after the response has left.
    await until(lambda: caplog.messages, "the line of the request")
    assert max(map(len, caplog.messages)) < 400
