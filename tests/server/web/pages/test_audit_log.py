"""The audit log on pages: filters, exports, verification."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from urllib.parse import urlencode

import pytest
from support.browser import Browser
from support.clock import Clock
from support.people import fill_store, make_operator

from tornado_sessions.query import Where
from tornado_sessions.record import Tombstone
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.ended import Group, action_of, grouped, parameters_of
from tornado_sessions.server.operations.job import Job, JobState, document_of
from tornado_sessions.server.operations.job_runner import KIND
from tornado_sessions.server.operations.selections import Handles, Matching
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role


@pytest.mark.gen_test
async def test_the_audit_log_is_exported_without_formulas(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for number in range(3):
        actor, reason = Actor("=cmd()", "::1"), '@SUM(1,"2")'
        await parts.audit.perform(actor, Action.END_SESSION, one, target=f"h{number}", reason=reason)
    lines = [json.loads(line) for line in (await operator.get("/admin/audit.jsonl?act=end+session")).body.splitlines()]
    assert [(line["target"], line["actor"]) for line in lines] == [(f"h{number}", "=cmd()") for number in (2, 1, 0)]
    rows = list(csv.DictReader(io.StringIO((await operator.get("/admin/audit.csv?act=end+session")).body.decode())))
    assert [(row["actor"], row["reason"]) for row in rows] == [("'=cmd()", '\'@SUM(1,"2")')] * 3


async def one() -> int:
    return 1


@pytest.mark.gen_test
async def test_the_log_is_paged_in_both_directions(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for number in range(120):
        await parts.audit.note(Actor("vera", "::1"), Action.EXPORT_AUDIT, target=f"n{number}")

    async def shown(path: str) -> tuple[list[str], str, str]:
        page = (await operator.get(path)).body.decode()
        links = {rel: html.unescape(link) for link, rel in re.findall(r'href="(\?[^"]*)" rel="(\w+)"', page)}
        return re.findall(r"<bdi>(n\d+)</bdi>", page), links.get("prev", ""), links.get("next", "")

    base = "/admin/audit"
    first, before, on = await shown(base + "?who=vera&act=export+audit+log")
    assert (first, before) == ([f"n{number}" for number in range(119, 69, -1)], "")
    second, back, on = await shown(base + on)
    assert second == [f"n{number}" for number in range(69, 19, -1)]
    last, back_again, end = await shown(base + on)
    assert (last, end) == ([f"n{number}" for number in range(19, -1, -1)], "")
    assert (await shown(base + back_again))[0] == second
    assert (await shown(base + back))[0] == first


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=30)
async def test_an_action_leads_to_the_sessions_that_it_has_ended_and_back(
    operator: Browser, parts: Parts, clock: Clock
) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 4, "192.0.2.7", user="mallory")
    await fill_store(parts, 3, "198.51.100.7")
    clock.ahead += 10
    await operator.post("/admin/end", {"user": "mallory", "confirm": "1", "expected": "4", "why": "x"})
    clock.ahead += 10
    where = json.dumps({"network": "198.51.100.0/24"})
    await operator.post("/admin/end", {"where": where, "confirm": "1", "expected": "3", "why": "scan"})
    page = (await operator.get("/admin/audit")).body.decode()
    links = [html.unescape(link) for link in re.findall(r'href="([^"]*ended_action[^"]*)"', page)]
    listed = [(await operator.get(link.replace("/admin/?", "/admin/api/sessions?"))).body for link in links]
    assert [{item["user"] for item in json.loads(body)["items"]} for body in listed] == [{None}, {"mallory"}]
    assert [json.loads(body)["total"] for body in listed] == [3, 4]
    ended = (await parts.sessions.find(state="ended")).items
    groups = await grouped(ended, parts.audit)
    assert [(part.entry.ended, len(part.rows)) for part in groups if isinstance(part, Group)] == [(3, 3), (4, 4)]
    assert len(groups) == 2
    page = (await operator.get("/admin/?state=ended")).body.decode()
    assert "root ended 4 sessions" in page
    assert "root ended 3 sessions" in page
    assert not any(f"/admin/sessions/{item.handle}" in page for item in ended)
    one = html.unescape(page.partition("root ended 4")[0].rpartition('href="')[2].partition('"')[0])
    opened = (await operator.get(one)).body.decode()
    assert all((f"/admin/sessions/{item.handle}" in opened) == (item.user == "mallory") for item in ended)


@pytest.mark.gen_test
async def test_actions_of_one_person_at_one_moment_are_told_apart(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    root = Actor("root", "::1", Role.OPERATOR)
    for user in ("mallory", "eve"):
        await fill_store(parts, 3, "192.0.2.7", user=user)
    # Filters without a user: neither the person nor the time tells which action ended a session.
    made = [await parts.actions.end(root, Matching(Where(user_prefix=prefix)), "why") for prefix in ("mallo", "ev")]
    ended = (await parts.sessions.find(state="ended")).items
    for user, outcome in zip(("mallory", "eve"), made, strict=True):
        assert outcome.entry is not None
        own = [item for item in ended if isinstance(item, Tombstone) and item.user == user]
        assert [entry.id for item in own if (entry := await action_of(item, parts.audit))] == [outcome.entry.id] * 3
        link = "/admin/api/sessions?" + urlencode(parameters_of(outcome.entry, parts.sessions.clock()))
        listed = json.loads((await operator.get(link)).body)["items"]
        assert {item["handle"] for item in listed} == {item.handle for item in own}
    groups = [part for part in await grouped(ended, parts.audit) if isinstance(part, Group)]
    assert [{row.user for row in group.rows} for group in groups] == [{"eve"}, {"mallory"}]


@pytest.mark.gen_test
async def test_what_did_not_end_together_stays_apart(operator: Browser, parts: Parts, clock: Clock) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 5, "192.0.2.7", user="mallory")
    handles = [item.handle for item in (await parts.sessions.find(user="mallory")).items]
    # One by one, as selected rows; and by their user on another device.
    for handle in handles[:3]:
        await parts.actions.end(Actor("root", "::1", Role.OPERATOR), Handles([handle]))
    for handle in handles[3:]:
        await parts.sessions.destroy(handle, by="mallory", cause="user")
    ended = (await parts.sessions.find(state="ended")).items
    assert await grouped(ended, parts.audit) == ended


@pytest.mark.gen_test(timeout=30)
async def test_an_action_whose_job_runs_or_waits_is_not_interrupted(operator: Browser, parts: Parts) -> None:
    """It leads to the job, here and in the history of the user; an action without a job was interrupted."""
    await make_operator(parts, operator)
    root = Actor("root", "192.0.2.17")
    paused, running, _ = [await parts.audit.note(root, Action.END_USER, user="ada", ref=f"ref{n}") for n in range(3)]
    for entry, state in ((paused, JobState.PAUSED), (running, JobState.RUNNING)):
        job = Job(
            id=f"job{entry.id}", where=Where(user="ada"), actor="root", reason="Leak", entry=entry, expected=9, ended=1,
            confirmed=9, started_at=entry.at, since=entry.at, lease_until=entry.at + 9e9, state=state,
        )  # fmt: skip
        await parts.documents.put(KIND, document_of(job, 1), tags=[state.value])
    for path in ("/admin/audit", "/admin/user?name=ada&tab=security"):
        page = (await operator.get(path)).body.decode()
        assert page.count("Interrupted") == 1, path
        for entry, text in ((paused, "Paused"), (running, "Running")):
            assert re.search(rf'<a href="/admin/jobs/job{entry.id}"><span class="badge[^"]*"><span>{text}<', page), path
