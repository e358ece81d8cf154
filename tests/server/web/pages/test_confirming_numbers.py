"""The pages by which an operator ends more sessions than can be counted at once."""

from __future__ import annotations

import re

import pytest
from support.browser import Browser
from support.jobs import stopped_job
from support.people import fill_store, make_operator

from tornado_sessions.server.operations.jobs import JobState
from tornado_sessions.server.parts import Parts
from tornado_sessions.stores import paging
from tornado_sessions.stores.mongo import lists as mongo_lists

pytestmark = pytest.mark.gen_test(timeout=60)

MANY = 107


@pytest.fixture(autouse=True)
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_EXAMINED_BY_COUNT", 10)


def hidden_of(page: str, action: str) -> dict[str, str]:
    form = re.search(rf'<form[^>]*action="{action}"[^>]*>(.*?)</form>', page, re.DOTALL)
    assert form, action
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[1])
    return {name: value.replace("&quot;", '"').replace("&amp;", "&") for name, value in fields if name != "_xsrf"}


@pytest.mark.long_on("mongo")
@pytest.mark.every_backend
async def test_a_bounded_count_is_counted_by_a_job_and_its_exact_number_is_confirmed_and_ended(
    operator: Browser, parts: Parts
) -> None:
    # The operator uses Firefox, too: that session is kept, and neither listed nor counted.
    await make_operator(parts, operator)
    await fill_store(parts, MANY, "192.0.2.7", agent="Firefox/140.0")
    page = (
        await operator.post("/admin/end", {"where": '{"device": "Firefox"}', "from": "?device=Firefox"})
    ).body.decode()
    assert "End all matching sessions?" in page
    assert "Your current session matches, but stays active." in page
    assert 'name="expected"' not in page, "a lower bound is no number to confirm"
    assert 'name="number"' not in page
    fields = hidden_of(page, "/admin/end")
    done = await operator.post("/admin/end", {**fields, "why": "Suspicious activity"})
    assert re.fullmatch(r"/admin/jobs/\w+", done.headers["Location"])
    job = await stopped_job(parts, done.headers["Location"].rpartition("/")[2])
    assert (job.state, job.total, job.ended) == (JobState.PAUSED, MANY, 0)
    page = (await operator.get(done.headers["Location"])).body.decode()
    assert f"{MANY} sessions match." in page
    assert "This can't be undone." in page.replace("&#x27;", "'").replace("&#39;", "'")
    action = f"/admin/jobs/{job.id}/resume"
    fields = hidden_of(page, action)
    refused = await operator.post(action, {**fields, "number": "99"})
    assert (refused.code, f"99 is not the number of sessions. Enter {MANY}." in refused.body.decode()) == (400, True)
    forged = await operator.post(action, {"expected": "101", "number": "101"})
    assert forged.code == 409
    assert (await parts.sessions.count()).total == MANY + 1
    assert (await operator.post(action, {**fields, "number": str(MANY)})).code == 303
    job = await stopped_job(parts, job.id)
    assert (job.state, job.ended) == (JobState.DONE, MANY)
    assert [item.user for item in (await parts.sessions.find()).items] == ["root"]


async def test_a_stopped_job_is_resumed_by_counting_what_is_left(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, MANY, "192.0.2.7", agent="Firefox/140.0")
    fields = {"where": '{"device": "Firefox"}', "confirm": "1", "reason": "leak", "count_first": "1"}
    first = (await operator.post("/admin/end", fields)).headers["Location"]
    await stopped_job(parts, first.rpartition("/")[2])
    assert (await operator.post(f"{first}/cancel", {})).code == 303
    page = (await operator.get(first)).body.decode()
    assert ">Resume<" in page
    again = (await operator.post(f"{first}/resume", {})).headers["Location"]
    assert again != first
    job = await stopped_job(parts, again.rpartition("/")[2])
    assert (job.state, job.total) == (JobState.PAUSED, MANY)
    assert (await operator.post(f"{first}/resume", {})).headers["Location"] == again
    page = (await operator.get(first)).body.decode()
    assert ">Resume<" not in page
    assert f'href="{again}"' in page
    listed = (await operator.get("/admin/jobs")).body.decode()
    assert (listed.count("Paused"), listed.count("Canceled")) == (1, 1)


@pytest.mark.parametrize(
    "began", ["/admin/?ip=192.0.2.7", "/admin/user?name=ada", "/admin/overview", "/admin/sessions/{handle}"]
)
async def test_after_an_end_one_stands_where_one_began_with_links_to_job_and_audit_log(
    operator: Browser, parts: Parts, began: str
) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 2, "192.0.2.7", user="ada")
    began = began.format(handle=(await parts.sessions.find(user="ada")).items[0].handle)
    page = await operator.send(
        "POST",
        "/admin/end",
        f"where=%7B%22ip%22%3A%22192.0.2.7%22%7D&_xsrf={await operator.token()}",
        Content_Type="application/x-www-form-urlencoded",
        Referer=operator.base + began,
    )
    fields = hidden_of(page.body.decode(), "/admin/end")
    done = await operator.post("/admin/end", {**fields, "reason": "x"})
    assert (done.code, done.headers["Location"]) == (303, began)
    page_after = (await operator.get(done.headers["Location"])).body.decode()
    assert "2 sessions ended." in page_after
    job = (await parts.jobs.all())[0]
    assert f'href="/admin/jobs/{job.id}"' in page_after
    assert f'href="/admin/audit?before={job.entry.id + 1}"' in page_after


async def test_the_reason_and_a_block_are_off_until_the_operator_chooses_them(
    browser: Browser, operator: Browser, parts: Parts
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    page = (await operator.post("/admin/end", {"user": "ada"})).body.decode()
    boxes = re.findall(r"<input[^>]*type=\"checkbox\"[^>]*>", page)
    assert len(boxes) == 2
    assert not any("checked" in box for box in boxes)
    assert "“An administrator ended your session." in page
    # Exactly what a browser sends that changed nothing but the reason.
    fields = {**hidden_of(page, "/admin/end"), "why": "Suspicious activity", "reason": "", "block_for": "3600"}
    assert (await operator.post("/admin/end", fields)).code == 303
    told = (await browser.get("/login")).body.decode()
    assert "An administrator ended your session." in told
    assert "Suspicious" not in told
    assert (await browser.log_in()).code == 303, "no block"


@pytest.mark.every_backend
@pytest.mark.parametrize("but_mine", [True, False])
async def test_everyone_is_confirmed_by_a_word_where_their_number_is_unknown(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch, *, but_mine: bool
) -> None:
    if parts.sessions.store.backend == "mongodb":
        monkeypatch.setattr(mongo_lists, "MAX_COUNTED", 4)
    await make_operator(parts, operator)
    await fill_store(parts, 9, "192.0.2.7")
    is_exact = (await parts.sessions.count()).exact
    asked = {"everybody": "1", **({"but_mine": "1"} if but_mine else {})}
    page = (await operator.post("/admin/end", asked)).body.decode()
    assert ("sessions that start until you confirm end as well" in page, 'name="expected"' in page) == (True, is_exact)
    assert ('name="number"' in page) is not is_exact
    fields = {**hidden_of(page, "/admin/end"), "reason": "breach"}
    if not is_exact:
        for wrong in ("", "9", "10"):
            refused = await operator.post("/admin/end", {**fields, "number": wrong})
            assert (refused.code, "Type everyone to confirm." in refused.body.decode()) == (400, True)
        assert (await parts.sessions.count(ip="192.0.2.7")).total > 0
    done = await operator.post("/admin/end", {**fields, "number": "everyone"})
    assert done.code == 303
    assert (await parts.sessions.count()).total == (1 if but_mine else 0)
    if but_mine:
        told = (await operator.get("/admin/")).body.decode()
        assert ("Everyone else has been signed out." in told) is not is_exact, "no number is claimed"
        assert ("Everyone else has been signed out (9 sessions)." in told) is is_exact
