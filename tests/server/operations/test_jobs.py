"""Jobs that end sessions: taken up after a crash, cancelled, shared by two operators, counted."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from support.browser import Browser
from support.clock import Clock
from support.jobs import finished_jobs
from support.people import fill_store, make_operator

from tornado_sessions.query import Where
from tornado_sessions.server.documents import Document
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.jobs import LEASE, JobState
from tornado_sessions.server.operations.selections import Matching
from tornado_sessions.server.parts import Parts

ROOT = Actor("root", "::1")


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=60)
async def test_a_job_that_was_left_behind_is_taken_up_and_log_ins_meanwhile_are_kept(
    parts: Parts, clock: Clock
) -> None:
    """As after a crash: the job is half done, its lease is over, nobody runs it."""
    await fill_store(parts, 30, "192.0.2.7")
    entry = await parts.audit.note(ROOT, Action.END_MATCHING, target="ip=192.0.2.7")
    where = Where(ip="192.0.2.7", created_until=clock())
    job = await parts.jobs.start(ROOT, entry, where, expected=30)
    await parts.jobs.close()
    left = msgspec.structs.replace(job, ended=0, lease_until=clock() - 1, state=JobState.RUNNING)
    found = await parts.documents.get("job", job.id)
    assert found is not None
    assert await parts.documents.put(
        "job", Document(job.id, found.revision + 1, msgspec.json.encode(left)), tags=["running"]
    )
    clock.ahead += 5
    await fill_store(parts, 2, "192.0.2.7")
    await parts.jobs.open()
    jobs = await finished_jobs(parts)
    assert jobs[0].state is JobState.DONE
    assert (await parts.sessions.count(ip="192.0.2.7")).total == 2
    assert (await parts.audit.verify()).faults == []


@pytest.mark.gen_test(timeout=60)
async def test_a_job_that_another_process_runs_is_left_alone(parts: Parts, clock: Clock) -> None:
    await fill_store(parts, 3, "192.0.2.7")
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    job = await parts.jobs.start(ROOT, entry, Where(ip="::9"), expected=1)
    await finished_jobs(parts)
    alive = msgspec.structs.replace(
        job, where=Where(ip="192.0.2.7"), lease_until=clock() + LEASE, state=JobState.RUNNING
    )
    found = await parts.documents.get("job", job.id)
    assert found is not None
    assert await parts.documents.put(
        "job", Document(job.id, found.revision + 1, msgspec.json.encode(alive)), tags=["running"]
    )
    await parts.jobs.open()
    # What open() took up would be done before a job that is started after it.
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    later = await parts.jobs.start(ROOT, entry, Where(ip="::8"), expected=0)
    assert (await parts.jobs.wait(later, 10)).state is JobState.DONE
    assert (await parts.sessions.count(ip="192.0.2.7")).total == 3


@pytest.mark.gen_test(timeout=60)
async def test_a_job_is_cancelled_on_its_page_and_what_ended_stays_ended(
    operator: Browser, parts: Parts, clock: Clock
) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 3, "192.0.2.7")
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    job = await parts.jobs.start(ROOT, entry, Where(ip="::9"), expected=1)
    await finished_jobs(parts)
    running = msgspec.structs.replace(job, lease_until=clock() + 99, ended=7, expected=9)
    found = await parts.documents.get("job", job.id)
    assert found is not None
    assert await parts.documents.put(
        "job", Document(job.id, found.revision + 1, msgspec.json.encode(running)), tags=["running"]
    )
    page = await operator.get(f"/admin/jobs/{job.id}")
    assert b"7 of 9 sessions ended" in page.body
    assert f'hx-get="/admin/jobs/{job.id}/live"' in page.body.decode()
    assert (await operator.post(f"/admin/jobs/{job.id}/cancel", {})).code == 303
    page = await operator.get(f"/admin/jobs/{job.id}")
    assert b"Canceled" in page.body
    assert "hx-get" not in page.body.decode()
    assert (await parts.audit.entries())[0].act == "cancel job"
    assert b"7 of 9 sessions ended" in (await operator.get("/admin/jobs")).body


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=60)
async def test_two_operators_end_the_same_sessions_at_once(parts: Parts) -> None:
    await fill_store(parts, 40, "192.0.2.7")
    where = Where(ip="192.0.2.7")
    outcomes = await asyncio.gather(
        *(parts.actions.end(Actor(name), Matching(where), "leak") for name in ("ann", "bob"))
    )
    jobs = await finished_jobs(parts)
    assert all(job.state is JobState.DONE for job in jobs)
    assert sum(job.ended for job in jobs) == 40
    assert all(outcome.job is not None for outcome in outcomes)
    assert (await parts.sessions.count()).total == 0
