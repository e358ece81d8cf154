"""Operations work with any people: those of a host application, without accounts of ours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.clock import Clock
from support.people import fill_store

from tornado_sessions.server.operations.actions import Actions
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.errors import DamagedUser, NoSuchUser, NotPermitted
from tornado_sessions.server.operations.filters import read_view
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.people import Person
from tornado_sessions.server.operations.selections import OfUser
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

ROOT = Actor("7", "::1", Role.ADMIN)


class Employees:
    """The users of a host application, with numbers as user ids."""

    def __init__(self) -> None:
        self.by_id = {
            "7": Person("7", "Root", Role.ADMIN),
            "8": Person("8", "Ada"),
            "9": Person("9", "Broken", damage="unreadable"),
        }

    async def get(self, name: str) -> Person | None:
        return next((one for one in self.by_id.values() if name in (one.id, one.name)), None)

    async def with_role(self, role: Role) -> list[Person]:
        return [one for one in self.by_id.values() if one.role is role]

    async def set_role(self, user_id: str, role: Role) -> None:
        self.by_id[user_id] = replace(self.by_id[user_id], role=role)

    async def block(self, user_id: str, until: float | None) -> None:
        self.by_id[user_id] = replace(self.by_id[user_id], blocked_until=until)


@pytest.fixture
def url() -> str:
    return "memory://"


@pytest.fixture
def employees() -> Employees:
    return Employees()


@pytest.fixture
def actions(parts: Parts, employees: Employees) -> Actions:
    leases = Leases(parts.documents)
    return Actions(parts.sessions, employees, parts.tokens, parts.audit, parts.jobs, leases)


@pytest.mark.gen_test
async def test_a_name_means_the_sessions_of_its_user_id(actions: Actions, parts: Parts, employees: Employees) -> None:
    await fill_store(parts, 2, "192.0.2.7", user="8")
    view = await read_view(lambda name: "Ada" if name == "user" else "", employees, parts.suspects, 0.0)
    assert (await parts.sessions.count(view.where)).total == 2
    assert (await actions.end(ROOT, OfUser("Ada"))).ended == 2
    assert (await parts.audit.entries())[0].user == "8"


@pytest.mark.gen_test
async def test_a_block_ends_at_a_time(actions: Actions, parts: Parts, employees: Employees, clock: Clock) -> None:
    await actions.block(ROOT, "Ada", 3600)
    until = employees.by_id["8"].blocked_until
    assert until is not None
    assert 3590 < until - clock() <= 3600
    await actions.block(ROOT, "Ada", None)
    assert employees.by_id["8"].blocked_until is None


@pytest.mark.gen_test
async def test_a_role_changes_and_ends_the_sessions(actions: Actions, parts: Parts, employees: Employees) -> None:
    await fill_store(parts, 1, "192.0.2.7", user="8")
    await actions.set_role(ROOT, "Ada", Role.VIEWER)
    assert employees.by_id["8"].role is Role.VIEWER
    assert (await parts.sessions.count()).total == 0


@pytest.mark.gen_test
async def test_nobody_changes_their_own_role_by_another_of_their_names(actions: Actions, parts: Parts) -> None:
    for name in ("7", "Root"):
        with pytest.raises(NotPermitted):
            await actions.set_role(ROOT, name, Role.USER)
    assert await parts.audit.entries() == []


@pytest.mark.gen_test
async def test_a_missing_or_damaged_person_is_refused_and_nothing_is_recorded(actions: Actions, parts: Parts) -> None:
    for name, error in (("nobody", NoSuchUser), ("Broken", DamagedUser)):
        with pytest.raises(error):
            await actions.block(ROOT, name, 3600)
        with pytest.raises(error):
            await actions.set_role(ROOT, name, Role.VIEWER)
    assert await parts.audit.entries() == []
