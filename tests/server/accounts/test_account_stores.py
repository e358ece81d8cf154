"""Account stores and the dashboard's stores on every kind of server, not only on one of each back end."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.urls import KINDS, url_of

from tornado_sessions.server.accounts.errors import AlreadyTaken
from tornado_sessions.server.accounts.stores import open_account_store
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.stores import AuditQuery, Document, Entry, open_admin_store
from tornado_sessions.server.roles import Role


def user(name: str, **fields: object) -> User:
    given = {"name": name, "email": f"{name}@example.org", "password_hash": "x", "created_at": 1.0}
    return User(**{**given, "password_changed_at": 1.0, "role": Role.VIEWER, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gen_test(timeout=60)
async def test_accounts_are_listed_and_changed_on_every_server(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = open_account_store(url_of(kind, request, tmp_path))
    await store.open()
    for name in ("ada", "bob", "eve"):
        await store.add(user(name))
    with pytest.raises(AlreadyTaken):
        await store.add(user("mallory", email="ADA@example.org"))
    assert [found.key for found in await store.page("ada", 10)] == ["bob", "eve"]
    assert [found.key for found in await store.with_role(Role.VIEWER, 2)] == ["ada", "bob"]
    assert await store.get("nobody") is None
    assert await store.replace(user("ada", role=Role.ADMIN, email="new@example.org", revision=1))
    assert not await store.replace(user("ada", revision=1))
    assert await store.remove(user("bob"))
    assert [found.key for found in await store.page("", 10)] == ["ada", "eve"]
    await store.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gen_test(timeout=60)
async def test_entries_documents_counts_and_leases_are_kept_on_every_server(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = open_admin_store(url_of(kind, request, tmp_path))
    await store.open()
    for number in (1, 2, 3):
        assert await store.append(Entry(id=number, at=float(number), actor="root", act="cancel job"))
    assert [entry.id for entry in await store.entries(AuditQuery(act="cancel job"))] == [3, 2, 1]
    assert await store.forget_entries(10.0, 1) == 1
    assert await store.forget_entries(10.0, 10) == 1, "the newest stays"
    assert await store.put("job", Document("a", 1, b"{}"))
    assert await store.documents("job") == [Document("a", 1, b"{}")]
    minute = 30_000_000
    for _ in range(2):
        await store.add_tallies({(minute, "sign-ins"): 2, (minute + 60, "sign-ins"): 1}, 0)
    assert await store.tallies(minute) == {(minute, "sign-ins"): 4, (minute + 60, "sign-ins"): 2}
    async with Leases(store).hold("roles"):
        assert len(await store.documents("lease")) == 1
    await store.close()
