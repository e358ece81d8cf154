"""Health checks."""

from __future__ import annotations

import pytest
from support.browser import Browser


@pytest.mark.gen_test
async def test_health_checks_answer(browser: Browser) -> None:
    assert (await browser.get("/healthz")).code == 200
    assert (await browser.get("/readyz")).code == 200
