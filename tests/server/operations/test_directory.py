"""The list of users, whatever the people behind it can do."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from support.browser import Browser
from support.people import make_operator

from tornado_sessions.server.operations.directory import Directory
from tornado_sessions.server.operations.people import PeopleQuery, Person
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

HOST = [Person("1", "ada", Role.ADMIN), Person("2", "adam"), Person("3", "eve")]


class OnlyGet:
    """People of a host application with the two required methods only."""

    async def get(self, name: str) -> Person | None:
        return next((person for person in HOST if name in (person.id, person.name)), None)

    async def with_role(self, role: Role) -> Sequence[Person]:
        return [person for person in HOST if person.role is role]

    async def set_role(self, user_id: str, role: Role) -> None:
        """Roles are not changed here."""

    async def block(self, user_id: str, until: float | None) -> None:
        """Nobody is blocked here."""


class AndSearch(OnlyGet):
    async def search(self, text: str, limit: int) -> Sequence[Person]:
        return [person for person in HOST if text in person.name][:limit]


@pytest.mark.gen_test
async def test_a_host_application_offers_what_its_people_can_do(parts: Parts) -> None:
    for people, text, expected in (
        (OnlyGet(), "", []),
        (OnlyGet(), "ada", ["ada"]),
        (OnlyGet(), "ad", []),
        (AndSearch(), "", []),
        (AndSearch(), "ad", ["ada", "adam"]),
    ):
        directory = Directory(people, parts.sessions, parts.audit)
        page = await directory.page(PeopleQuery(text))
        assert [member.person.name for member in page.members] == expected
        assert (directory.can_list, page.next_cursor, page.previous_cursor) == (False, None, None)


@pytest.mark.gen_test
async def test_a_list_of_users_has_their_sessions_and_last_sign_in(
    browser: Browser, other: Browser, operator: Browser, parts: Parts
) -> None:
    for name in ("ada", "bob"):
        await browser.register(name)
    await browser.log_in()
    await other.log_in()
    await make_operator(parts, operator, Role.VIEWER)
    answer = json.loads((await operator.get("/admin/api/users?limit=2")).body)
    found = {item["name"]: (item["sessions"], item["signed_in_at"] is not None) for item in answer["items"]}
    assert found == {"ada": (2, True), "bob": (0, False)}
    rest = json.loads((await operator.get(f"/admin/api/users?limit=2&cursor={answer['next_cursor']}")).body)
    assert [(item["name"], item["role"]) for item in rest["items"]] == [("root", "viewer")]
    back = json.loads((await operator.get(f"/admin/api/users?limit=2&cursor={rest['previous_cursor']}")).body)
    assert back["items"] == answer["items"]
    assert json.loads((await operator.get("/admin/api/users/ada")).body) == answer["items"][0]
    for wrong in ("limit=0", "limit=201", "limit=x", "role=boss", "state=new", "cursor=x"):
        assert (await operator.get(f"/admin/api/users?{wrong}")).code == 400, wrong
