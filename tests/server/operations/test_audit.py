"""The audit log: one chain, what was changed in it, filters, what is forgotten."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.people import make_operator
from support.waiting import until

from tornado_sessions.server.documents import Document
from tornado_sessions.server.documents.memory import MemoryDocuments
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor, Audit
from tornado_sessions.server.operations.entries import AuditQuery, Entry
from tornado_sessions.server.parts import Parts

ROOT = Actor("root", "::1")


async def three(parts: Parts) -> list[Entry]:
    for number in range(3):
        await parts.audit.note(ROOT, Action.END_SESSION, user="ada", target=f"h{number}", ended=number)
    return await parts.audit.entries()


@pytest.mark.gen_test
async def test_the_chain_is_whole_and_its_head_is_known_later(parts: Parts) -> None:
    entries = await three(parts)
    head = entries[0].hash
    await parts.audit.note(ROOT, Action.LOG_OUT, user="root")
    found = await parts.audit.verify(head)
    assert (found.entries, found.faults, found.knows_head) == (4, [], True)
    assert not (await parts.audit.verify("0" * 64)).knows_head


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_writers_at_once_make_one_chain(parts: Parts) -> None:
    await asyncio.gather(*(parts.audit.note(ROOT, Action.END_SESSION, target=str(number)) for number in range(30)))
    found = await parts.audit.verify()
    assert (found.entries, found.faults) == (30, [])


@pytest.mark.gen_test
async def test_old_entries_are_forgotten_and_the_rest_is_whole(parts: Parts, clock: Clock) -> None:
    await three(parts)
    clock.ahead += 1000
    await parts.audit.note(ROOT, Action.LOG_OUT, user="root")
    assert await parts.audit.forget(500) == 3
    found = await parts.audit.verify()
    assert (found.entries, found.faults) == (1, [])
    assert await parts.audit.entries(AuditQuery(who="ada")) == []
    clock.ahead += 1000
    assert await parts.audit.forget(500) == 0, "the newest stays: the chain goes on from it"
    await parts.audit.note(ROOT, Action.LOG_OUT)
    assert (await parts.audit.verify()).is_whole


@pytest.mark.gen_test
async def test_the_log_is_filtered_by_who_what_and_when(operator: Browser, parts: Parts, clock: Clock) -> None:
    await make_operator(parts, operator)
    await three(parts)
    clock.ahead += 2 * 86400
    await parts.audit.note(Actor("eve"), Action.LOG_OUT, user="eve")
    for query, expected in (
        (AuditQuery(who="ada"), 3),
        (AuditQuery(who="root", act="end session"), 3),
        (AuditQuery(act="log-out"), 1),
        (AuditQuery(since=clock() - 86400), 1),
        (AuditQuery(until=clock() - 86400, act="end session"), 3),
        (AuditQuery(who="eve", act="end session"), 0),
        (AuditQuery(act="end session", limit=2), 2),
    ):
        assert len(await parts.audit.entries(query)) == expected, query
    await operator.log_in("root")
    page = (await operator.get("/admin/audit?who=eve")).body
    assert page.count(b"<tr>") == 2
    assert (await operator.get("/admin/audit?days=x")).code == 400


@pytest.mark.gen_test
async def test_what_people_do_with_their_accounts_is_written_down(browser: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in(password="wrong")
    await browser.log_in("nobody", "a password typed as a name")
    await browser.log_in()
    new = {"email": "ada2@example.org", "email_password": PASSWORD}
    assert (await browser.post("/account/email", new)).code == 303
    assert "ada2@example.org" in (await browser.get("/account/profile")).body.decode()
    page = (await browser.get("/account/security")).body.decode()
    assert "Failed sign-in attempt" in page
    assert "Changed the email" in page
    await browser.post("/account/remove", {"remove_password": PASSWORD})
    entries = await parts.audit.entries()
    acts = [(entry.act, entry.user) for entry in entries]
    assert acts == [
        ("account removed", "ada"),
        ("e-mail changed", "ada"),
        ("log-in", "ada"),
        # What was typed may be a password.
        ("log-in failed", ""),
        ("log-in failed", "ada"),
        ("account made", "ada"),
    ]
    assert "a password typed as a name" not in repr(entries)
    assert (await browser.log_in()).code == 401
    assert (await parts.sessions.count()).total == 0


class Counting(MemoryDocuments):
    """Counts the calls that write and read."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: Counter[str] = Counter()
        self.reads = 0

    async def put(self, kind: str, document: Document, **links: Any) -> bool:
        self.puts[kind] += 1
        return await super().put(kind, document, **links)

    async def get(self, kind: str, key: str) -> Document | None:
        self.reads += 1
        return await super().get(kind, key)

    async def page(self, kind: str, **given: Any) -> list[Document]:
        self.reads += 1
        return await super().page(kind, **given)


@pytest.mark.gen_test
async def test_an_entry_costs_one_write_and_shares_that_of_the_head(clock: Clock) -> None:
    documents = Counting()
    audit = Audit(documents, clock, ["a key of the audit log in tests"])
    await audit.note(ROOT, Action.LOG_OUT)
    await until(lambda: not audit.heads.is_behind, "the head is stored")
    documents.puts.clear()
    documents.reads = 0
    await asyncio.gather(*(audit.note(ROOT, Action.LOG_OUT) for _ in range(100)))
    await audit.close()
    assert documents.puts["audit"] == 100
    assert documents.puts["audit_head"] <= 5
    assert documents.reads == 0
    assert (await audit.verify()).is_whole
