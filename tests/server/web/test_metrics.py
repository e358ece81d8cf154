"""Health and metrics."""

from __future__ import annotations

import pytest
from support.browser import Browser


@pytest.mark.gen_test
async def test_health_and_metrics_answer(browser: Browser) -> None:
    assert (await browser.get("/healthz")).code == 200
    assert (await browser.get("/readyz")).code == 200
    assert b"tornado_sessions_live" in (await browser.get("/metrics")).body
