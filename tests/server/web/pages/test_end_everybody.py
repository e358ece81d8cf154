"""Ending everybody's sessions but one's own."""

from __future__ import annotations

import re

import pytest
from support.browser import Browser
from support.jobs import finished_jobs
from support.people import fill_store, make_operator

from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.web.sign_in import STAFF_IDLE


@pytest.mark.gen_test(timeout=60)
async def test_right_after_all_but_mine_the_list_is_the_operator_alone(operator: Browser, parts: Parts) -> None:
    """In any order and with any filter, though nothing of the others is removed yet."""
    await fill_store(parts, 300, "192.0.2.7")
    await make_operator(parts, operator)
    asked = (await operator.post("/admin/end", {"everybody": "1", "but_mine": "1"})).body.decode()
    assert "This ends 300 sessions." in asked
    fields = {"everybody": "1", "but_mine": "1", "confirm": "1", "reason": "x", "expected": "300", "number": "300"}
    assert (await operator.post("/admin/end", fields)).code == 303
    for query in ("", "?sort=user", "?sort=expires", "?sort=signed_in", "?user=root", "?kind=users", "?user=r*"):
        page = (await operator.get("/admin/" + query)).body.decode()
        assert page.count('<th scope="row"') == 1, query
        assert "This session" in page, query
        assert re.search(r"<h1>\s*1 (?:active|matching) session\s*</h1>", page), query


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=60)
async def test_everybody_but_the_operator_is_out_at_once(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    before = (await parts.sessions.find(user="root")).items[0].handle
    fields = {"everybody": "1", "but_mine": "1", "confirm": "1", "reason": "breach", "expected": "2"}
    done = await operator.post("/admin/end", fields)
    assert done.headers["Location"] == "/admin/"
    assert (await browser.get("/account")).code == 302
    page = (await operator.get(done.headers["Location"])).body.decode()
    assert "Everyone else has been signed out (1 session)." in page
    job, entry = (await parts.jobs.all())[0], (await parts.audit.entries(AuditQuery(act=Action.END_EVERYBODY)))[0]
    assert f'href="/admin/jobs/{job.id}"' in page
    assert f'href="/admin/audit?before={entry.id + 1}"' in page
    after = (await parts.sessions.find()).items
    assert [item.user for item in after] == ["root"]
    assert after[0].handle != before
    assert after[0].expires_at - parts.sessions.clock() <= STAFF_IDLE, "the limits of who works here stay"
    await finished_jobs(parts)
    assert (await operator.get("/admin/")).code == 200
