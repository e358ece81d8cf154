"""One damaged account, token, job or audit entry affects one record only, for every field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.browser import Browser
from support.passwords import PASSWORD
from support.people import make_operator
from support.record_damage import (
    BROKEN_BODIES,
    MISSING,
    remove_entries,
    spoil_account,
    spoil_document,
    spoil_entry,
    write_entry,
)

from tornado_sessions.query import Where
from tornado_sessions.server import commands
from tornado_sessions.server.accounts.document_users import DocumentUsers
from tornado_sessions.server.accounts.errors import DamagedAccount, WrongCredentials
from tornado_sessions.server.accounts.migrate import copy_accounts
from tornado_sessions.server.accounts.repository import AccountRepository
from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.cli import make_parser
from tornado_sessions.server.documents.memory import MemoryDocuments
from tornado_sessions.server.documents.redis import RedisDocuments
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.entries import AuditQuery, DamagedEntry
from tornado_sessions.server.operations.jobs import DamagedJob, Job
from tornado_sessions.server.operations.tokens import DamagedToken, scopes_of
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

ROOT = Actor("root", "::1")
#: A value of a wrong type for each field of an account.
WRONG_ACCOUNTS: dict[str, Any] = {
    "id": 7,
    "extra": "much",
    "name": 7,
    "email": [7],
    "role": "emperor",
    "password_hash": 7.5,
    "created_at": "yesterday",
    "password_changed_at": "never",
    "blocked_until": "always",
    "totp_secret": 5,
    "totp_step": "first",
    "recovery": 7,
    "is_first": "yes",
    "is_vouched": "yes",
    "issuer": 7,
    "subject": 7,
    "email_confirmed_at": "soon",
    "pending_email": 7,
    "language": 7,
    "revision": "two",
}
#: The same for an entry of the audit log.
WRONG_ENTRIES: dict[str, Any] = {
    "at": "noon",
    "actor": 7,
    "user": 7,
    "ip": 7,
    "act": 7,
    "target": 7,
    "reason": 7,
    "ended": "many",
    "previous": 7,
    "hash": 7,
    "user_agent": 7,
    "request_id": 7,
    "session": 7,
    "error": 7,
    "ref": 7,
    "stored_at": "late",
    "done_at": "late",
}


async def three_accounts(parts: Parts) -> None:
    for name in ("ada", "bob", "eve"):
        await parts.accounts.register(name, f"{name}@example.org", PASSWORD, role=Role.VIEWER)


@pytest.mark.parametrize("field", WRONG_ACCOUNTS)
@pytest.mark.gen_test
async def test_a_damaged_account_costs_one_account(parts: Parts, field: str, caplog: pytest.LogCaptureFixture) -> None:
    # ``rest`` is what is left of a record, so it cannot be wrong.
    assert set(WRONG_ACCOUNTS) == {*User.__struct_fields__} - {"rest"}
    await three_accounts(parts)
    await spoil_account(parts.documents, "bob", field, WRONG_ACCOUNTS[field])
    found = await parts.accounts.repository.page("", 10)
    assert [type(user) for user in found] == [User, DamagedUser, User]
    assert [user.key for user in found] == ["ada", "bob", "eve"]
    with pytest.raises(DamagedAccount):
        await parts.accounts.log_in("bob", PASSWORD, "::1")
    for name in ("ada", "eve"):
        assert (await parts.accounts.log_in(name, PASSWORD, "::1")).name == name
    assert await parts.accounts.role_of("bob") is Role.USER
    assert "the account 'bob' is damaged" in caplog.text
    names = {user.name for user in await parts.accounts.with_role(Role.VIEWER)}
    assert names | {"bob"} == {"ada", "bob", "eve"}
    target = AccountRepository(DocumentUsers(MemoryDocuments()))
    assert await copy_accounts(parts.accounts.repository, target, lambda _: None) == 2
    assert [user.key for user in await target.page("", 10)] == ["ada", "eve"]


@pytest.mark.gen_test
async def test_an_account_may_lack_what_has_a_default_and_nothing_else(parts: Parts) -> None:
    """A record of an older version lacks fields that came later; one of a newer version has fields that are unknown here."""
    store = parts.documents
    for number, field in enumerate(User.__struct_fields__):
        name = f"user{number}"
        await parts.accounts.register(name, f"{name}@example.org", PASSWORD)
        await spoil_account(store, name, "later_field", {"a": 1})
        assert (await parts.accounts.log_in(name, PASSWORD, "::1")).name == name
        await spoil_account(store, name, field, MISSING)
        try:
            user = await parts.accounts.log_in(name, PASSWORD, "::1")
        except DamagedAccount:
            assert field in ("name", "email", "password_hash", "created_at", "password_changed_at")
        else:
            assert user.name == name


@pytest.mark.long_on("mongo")
@pytest.mark.parametrize("raw", BROKEN_BODIES)
@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_bytes_that_are_no_account_cost_one_account(parts: Parts, raw: bytes) -> None:
    await three_accounts(parts)
    await spoil_document(parts.documents, "account", "bob", raw)
    assert [type(user) for user in await parts.accounts.repository.page("", 10)] == [User, DamagedUser, User]
    assert [type(user) for user in await parts.accounts.with_role(Role.VIEWER)] == [User, DamagedUser, User]
    with pytest.raises(DamagedAccount):
        await parts.accounts.log_in("bob", PASSWORD, "::1")
    await parts.documents.delete("account", "bob")
    with pytest.raises(WrongCredentials):
        await parts.accounts.log_in("bob", PASSWORD, "::1")


@pytest.mark.parametrize("time", [float("inf"), float("nan")])
@pytest.mark.gen_test
async def test_a_time_that_is_none_breaks_no_page(operator: Browser, parts: Parts, time: float) -> None:
    await three_accounts(parts)
    await make_operator(parts, operator)
    await spoil_account(parts.documents, "bob", "created_at", time)
    await spoil_entry(parts.documents, 1, "at", time)
    for path in ("/admin/operators", "/admin/user?name=bob", "/admin/audit", "/admin/audit.csv", "/admin/api/audit"):
        assert (await operator.get(path)).code == 200, path


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_record_with_anothers_name_signs_in_nobody(parts: Parts) -> None:
    await three_accounts(parts)
    await spoil_account(parts.documents, "bob", "name", "ada")
    with pytest.raises(DamagedAccount):
        await parts.accounts.log_in("bob", PASSWORD, "::1")


@pytest.mark.gen_test
async def test_a_damaged_account_is_told_where_people_and_operators_meet_it(
    browser: Browser, other: Browser, operator: Browser, parts: Parts
) -> None:
    await three_accounts(parts)
    await other.log_in("bob")
    await spoil_account(parts.documents, "bob", "password_changed_at", "never")
    refused = await browser.log_in("bob")
    assert (refused.code, refused.headers.get("Retry-After")) == (503, None)
    assert "its record is damaged" in refused.body.decode().lower()
    browser.headers["Accept-Language"] = "zh-CN"
    assert "已损坏" in (await browser.log_in("bob")).body.decode()
    assert (await browser.log_in("ada")).code == 303
    page = await other.get("/account")
    assert (page.code, "record is damaged" in page.body.decode()) == (200, True)
    assert (await other.get("/admin/")).code == 403, "its role cannot be read"
    await make_operator(parts, operator, Role.ADMIN)
    for path in ("/admin/operators", "/admin/user?name=bob", "/admin/overview", "/admin/settings", "/admin/?user=bob"):
        answer = await operator.get(path)
        assert answer.code == 200, path
    assert "password_changed_at has the wrong type" in (await operator.get("/admin/user?name=bob")).body.decode()
    assert "password_changed_at has the wrong type" in (await operator.get("/admin/operators")).body.decode()
    assert json.loads((await operator.get("/admin/api/users/bob")).body)["damaged"] is True
    assert (await operator.post("/admin/operators/role", {"user": "bob", "role": "user"})).code == 503
    assert (await operator.post("/admin/block", {"user": "bob", "seconds": "3600"})).code == 503
    ended = {"user": "bob", "confirm": "1", "reason": "x", "expected": "1"}
    assert (await operator.post("/admin/end", ended)).code == 303
    assert (await parts.sessions.count(user="bob")).total == 0


# --- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.long_on("mongo")
@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_damaged_token_lets_nobody_in_and_hides_no_other(
    browser: Browser, operator: Browser, parts: Parts
) -> None:
    whole = await parts.tokens.create("whole", scopes_of(Role.VIEWER))
    [kept] = await parts.tokens.all()
    damaged: list[str] = []
    for body in (*BROKEN_BODIES, "text"):
        token = await parts.tokens.create("damaged", scopes_of(Role.VIEWER))
        listed = await parts.tokens.all()
        damaged.append(next(found.handle for found in listed if token.startswith(f"ts_{found.handle}")))
        await spoil_document(parts.documents, "token", damaged[-1], body)
        assert await parts.tokens.verify(token) is None, body
        assert (await browser.send("GET", "/admin/api/sessions", Authorization=f"Bearer {token}")).code == 401, body
    assert await parts.tokens.verify(whole) is not None
    assert (await browser.send("GET", "/admin/api/sessions", Authorization=f"Bearer {whole}")).code == 200
    found = {token.handle: type(token) for token in await parts.tokens.all()}
    assert found == {kept.handle: type(kept), **dict.fromkeys(damaged, DamagedToken)}
    await make_operator(parts, operator, Role.ADMIN)
    page = (await operator.get("/admin/operators")).body.decode()
    items = json.loads((await operator.get("/admin/api/tokens")).body)["items"]
    assert {item["handle"] for item in items if item.get("damaged")} == set(damaged)
    for handle in damaged:
        assert f"tokens?revoke={handle}" in page
        assert (await operator.post("/admin/operators/tokens", {"revoke": handle})).code == 303
    assert [token.handle for token in await parts.tokens.all()] == [kept.handle]


# --- jobs ------------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_damaged_job_goes_not_on_hides_no_other_and_can_be_removed(operator: Browser, parts: Parts) -> None:
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    bodies = (*BROKEN_BODIES, "text")
    ids = []
    for _ in range(len(bodies) + 1):
        job = await parts.jobs.start(ROOT, entry, Where(ip="::9"), expected=1)
        await parts.jobs.wait(job, 5)
        ids.append(job.id)
    *damaged, whole = ids
    for job_id, body in zip(damaged, bodies, strict=True):
        await spoil_document(parts.documents, "job", job_id, body)
    found = {job.id: type(job) for job in await parts.jobs.listed()}
    assert found == {**dict.fromkeys(damaged, DamagedJob), whole: Job}
    assert [job.id for job in await parts.jobs.all()] == [whole]
    await make_operator(parts, operator)
    for path in ("/admin/jobs", f"/admin/jobs/{whole}", "/admin/overview"):
        assert (await operator.get(path)).code == 200, path
    items = json.loads((await operator.get("/admin/api/jobs")).body)["items"]
    assert {item["id"]: item["state"] for item in items} == {**dict.fromkeys(damaged, "damaged"), whole: "done"}
    for job_id, body in zip(damaged, bodies, strict=True):
        assert (await operator.get(f"/admin/jobs/{job_id}")).code == 200, body
        assert json.loads((await operator.get(f"/admin/api/jobs/{job_id}")).body)["state"] == "damaged", body
        gone = await operator.post(f"/admin/jobs/{job_id}/cancel", {})
        assert (gone.code, gone.headers["Location"]) == (303, "/admin/jobs"), body
    assert [job.id for job in await parts.jobs.listed()] == [whole]


# --- the audit log ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", WRONG_ENTRIES)
@pytest.mark.gen_test
async def test_a_damaged_entry_costs_one_entry(parts: Parts, field: str) -> None:
    for number in range(4):
        await parts.audit.note(ROOT, Action.CANCEL_JOB, target=str(number))
    damaged = (await parts.audit.entries())[2].id
    await spoil_entry(parts.documents, damaged, field, WRONG_ENTRIES[field])
    found = await parts.audit.entries()
    assert [entry.id for entry in found if isinstance(entry, DamagedEntry)] == [damaged]
    assert [entry.id for entry in found] == list(range(found[0].id, 0, -1))
    told = list(map(str, (await parts.audit.verify()).faults))
    assert [fault.startswith(f"Entry {damaged} is damaged") for fault in told] == [True], told
    await parts.audit.note(ROOT, Action.CANCEL_JOB)
    assert len((await parts.audit.verify()).faults) == 1, "the chain goes on"


@pytest.mark.gen_test
async def test_damaged_entries_are_shown_and_exported_among_the_others(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    noted = [(await parts.audit.note(ROOT, Action.CANCEL_JOB)).id for _ in range(2 * len(WRONG_ENTRIES))]
    damaged = noted[::2]
    for number, (field, value) in zip(damaged, WRONG_ENTRIES.items(), strict=True):
        await spoil_entry(parts.documents, number, field, value)
    for path in ("/admin/audit", "/admin/audit?verify=1", "/admin/audit?who=root", "/admin/overview"):
        assert (await operator.get(path)).code == 200, path
    assert "damaged" in (await operator.get("/admin/audit")).body.decode()
    assert "已损坏" in (await operator.get("/admin/audit", Accept_Language="zh-CN")).body.decode()
    items = json.loads((await operator.get("/admin/api/audit")).body)["items"]
    assert [item["id"] for item in items if item.get("damaged")] == damaged[::-1]
    lines = (await operator.get("/admin/audit.jsonl")).body.decode().splitlines()
    assert {json.loads(line)["id"] for line in lines if json.loads(line).get("damaged")} == set(damaged)
    rows = (await operator.get("/admin/audit.csv")).body.decode().splitlines()
    assert sum(",damaged: " in row for row in rows) == len(damaged)


@pytest.mark.gen_test
async def test_the_log_goes_on_after_a_damaged_newest_entry_and_forgets_damaged_ones(parts: Parts, twin: Parts) -> None:
    for _ in range(3):
        await parts.audit.note(ROOT, Action.CANCEL_JOB)
    newest = (await parts.audit.entries())[0].id
    await spoil_entry(parts.documents, newest, "at", "noon")
    await twin.audit.note(ROOT, Action.CANCEL_JOB)
    assert len((await parts.audit.verify()).faults) == 1
    assert await parts.audit.forget(-10) == 3
    found = await parts.audit.verify()
    assert (found.entries, found.faults) == (1, [])


@pytest.mark.long_on("mongo")
@pytest.mark.parametrize("raw", BROKEN_BODIES)
@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_bytes_that_are_no_entry_cost_one_entry(parts: Parts, raw: bytes) -> None:
    for _ in range(3):
        await parts.audit.note(ROOT, Action.CANCEL_JOB)
    await write_entry(parts.documents, 2, raw)
    assert [type(entry) is DamagedEntry for entry in await parts.audit.entries()] == [False, True, False]
    assert len(await parts.audit.entries(AuditQuery(act="cancel job"))) == 3


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_the_log_goes_on_where_its_newest_entry_or_its_index_is_gone(parts: Parts, twin: Parts) -> None:
    for _ in range(3):
        await parts.audit.note(ROOT, Action.CANCEL_JOB)
    await remove_entries(parts.documents, 2, 2)
    assert (await parts.audit.note(ROOT, Action.CANCEL_JOB)).id == 4
    told = set(map(str, (await parts.audit.verify()).faults))
    # The head is written after its entry, so it may still name the one that is gone.
    assert {"Entries 2 to 2 are missing."} == told - {"Entry 2 is missing."}
    store: Any = parts.documents
    if not isinstance(store, RedisDocuments):
        return
    index, redis = store.keys_of("audit")[1], store.client.redis
    for lost in (("DEL", index), ("ZADD", index, 0, "\0many")):
        await redis.execute_command(*lost)
        entry = await (twin if lost[0] == "ZADD" else parts).audit.note(ROOT, Action.CANCEL_JOB)
        assert [found.id for found in await parts.audit.entries()][:2] == [entry.id, entry.id - 1]
    assert [found.id for found in await twin.audit.entries()] == [6, 5, 4, 3, 1]


@pytest.mark.gen_test
async def test_commands_show_what_is_damaged(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    await parts.tokens.create("robot", scopes_of(Role.VIEWER))
    handle = (await parts.tokens.all())[0].handle
    await spoil_document(parts.documents, "token", handle, b"{")
    job = await parts.jobs.wait(await parts.jobs.start(ROOT, entry, Where(ip="::9"), expected=1), 5)
    await spoil_document(parts.documents, "job", job.id, b"{")
    await spoil_entry(parts.documents, entry.id, "at", "noon")

    async def run(code: int, *arguments: str) -> str:
        assert await commands.run(parts, make_parser().parse_args(arguments)) == code
        return capsys.readouterr().out

    assert "damaged: it is not valid JSON" in await run(0, "tokens")
    assert json.loads(await run(0, "tokens", "--json"))["damaged"] is True
    assert "damaged" in await run(0, "jobs")
    assert json.loads(await run(0, "jobs", "--json"))["state"] == "damaged"
    assert "damaged: at has the wrong type" in await run(0, "audit")
    assert json.loads((await run(0, "audit", "--json")).splitlines()[-1])["damaged"] is True
    assert f"Entry {entry.id} is damaged" in await run(1, "audit", "verify")
    assert "Removed" in await run(0, "cancel-job", job.id)
    assert "Revoked" in await run(0, "revoke-token", handle)
    assert "There are no API tokens." in await run(0, "tokens")
