"""The contract of tables of users: on our own, and on the table of the example; and that each check can fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typing_extensions import override

from examples.own_users.users import Members
from tornado_sessions.server import testing
from tornado_sessions.server.accounts.document_users import DocumentUsers
from tornado_sessions.server.accounts.errors import AlreadyTaken
from tornado_sessions.server.accounts.host_users import HostUsers
from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.accounts.users import Users
from tornado_sessions.server.documents import open_documents
from tornado_sessions.server.documents.memory import MemoryDocuments
from tornado_sessions.server.roles import Role
from tornado_sessions.server.testing import USER_CHECKS

Check = Callable[[Users], Awaitable[None]]


def named(check: Check) -> str:
    return check.__name__


class Quiet(DocumentUsers):
    """Our own table, answering ``None`` and ``False`` like one that does not know what is taken."""

    @override
    async def add(self, user: User) -> str | None:
        try:
            return await super().add(user)
        except AlreadyTaken:
            return None

    @override
    async def replace(self, user: User) -> bool:
        try:
            return await super().replace(user)
        except AlreadyTaken:
            return False


@pytest.mark.parametrize("check", USER_CHECKS, ids=named)
@pytest.mark.parametrize("kind", ["ours", "sqlalchemy"])
@pytest.mark.gen_test
async def test_a_table_of_users_keeps_the_contract(kind: str, check: Check, tmp_path: Path) -> None:
    if kind == "ours":
        documents = open_documents(f"sqlite:///{tmp_path}/users.db")
        await documents.open()
        await check(Quiet(documents))
        await documents.close()
        return
    members = Members(f"sqlite:///{tmp_path}/members.db")
    await check(members)
    members.engine.dispose()


class _Forgets(Quiet):
    """Adds a second user with the same name or email."""

    async def add(self, user: User) -> str | None:
        made = await super().add(user)
        while made is None:
            user = msgspec.structs.replace(user, name=user.name + "2", email="2" + user.email, id="")
            made = await super().add(user)
        return made


class _LastWriteWins(Quiet):
    async def replace(self, user: User) -> bool:
        now = await self.get(user.id)
        found = now.revision + 1 if isinstance(now, User) else 1
        return await super().replace(msgspec.structs.replace(user, revision=found))


class _RemovesAnything(Quiet):
    async def remove(self, user: User) -> bool:
        now = await self.get(user.id)
        await super().remove(now if isinstance(now, User) else user)
        return True


class _LosesFields(Quiet):
    async def get(self, user_id: str) -> User | DamagedUser | None:
        found = await super().get(user_id)
        return msgspec.structs.replace(found, recovery=()) if isinstance(found, User) else found


class _AnyKey(Quiet):
    async def get(self, user_id: str) -> User | DamagedUser | None:
        return await super().get("ada" if user_id == "0" else user_id)


class _AnyOrder(Quiet):
    async def page(self, after: str, limit: int, **given: Any) -> list[User | DamagedUser]:
        return sorted(await super().page(after, limit, **given), key=lambda user: -len(user.key))


class _NoFilter(Quiet):
    async def page(
        self, after: str, limit: int, *, role: Role | None, is_blocked: bool, backwards: bool
    ) -> list[User | DamagedUser]:
        return await super().page(after, limit, role=None, is_blocked=False, backwards=backwards)


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (_Forgets, {"names_are_unique", "emails_are_unique", "of_racing_creates_one_wins"}),
        (_LastWriteWins, {"of_racing_changes_one_wins", "a_change_needs_the_revision_before_it"}),
        (_RemovesAnything, {"a_removal_needs_the_revision_that_was_read"}),
        (_LosesFields, {"a_user_is_found_by_id_name_and_email"}),
        (_AnyKey, {"an_unknown_user_is_none"}),
        (_AnyOrder, {"users_are_listed_in_order"}),
        (_NoFilter, {"users_are_listed_by_role_and_block"}),
    ],
)
@pytest.mark.gen_test
async def test_each_check_catches_a_table_that_breaks_its_promise(broken: type[Quiet], caught_by: set[str]) -> None:
    for name in caught_by:
        check: Check = getattr(testing, f"check_{name}")
        with pytest.raises(AssertionError):
            await check(broken(MemoryDocuments()))


def test_the_kit_has_every_check() -> None:
    assert {name for name in vars(testing) if name.startswith("check_")} == set(map(named, USER_CHECKS))


@pytest.mark.gen_test
async def test_names_that_look_alike_are_refused_on_a_table_that_knows_nothing_of_looks(tmp_path: Path) -> None:
    now = 1000.0
    members, documents = Members(f"sqlite:///{tmp_path}/members.db"), MemoryDocuments()
    users = HostUsers(members, documents, 5.0, lambda: now)
    made = {"password_hash": "", "created_at": 1.0, "password_changed_at": 1.0}

    async def add(name: str) -> str | None:
        return await users.add(User(name=name, email=f"{len(name)}{ord(name[0])}@example.org", **made))  # type: ignore[arg-type]

    assert await add("paypal")
    for alike in ("paypaI", "pаypal"):
        with pytest.raises(AlreadyTaken):
            await add(alike)
    now += 3600
    with pytest.raises(AlreadyTaken):
        await add("paypaI")
    # The name is free again once its account is gone.
    found = await users.named("paypal")
    assert isinstance(found, User)
    assert await users.remove(found)
    assert await add("paypaI")
    members.engine.dispose()
