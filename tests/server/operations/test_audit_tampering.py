"""What a person can do who writes to the store without the server's secret, and who notices it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import SECRET
from support.people import make_operator
from support.record_damage import remove_document, remove_entries, spoil_entry, without_triggers, write_entry
from support.urls import url_of
from support.waiting import until

from tornado_sessions.server import commands
from tornado_sessions.server.cli import make_parser
from tornado_sessions.server.documents import Document
from tornado_sessions.server.documents.sqlite import SQLiteDocuments
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.audit_head import HEAD_KIND, Head
from tornado_sessions.server.operations.entries import AuditQuery, read_entry, tags_of
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions

ROOT = Actor("root", "::1")
Copy = dict[str, list[Document]]


async def ended(parts: Parts, many: int) -> None:
    """Actions with their outcomes."""

    async def one() -> int:
        return 1

    for number in range(many):
        await parts.audit.perform(ROOT, Action.END_SESSION, one, target=f"h{number}")


async def settled(parts: Parts) -> None:
    await until(lambda: not parts.audit.heads.is_behind, "the head is stored")


async def copied(parts: Parts) -> Copy:
    """The log and its head, as a backup of the store has them."""
    return {kind: await parts.documents.all(kind) for kind in ("audit", HEAD_KIND)}


async def put_back(parts: Parts, copy: Copy) -> None:
    for kind in copy:
        for document in await parts.documents.all(kind):
            await remove_document(parts.documents, kind, document.key)
        for document in copy[kind]:
            tags = tags_of(read_entry(document)) if kind == "audit" else ()
            await parts.documents.put(kind, document._replace(revision=1), tags=tags)


async def truncates(parts: Parts, _: Copy) -> None:
    await remove_entries(parts.documents, 5, 6)


async def erases_the_last_outcome(parts: Parts, _: Copy) -> None:
    await remove_entries(parts.documents, 6, 6)


async def erases_an_outcome(parts: Parts, _: Copy) -> None:
    await remove_entries(parts.documents, 4, 4)


async def removes_the_oldest(parts: Parts, _: Copy) -> None:
    await remove_entries(parts.documents, 1, 2)


async def removes_all(parts: Parts, _: Copy) -> None:
    await remove_entries(parts.documents, 1, 6)


async def removes_log_and_head(parts: Parts, _: Copy) -> None:
    await remove_entries(parts.documents, 1, 6)
    await remove_document(parts.documents, HEAD_KIND, "head")


async def truncates_and_removes_the_head(parts: Parts, _: Copy) -> None:
    await remove_entries(parts.documents, 5, 6)
    await remove_document(parts.documents, HEAD_KIND, "head")


async def rolls_back(parts: Parts, copy: Copy) -> None:
    await put_back(parts, copy)


async def rewrites_a_text(parts: Parts, _: Copy) -> None:
    await spoil_entry(parts.documents, 3, "reason", "nothing")


async def rewrites_an_outcome(parts: Parts, _: Copy) -> None:
    await spoil_entry(parts.documents, 4, "ended", 99)


async def relinks(parts: Parts, _: Copy) -> None:
    await spoil_entry(parts.documents, 3, "previous", "0" * 64)


async def copies_an_entry(parts: Parts, _: Copy) -> None:
    found = await parts.documents.get("audit", f"{2:016}")
    assert found is not None
    await write_entry(parts.documents, 4, found.body)


async def forges_a_mark(parts: Parts, _: Copy) -> None:
    found = await parts.documents.get(HEAD_KIND, "head")
    assert found is not None
    head = msgspec.structs.replace(msgspec.json.decode(found.body, type=Head), forgotten=2)
    await remove_entries(parts.documents, 1, 2)
    await parts.documents.put(HEAD_KIND, Document("head", found.revision + 1, msgspec.json.encode(head)))


async def hides(parts: Parts, tag: str) -> None:
    """Remove entries from an index, and leave them in the chain."""
    documents = parts.documents
    if isinstance(documents, SQLiteDocuments):
        sql = "DELETE FROM document_tags WHERE kind = 'audit' AND tag = ?"
        await documents.database.write(lambda connection: without_triggers(connection, sql, tag))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("tag", "number"),
    [(":", 1), ("outcome:", 2), (":root", 1), ("end session:", 1), ("end session:root", 1), ("outcome:root", 2)],
)
@pytest.mark.gen_test(timeout=30)
async def test_an_entry_that_lists_no_longer_find_is_noticed(parts: Parts, clock: Clock, tag: str, number: int) -> None:
    await ended(parts, 2)
    assert (await parts.audit.verify()).is_whole
    await hides(parts, tag)
    told = list(map(str, (await parts.audit.verify()).faults))
    assert told == [f"Entry {number + 2} is missing in lists.", f"Entry {number} is missing in lists."]
    clock.ahead += 1000
    await parts.audit.note(ROOT, Action.LOG_OUT)
    await parts.audit.forget(500)
    assert (await parts.audit.verify()).is_whole, "what was forgotten is in no list either"


CHANGES = [
    truncates, erases_the_last_outcome, erases_an_outcome, removes_the_oldest, removes_all, removes_log_and_head,
    truncates_and_removes_the_head, rolls_back, rewrites_a_text, rewrites_an_outcome, relinks, copies_an_entry, forges_a_mark,
]  # fmt: skip
#: Those that leave a valid chain behind: only the heads tell.
AT_THE_END = [
    truncates, erases_the_last_outcome, removes_all, removes_log_and_head, truncates_and_removes_the_head, rolls_back,
]  # fmt: skip


async def attacked(parts: Parts, change: Callable[[Parts, Copy], Any]) -> None:
    """Six entries, of which the change has a copy of the first two."""
    await ended(parts, 1)
    await settled(parts)
    copy = await copied(parts)
    await ended(parts, 2)
    await settled(parts)
    assert (await parts.audit.verify()).is_whole
    await change(parts, copy)


async def verify(parts: Parts, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = await commands.run(parts, make_parser().parse_args(["audit", "verify"]))
    return code, capsys.readouterr().out


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.gen_test(timeout=30)
async def test_every_change_of_the_log_is_noticed(
    parts: Parts, change: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await attacked(parts, change)
    assert not (await parts.audit.verify()).is_whole
    code, told = await verify(parts, capsys)
    assert (code, "BROKEN" in told) == (1, True)
    # Entries that are written afterwards hide nothing, however many there are.
    for _ in range(8):
        await parts.audit.note(ROOT, Action.LOG_OUT)
    await settled(parts)
    assert not (await parts.audit.verify()).is_whole


@pytest.mark.parametrize("change", AT_THE_END)
@pytest.mark.gen_test(timeout=30)
async def test_a_server_that_starts_afterwards_notices_it_too(url: str, parts: Parts, twin: Parts, change: Any) -> None:
    """It remembers nothing itself: the signed head does, and on a disk the file beside the data."""
    if url == "memory://":
        return
    await attacked(parts, change)
    found = await twin.audit.look()
    is_lost = "sqlite" not in url and change in (removes_log_and_head, rolls_back)
    assert bool(found.faults) is not is_lost, "without a disk, only what runs and monitoring remember"
    for _ in range(8):
        await twin.audit.note(ROOT, Action.LOG_OUT)
    await settled(twin)
    assert (await twin.audit.verify()).is_whole is is_lost
    assert bool(await twin.audit.entries(AuditQuery(act="audit log altered"))) is not is_lost


@pytest.mark.gen_test
async def test_pages_api_and_metrics_notice_it(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await settled(parts)
    before = (await operator.get("/metrics")).body.decode()
    number = (await parts.audit.look()).number
    assert f"tornado_sessions_audit_head {number}.0" in before
    assert "tornado_sessions_audit_faults 0.0" in before
    assert "alert good" in (await operator.get("/admin/audit?verify=1")).body.decode()
    await remove_entries(parts.documents, number, number)
    assert "审计日志校验失败" in (await operator.get("/admin/audit", Accept_Language="zh-CN")).body.decode()
    assert "audit log has been altered" in (await operator.get("/admin/overview")).body.decode()
    answer = json.loads((await operator.get("/admin/api/audit/verify")).body)
    assert (answer["is_whole"], "are missing" in answer["faults"][0]) == (False, True)
    told = (await operator.get("/metrics")).body.decode()
    assert f"tornado_sessions_audit_head {number - 1}.0" in told
    assert "tornado_sessions_audit_faults 0.0" not in told


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("trace", ["token", "job", ""])
@pytest.mark.gen_test
async def test_a_log_that_was_removed_with_all_its_heads_is_contradicted_by_what_it_recorded(
    parts: Parts, twin: Parts, trace: str
) -> None:
    if trace:
        await parts.documents.put(trace, Document("a" * 20, 1, b"{}"))
    await ended(parts, 2)
    await settled(parts)
    for kind in ("audit", HEAD_KIND):
        for document in await parts.documents.all(kind):
            await remove_document(parts.documents, kind, document.key)
    assert twin.audit.heads.file is not None
    twin.audit.heads.file.unlink()
    told = list(map(str, (await twin.audit.verify()).faults))
    assert told == (["The audit log is empty, but there are API tokens or jobs: it was removed."] if trace else [])
    await twin.audit.note(ROOT, Action.LOG_OUT)
    assert bool((await twin.audit.look()).all_faults) is bool(trace), "the next entries do not hide it"


@pytest.mark.gen_test
async def test_a_gap_that_a_running_server_wrote_over_stays_in_the_metrics(parts: Parts) -> None:
    await ended(parts, 3)
    await remove_entries(parts.documents, 5, 6)
    await parts.audit.note(ROOT, Action.LOG_OUT)
    await settled(parts)
    for _ in range(2):
        await parts.audit.watch()
    assert len(await parts.audit.entries(AuditQuery(act=Action.AUDIT_ALTERED))) == 1, "recorded once"
    assert (await parts.audit.look()).all_faults
    for number in range(40):
        await parts.audit.note(ROOT, Action.LOG_OUT, target=str(number))
    assert ["altered" in str(fault) for fault in (await parts.audit.look()).all_faults] == [True]


@pytest.mark.gen_test
async def test_a_log_that_is_whole_gets_no_entry_about_it(parts: Parts, clock: Clock) -> None:
    await ended(parts, 3)
    clock.ahead += 1000
    await parts.audit.note(ROOT, Action.LOG_OUT)
    await parts.audit.forget(500)
    await parts.audit.watch()
    assert await parts.audit.entries(AuditQuery(act=Action.AUDIT_ALTERED)) == []


@pytest.mark.gen_test
async def test_only_what_the_signed_mark_covers_may_be_missing(parts: Parts, clock: Clock) -> None:
    await ended(parts, 3)
    clock.ahead += 1000
    await parts.audit.note(ROOT, Action.LOG_OUT)
    assert await parts.audit.forget(500) == 6
    await parts.audit.note(ROOT, Action.LOG_OUT)
    found = await parts.audit.verify()
    assert (found.entries, found.is_whole) == (2, True)
    await remove_entries(parts.documents, 7, 7)
    assert "Entries 7 to 7 are missing." in map(str, (await parts.audit.verify()).faults)


@pytest.mark.gen_test
async def test_an_interrupted_retention_is_no_fault(
    parts: Parts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is signed first. A process that dies between mark and removal, or in it, leaves a whole log."""
    await ended(parts, 3)
    clock.ahead += 1000
    await parts.audit.note(ROOT, Action.LOG_OUT)

    async def dies(*_: object) -> int:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(parts.documents, "forget", dies)
        with pytest.raises(ConnectionResetError):
            await parts.audit.forget(500)
    assert (await parts.audit.verify()).is_whole
    await remove_entries(parts.documents, 2, 3)
    assert (await parts.audit.verify()).is_whole
    assert await parts.audit.forget(500) == 4
    assert (await parts.audit.verify()).is_whole


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=30)
async def test_two_processes_keep_one_head(parts: Parts, twin: Parts) -> None:
    async def write(its: Parts) -> None:
        for _ in range(20):
            await its.audit.note(ROOT, Action.LOG_OUT)

    await asyncio.gather(write(parts), write(twin))
    await settled(parts)
    await settled(twin)
    look = await parts.audit.look()
    assert (look.number, look.faults, max(head.number for head in look.heads)) == (40, [], 40)
    assert (await twin.audit.verify()).is_whole


@pytest.mark.gen_test
async def test_a_head_that_is_a_little_behind_is_no_fault(parts: Parts, twin: Parts) -> None:
    """``kill -9`` may come between an entry and its head; the head names how far it may be behind."""
    await ended(parts, 1)
    await settled(parts)
    older = await parts.documents.all(HEAD_KIND)
    await ended(parts, 1)
    await settled(parts)
    found = await parts.documents.get(HEAD_KIND, "head")
    assert found is not None
    await parts.documents.put(HEAD_KIND, older[0]._replace(revision=found.revision + 1))
    if twin is not parts:
        assert (await twin.audit.verify()).is_whole


@pytest.mark.gen_test(timeout=30)
async def test_a_head_far_behind_its_log_is_a_fault(parts: Parts, twin: Parts) -> None:
    await ended(parts, 1)
    await settled(parts)
    older = await parts.documents.all(HEAD_KIND)
    for _ in range(1001):
        await parts.audit.note(ROOT, Action.LOG_OUT)
    await settled(parts)
    found = await parts.documents.get(HEAD_KIND, "head")
    assert found is not None
    await parts.documents.put(HEAD_KIND, older[0]._replace(revision=found.revision + 1))
    assert any("signed head" in str(fault) for fault in (await twin.audit.look()).faults)


@pytest.fixture
def file(url: str, parts: Parts) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    yield connection
    connection.close()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE stored_documents SET body = '{}' WHERE kind = 'audit' AND key LIKE '%2'",
        "UPDATE stored_documents SET kind = 'audit' WHERE kind = 'audit_head'",
        "UPDATE stored_documents SET kind = 'x' WHERE kind = 'audit'",
        "DELETE FROM stored_documents WHERE kind = 'audit'",
        "DELETE FROM stored_documents",
        "INSERT OR REPLACE INTO stored_documents SELECT kind, key, revision, '{}' FROM stored_documents WHERE kind = 'audit'",
        "DELETE FROM document_tags WHERE kind = 'audit'",
        "UPDATE document_tags SET tag = 'x' WHERE kind = 'audit'",
        "DELETE FROM document_logs",
        "UPDATE document_logs SET kind = 'x'",
        "INSERT OR REPLACE INTO document_logs VALUES ('audit', '9')",
    ],
)
@pytest.mark.gen_test
async def test_sqlite_refuses_to_change_entries(parts: Parts, file: sqlite3.Connection, sql: str) -> None:
    await ended(parts, 2)
    with pytest.raises(sqlite3.IntegrityError, match="log"):
        file.execute(sql)
    file.rollback()
    assert (await parts.audit.verify()).is_whole
    assert await parts.audit.forget(-10) == 3, "retention may"
    file.execute("UPDATE stored_documents SET body = '{}' WHERE kind = 'audit_head'")
    file.rollback()


@pytest.mark.gen_test(timeout=30)
async def test_a_file_beside_the_secret_remembers_a_log_on_redis(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Log and head are removed while no server runs: the next one, on this machine, knows better."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    url = url_of("redis", request, tmp_path)
    for expected in (True, False):
        parts = Parts(ServerOptions(store=url, secret_file=str(secret)))
        async with parts.opened():
            assert (await parts.audit.verify()).is_whole is expected
            if expected:
                await ended(parts, 2)
                await settled(parts)
                await remove_entries(parts.documents, 1, 4)
                await remove_document(parts.documents, HEAD_KIND, "head")
    names = [path.name for path in tmp_path.iterdir() if "audit-head" in path.name]
    assert len(names) == 1
    assert ((tmp_path / names[0]).stat().st_mode & 0o777) == 0o600
