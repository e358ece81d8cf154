"""The lines of the overview that say what is wrong: each has its remedy, and what is right is one calm line."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from support.clock import Clock
from support.crowds import put, record

from tornado_sessions.query import Where
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.entries import Entry
from tornado_sessions.server.operations.job import Job, JobState, document_of
from tornado_sessions.server.operations.overview import Board
from tornado_sessions.server.operations.self_check import Check, Grade
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role


def lines(board: Board) -> dict[str, Check]:
    return {str(check.sentence): check for check in board.checks}


async def staff(parts: Parts, name: str, role: Role = Role.OPERATOR) -> None:
    await parts.accounts.register(name, f"{name}@example.com", "correct horse battery", role=role)


def job(number: int, now: float, **more: object) -> Job:
    entry = Entry(at=now, actor="ada", act=Action.END_MATCHING)
    made = Job(
        id=f"job{number}", where=Where(user="x"), actor="ada", reason="", entry=entry, expected=5, started_at=now
    )
    return msgspec.structs.replace(made, **more)


@pytest.mark.gen_test(timeout=30)
async def test_whatever_is_wrong_comes_first_and_has_a_remedy(parts: Parts, clock: Clock) -> None:
    """Everything at once: no encryption, cookies without TLS, operators without codes, jobs that stopped, failed or wait."""
    parts.sessions.config = replace(parts.sessions.config, secure=False)
    for name in ("oscar", "root"):
        await staff(parts, name)
    now = clock()
    for made in (
        job(1, now, lease_until=now - 60),
        job(2, now, state=JobState.FAILED, finished_at=now, error="bad filter"),
        job(3, now, state=JobState.PAUSED),
    ):
        await parts.documents.put("job", document_of(made, 1), tags=[made.state.value])
    found = (await parts.overview.look()).checks
    assert [check.grade for check in found] == sorted((check.grade for check in found), key=list(reversed(Grade)).index)
    wrong = [check for check in found if check.grade is not Grade.GOOD]
    assert {str(check.sentence) for check in wrong} >= {
        "Session data isn't encrypted",
        "Cookies are also sent without TLS",
        "2 operators without two-step verification",
        "A job has stopped",
        "A job has failed",
        "A job waits for your confirmation",
    }
    for check in wrong:
        assert check.remedy is not None, check
        assert check.remedy.page or check.remedy.own_page or check.remedy.command, check
    assert "oscar, root" in str(lines(await parts.overview.look())["2 operators without two-step verification"])
    for check in found:
        if check.grade is Grade.GOOD:
            assert check.remedy is None
            assert len(str(check)) < 100, "a good line is calm"


@pytest.mark.gen_test(timeout=30)
async def test_failures_above_the_usual_level_are_told_with_their_beginning(parts: Parts, clock: Clock) -> None:
    clock.now = (clock.now // 900 + 1) * 900 + 30
    for _ in range(12):
        parts.activity.count("failures", 15)
        clock.ahead += 900
    begun = clock.now
    parts.activity.count("failures", 190)
    clock.ahead += 240
    board = await parts.overview.look()
    first = board.checks[0]
    assert first.grade is Grade.BAD
    assert "failed sign-ins a minute" in str(first.sentence)
    assert first.detail is not None
    assert str(first.detail.values[2]) == f"{datetime.fromtimestamp(begun, UTC):%H:%M} UTC"
    assert first.remedy is not None
    assert first.remedy.page.startswith("/audit?act=")


@pytest.mark.gen_test(timeout=30)
async def test_a_private_network_hints_at_a_proxy(parts: Parts, clock: Clock) -> None:
    await put(parts.sessions, [record(number, clock(), "ada", "10.0.0.7") for number in range(5)])
    board = await parts.overview.look()
    assert lines(board)["No trusted proxies"].grade is Grade.NOTE
    await put(parts.sessions, [record(number, clock(), "ada", f"8.8.{number}.8") for number in range(5, 30)])
    clock.ahead += 15
    board = await parts.overview.look()
    assert lines(board)["Proxies"].grade is Grade.GOOD


@pytest.mark.gen_test(timeout=30)
async def test_no_cleanup_is_told(parts: Parts, clock: Clock) -> None:
    await parts.start()
    await asyncio.sleep(0)
    parts.activity.cleaned_up()
    assert "Cleanup" in lines(await parts.overview.look())
    clock.ahead += 3600
    await parts.activity.flush()
    assert lines(await parts.overview.look(is_new=True)).keys() & {"Cleanup", "No cleanup in the last minutes"} != {
        "Cleanup"
    }


@pytest.mark.gen_test(timeout=30)
async def test_all_viewers_share_the_queries_of_one_board(parts: Parts, clock: Clock) -> None:
    asked: list[object] = []
    parts.sessions.measure(asked.append)
    first, second = await asyncio.gather(parts.overview.look(), parts.overview.look())
    assert first is second
    calls = len(asked)
    assert calls <= 3, "one for the outage, one page of the census"
    assert await parts.overview.look() is first
    assert len(asked) == calls


@pytest.mark.gen_test(timeout=30)
async def test_a_new_page_shows_what_was_just_done_and_marks_a_bulk_end(parts: Parts, clock: Clock) -> None:
    await parts.overview.look()
    actor = Actor("ada")

    async def end() -> int:
        return 412

    entry = await parts.audit.perform(actor, Action.END_MATCHING, end, target="idle", reason="Maintenance")
    assert entry == 412
    clock.ahead += 1
    board = await parts.overview.look(is_new=True)
    assert [(found.act, found.ended) for found in board.entries] == [(Action.END_MATCHING, 412)]
    assert [(bulk.actor, bulk.ended) for bulk in board.bulk_ends] == [("ada", 412)]
