"""Accounts and leases on every kind of server, and accounts that other versions of the package have stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

import msgspec
import pytest
from support.urls import BACKENDS, KINDS, url_of

from tornado_sessions.server.accounts.document_users import DocumentUsers
from tornado_sessions.server.accounts.errors import AlreadyTaken
from tornado_sessions.server.accounts.repository import AccountRepository
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.documents import Document, DocumentStore, open_documents
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.roles import Role


class Theme(StrEnum):
    DARK = "dark"


class LaterUser(User, frozen=True, kw_only=True):
    """An account of a later version, with fields of types that not every database has."""

    theme: Theme = Theme.DARK
    devices: frozenset[str] = frozenset()
    quotas: dict[str, tuple[int, ...]] = msgspec.field(default_factory=dict)


def user(name: str, **fields: object) -> User:
    given = {"name": name, "email": f"{name}@example.org", "password_hash": "x", "created_at": 1.0}
    return User(**{**given, "password_changed_at": 1.0, "role": Role.VIEWER, **fields})  # type: ignore[arg-type]


@asynccontextmanager
async def opened(kind: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[DocumentStore]:
    store = open_documents(url_of(kind, request, folder))
    await store.open()
    yield store
    await store.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gen_test(timeout=60)
async def test_accounts_are_listed_and_changed_on_every_server(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async with opened(kind, request, tmp_path) as documents:
        accounts = AccountRepository(DocumentUsers(documents))
        for name in ("ada", "bob", "eve"):
            await accounts.add(user(name))
        for taken in (user("mallory", email="ADA@example.org"), user("ADA", email="free@example.org")):
            with pytest.raises(AlreadyTaken):
                await accounts.add(taken)
        assert [found.key for found in await accounts.page("ada", 10)] == ["bob", "eve"]
        assert [found.key for found in await accounts.page("", 2, role=Role.VIEWER)] == ["ada", "bob"]
        assert await accounts.get("nobody") is None
        changed = user("ada", role=Role.ADMIN, email="new@example.org", revision=2)
        assert await accounts.replace(changed)
        assert not await accounts.replace(changed)
        assert await accounts.get("ada") == changed
        assert [await accounts.has_role(role) for role in (Role.ADMIN, Role.OPERATOR)] == [True, False]
        await accounts.remove("bob", lambda _: None)
        assert [found.key for found in await accounts.page("", 10)] == ["ada", "eve"]


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.gen_test(timeout=60)
async def test_accounts_of_later_and_earlier_versions_can_be_read(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A new field of ``User`` needs a default and nothing else, whatever its type."""
    async with opened(kind, request, tmp_path) as documents:
        accounts = AccountRepository(DocumentUsers(documents))
        fields = msgspec.structs.asdict(user("ada"))
        later = LaterUser(**fields, devices=frozenset({"phone"}), quotas={"day": (1, 2)})
        assert await accounts.add(later) == later
        # Read and changed by this version, which keeps what it does not know.
        found = await accounts.get("ada")
        assert isinstance(found, User)
        assert msgspec.structs.replace(found, rest={}) == user("ada")
        made = await accounts.change("ada", lambda _: None, role=Role.ADMIN)
        assert msgspec.structs.replace(made, rest={}) == user("ada", role=Role.ADMIN, revision=2)
        # Read by the later version: what it stored itself, and what this one stored.
        assert await documents.put(
            "account", Document("eve", 1, msgspec.json.encode(msgspec.structs.replace(later, name="eve")))
        )
        for key in ("eve", "ada"):
            stored = await documents.get("account", key)
            assert stored is not None
            read = stored.read(LaterUser, "key")
            assert (read.theme, read.devices, read.quotas) == (later.theme, later.devices, later.quotas)
        # Fields that came with this version are missing in older records.
        old = {"name": "bob", "email": "b@example.org", "password_hash": "x", "created_at": 1, "password_changed_at": 1}
        assert await documents.put("account", Document("bob", 1, json.dumps(old).encode()))
        bob = await accounts.get("bob")
        assert isinstance(bob, User)
        assert (bob.role, bob.revision, bob.recovery) == (Role.USER, 1, ())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gen_test(timeout=60)
async def test_leases_are_kept_on_every_server(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    async with opened(kind, request, tmp_path) as documents:
        async with Leases(documents).hold("roles"):
            assert [found.body for found in await documents.page("lease")] == [b"held"]
        assert [found.body for found in await documents.page("lease")] == [b"free"]
