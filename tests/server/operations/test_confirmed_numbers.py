"""The number that an operator confirms is the number that ends, also where a count stops at its bound."""

from __future__ import annotations

import asyncio

import pytest
from support.clock import Clock
from support.jobs import stopped_job
from support.people import fill_store

from tornado_sessions.query import Where
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.errors import HasGrown, InvalidInput
from tornado_sessions.server.operations.jobs import JobState
from tornado_sessions.server.operations.selections import Matching, OfUser, preview
from tornado_sessions.server.parts import Parts
from tornado_sessions.stores import paging
from tornado_sessions.testing.faults import WrappedStore
from tornado_sessions.testing.maker import change

pytestmark = [pytest.mark.every_backend, pytest.mark.gen_test(timeout=60)]

ROOT = Actor("root", "::1")
#: No index fits this filter, so a count of it stops at the bound.
FIREFOX = Where(device="Firefox")
BOUND, MANY = 10, 47


@pytest.fixture(autouse=True)
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_EXAMINED_BY_COUNT", BOUND)


async def many(parts: Parts, number: int = MANY) -> Matching:
    await fill_store(parts, number, "192.0.2.7", agent="Mozilla/5.0 (X11; Linux) Firefox/140.0")
    _, count = await preview(Matching(FIREFOX), parts.sessions)
    assert not count.exact
    assert count.total < number
    return Matching(FIREFOX)


@pytest.mark.long_on("mongo")
async def test_a_number_below_the_true_one_ends_nothing_until_the_true_one_is_confirmed(
    parts: Parts, clock: Clock
) -> None:
    selection = await many(parts)
    outcome = await parts.actions.end(ROOT, selection, "leak", expected=BOUND)
    job = outcome.paused_job
    assert job is not None
    assert (job.ended, job.expected, job.is_exact) == (0, MANY, True)
    for wrong in (MANY - 1, MANY + 1, BOUND):
        with pytest.raises(HasGrown, match=f"{MANY} sessions match"):
            await parts.actions.resume(ROOT, job.id, wrong)
    with pytest.raises(InvalidInput):
        await parts.actions.resume(ROOT, job.id)
    clock.ahead += 5
    await fill_store(parts, 3, "192.0.2.8", agent="Firefox/140.0")
    done = await parts.actions.resume(ROOT, job.id, MANY)
    assert done is not None
    assert (done.state, done.ended, done.total, done.progress) == (JobState.DONE, MANY, MANY, 1.0)
    assert (await parts.sessions.count()).total == 3, "sessions created since the first request are kept"
    acts = [(entry.act, entry.ended) for entry in await parts.audit.entries() if entry.act != Action.OUTCOME]
    assert acts == [(Action.RESUME_JOB, None)] * 5 + [(Action.END_MATCHING, MANY)]


async def test_the_true_number_is_counted_before_anything_ends_and_then_ended(parts: Parts) -> None:
    outcome = await parts.actions.end(ROOT, await many(parts), "leak", expected=MANY)
    assert outcome.job is not None
    job = await stopped_job(parts, outcome.job.id)
    assert (job.state, job.ended, job.total) == (JobState.DONE, MANY, MANY)


@pytest.mark.long_on("mongo")
async def test_counting_first_ends_nothing_and_leaves_out_the_operators_own_session(parts: Parts) -> None:
    selection = await many(parts)
    own = (await parts.sessions.find(FIREFOX, limit=3)).items[2].handle
    job = await stopped_job(parts, (await parts.actions.count_first(ROOT, selection, "leak", own=own)).id)
    assert (job.state, job.ended, job.total, job.is_over) == (JobState.PAUSED, 0, MANY - 1, False)
    assert (await parts.sessions.count()).total == MANY
    done = await parts.actions.resume(ROOT, job.id, MANY - 1)
    assert done is not None
    assert done.ended == MANY - 1
    assert [item.handle for item in (await parts.sessions.find()).items] == [own]


async def test_a_confirmation_without_a_number_ends_all_and_claims_none(parts: Parts) -> None:
    outcome = await parts.actions.end(ROOT, await many(parts), "leak")
    assert outcome.job is not None
    job = await stopped_job(parts, outcome.job.id)
    assert (job.state, job.ended, job.confirmed, job.total, job.progress) == (JobState.DONE, MANY, None, None, 1.0)


async def test_a_job_that_passes_the_number_by_a_tenth_stops_and_asks(parts: Parts, clock: Clock) -> None:
    """As if sessions had come to match after they were counted."""
    await many(parts)
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    where = Where(device="Firefox", created_until=clock())
    job = await stopped_job(parts, (await parts.jobs.start(ROOT, entry, where, expected=20, confirmed=20)).id)
    assert (job.state, job.ended, job.total) == (JobState.PAUSED, 22, MANY)
    assert (await parts.sessions.count()).total == MANY - 22
    await parts.jobs.close()
    await parts.jobs.open()
    assert (await stopped_job(parts, job.id)).state is JobState.PAUSED, "a restart confirms nothing"
    both = await asyncio.gather(*(parts.actions.resume(Actor(name), job.id, MANY) for name in ("ann", "bob")))
    assert both[0] is not None
    job = await stopped_job(parts, job.id)
    assert (job.state, job.ended, job.total) == (JobState.DONE, MANY, MANY)


@pytest.mark.long_on("mongo")
async def test_a_tenth_more_ends_without_another_question(parts: Parts, clock: Clock) -> None:
    await many(parts, 22)
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    where = Where(device="Firefox", created_until=clock())
    job = await stopped_job(parts, (await parts.jobs.start(ROOT, entry, where, expected=20, confirmed=20)).id)
    assert (job.state, job.ended, job.progress, job.total) == (JobState.DONE, 22, 1.0, 22)


async def test_a_paused_job_can_be_cancelled_and_a_cancelled_one_counts_the_rest_and_asks(parts: Parts) -> None:
    first = (await parts.actions.end(ROOT, await many(parts), "leak", expected=BOUND)).paused_job
    assert first is not None
    await parts.actions.cancel(ROOT, first.id)
    again = await parts.actions.resume(ROOT, first.id)
    assert again is not None
    assert again.id != first.id
    job = await stopped_job(parts, again.id)
    assert (job.state, job.ended, job.total) == (JobState.PAUSED, 0, MANY)
    assert [entry.ended for entry in await parts.audit.entries() if entry.act == Action.END_MATCHING] == [None, 0]


async def test_however_many_resume_a_cancelled_job_there_is_one_new_job(parts: Parts) -> None:
    first = (await parts.actions.end(ROOT, await many(parts), "leak", expected=BOUND)).paused_job
    assert first is not None
    await parts.actions.cancel(ROOT, first.id)
    started = await asyncio.gather(*(parts.actions.resume(Actor(name), first.id) for name in ("ann", "bob", "eve")))
    started.append(await parts.actions.resume(ROOT, first.id))
    assert len({job.id for job in started if job is not None}) == 1
    job = await stopped_job(parts, first.successor_id)
    assert (job.state, job.ended, job.total) == (JobState.PAUSED, 0, MANY)
    assert len(await parts.jobs.listed()) == 2
    # Whoever came later has an entry that says that their action ended nobody.
    told = [entry.ended for entry in await parts.audit.entries() if entry.act == Action.END_MATCHING]
    assert told.count(None) == 1


async def test_a_paused_job_keeps_the_session_of_whoever_resumes_it(parts: Parts) -> None:
    selection = await many(parts)
    anns, bobs = [item.handle for item in (await parts.sessions.find(limit=2)).items]
    job = (await parts.actions.end(Actor("ann"), selection, "leak", expected=BOUND, own=anns)).paused_job
    assert job is not None
    done = await parts.actions.resume(Actor("bob"), job.id, job.expected, own=bobs)
    assert done is not None
    assert (await stopped_job(parts, job.id)).ended == MANY - 1
    assert [item.handle for item in (await parts.sessions.find()).items] == [bobs]


@pytest.mark.long_on("mongo")
async def test_sessions_that_move_in_the_list_are_counted_once(parts: Parts, clock: Clock) -> None:
    """A request during the count moves its session to the front of the list, where the count has already been."""
    await fill_store(parts, 700, "192.0.2.7", agent="Firefox/140.0")
    until = clock()
    moved, found = False, 0
    async for number in parts.sessions.counting(device="Firefox", created_until=until):
        found += number
        if not moved and found:
            moved = True
            oldest = (await parts.sessions.find(sort="expires", limit=100)).items
            changes = [change(item.handle, now=clock(), last_seen_at=clock() + 5) for item in oldest]
            await parts.sessions.store.save(changes)
    assert found == 700


class Late(WrappedStore):
    """Ten more sessions of ada start when hers have been counted, right before they end."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.sessions.store)
        self.parts = parts
        parts.sessions.store = self

    async def before(self, method: str) -> None:
        await super().before(method)
        if method == "destroy_user":
            await fill_store(self.parts, 10, "192.0.2.9", user="ada")


@pytest.mark.long_on("mongo")
@pytest.mark.parametrize(("expected", "ended"), [(20, 22), (25, 27), (None, 30)])
async def test_what_starts_after_the_count_ends_up_to_a_tenth_and_all_of_a_user_take_one_call(
    parts: Parts, expected: int | None, ended: int
) -> None:
    await fill_store(parts, 20, "192.0.2.7", user="ada")
    store = Late(parts)
    outcome = await parts.actions.end(ROOT, OfUser("ada"), "leak", expected=expected)
    assert (outcome.ended, outcome.job) == (ended, None)
    assert (await parts.sessions.count(user="ada")).total == 30 - ended
    assert (store.calls["destroy_user"], store.calls["find"], store.calls["destroy"]) == (1, 0, 0)
    (entry,) = [entry for entry in await parts.audit.entries() if entry.act == Action.END_USER]
    assert entry.ended == ended
