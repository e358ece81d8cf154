"""Bulk ends while sessions move, and jobs while their store fails."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from support.clock import Clock
from support.jobs import finished_jobs
from support.people import fill_store

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Where
from tornado_sessions.request import RequestInfo
from tornado_sessions.server.documents import Document
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.jobs import JobState
from tornado_sessions.server.operations.selections import Everybody, Matching
from tornado_sessions.server.parts import Parts
from tornado_sessions.testing.maker import change

ROOT = Actor("root", "::1")


@pytest.mark.gen_test(timeout=60)
async def test_what_is_used_during_a_bulk_end_ends_as_well(parts: Parts, clock: Clock) -> None:
    await fill_store(parts, 600, "192.0.2.7")
    until = clock()
    last = (await parts.sessions.find(ip="192.0.2.7", limit=500)).next_cursor
    deep = (await parts.sessions.find(ip="192.0.2.7", limit=500, cursor=last)).items[-1].handle
    ended = 0
    async for step in parts.sessions.destroying(Where(ip="192.0.2.7", created_until=until)):
        if not ended:
            await parts.sessions.store.save([change(deep, now=clock(), last_seen_at=clock() + 5)])
        ended += step
    assert ended == 600
    assert (await parts.sessions.count()).total == 0


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_visitor_who_logs_in_during_a_bulk_end_is_kept(parts: Parts, clock: Clock) -> None:
    request = parts.sessions.new_request_session(RequestInfo(clock(), "192.0.2.7"))
    request.session["cart"] = 1
    await parts.sessions.commit(request)
    until, clock.ahead = clock(), 5
    request.info = RequestInfo(clock(), "192.0.2.7")
    await parts.sessions.log_in(request, "ada")
    assert await parts.sessions.destroy_where(ip="192.0.2.7", created_until=until) == 0
    assert await parts.sessions.destroy_where(ip="192.0.2.7") == 1


@pytest.mark.gen_test(timeout=30)
async def test_a_job_forgets_no_count_when_it_cannot_be_told(
    parts: Parts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill_store(parts, 20, "192.0.2.7")
    put, failed = parts.documents.put, set[str]()

    async def puts(kind: str, document: Document, **links: Any) -> bool:
        is_outcome = kind == "audit" and b'"act":"outcome"' in document.body
        if (is_outcome or (kind == "job" and document.revision == 2)) and kind not in failed:
            failed.add(kind)
            raise StoreUnavailable("test", "out")
        return await put(kind, document, **links)

    monkeypatch.setattr(parts.documents, "put", puts)
    await parts.actions.end(ROOT, Matching(Where(ip="192.0.2.7", created_until=clock())), "leak")
    job = (await finished_jobs(parts))[0]
    assert failed == {"job", "audit"}
    assert (job.state, job.ended) == (JobState.DONE, 20)
    await parts.audit.note(ROOT, Action.LOG_OUT)
    assert (await parts.audit.entries())[1].ended == 20, "the outcome had to wait for the store"


@pytest.mark.gen_test(timeout=30)
async def test_a_job_that_makes_no_sense_fails_and_one_that_cannot_be_read_hides_no_other(
    parts: Parts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert await parts.documents.put("job", Document("old", 1, b'{"id": 1}'))
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    await parts.jobs.start(ROOT, entry, Where(device="Netscape", created_until=clock()), expected=1)
    job = (await finished_jobs(parts))[0]
    assert (job.state, "Netscape" in job.error) == (JobState.FAILED, True)
    assert "job old is damaged" in caplog.text


@pytest.mark.gen_test
async def test_waiting_for_a_job_of_another_process_is_no_busy_loop(
    parts: Parts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    job = await parts.jobs.start(ROOT, entry, Where(ip="::9", created_until=clock()), expected=1)
    await finished_jobs(parts)
    found = await parts.documents.get("job", job.id)
    assert found is not None
    running = msgspec.structs.replace(job, state=JobState.RUNNING, lease_until=clock() + 60)
    await parts.documents.put(
        "job", Document(job.id, found.revision + 1, msgspec.json.encode(running)), tags=["running"]
    )
    get, looks = parts.jobs.get, 0

    async def counted(job_id: str) -> Any:
        nonlocal looks
        looks += 1
        return await get(job_id)

    monkeypatch.setattr(parts.jobs, "get", counted)
    assert (await parts.jobs.wait(job, 0.5)).state is JobState.RUNNING
    assert looks <= 4


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_everybodys_end_is_told_with_their_number(parts: Parts, clock: Clock) -> None:
    await fill_store(parts, 3, "192.0.2.7")
    clock.ahead += 7200
    await fill_store(parts, 2, "192.0.2.8")
    await parts.actions.end(ROOT, Everybody(), "breach")
    await finished_jobs(parts)
    assert (await parts.audit.entries())[0].ended == 2, "those that had expired before were nobody's any more"
