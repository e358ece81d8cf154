"""Checks of the contract of ``Users``, for a table of your own::

    from tornado_sessions.server.testing import USER_CHECKS

    @pytest.mark.parametrize("check", USER_CHECKS, ids=lambda check: check.__name__)
    def test_users(check, tmp_path):
        asyncio.run(check(Members(f"sqlite:///{tmp_path}/members.db")))

Each check takes an empty table. A failed one raises ``AssertionError``; no test framework is needed. It must not know any database.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from tornado_sessions.server.accounts.repository import changed
from tornado_sessions.server.accounts.user import User, key_of
from tornado_sessions.server.accounts.users import Users
from tornado_sessions.server.roles import Role

__all__ = ["USER_CHECKS"]

_AT_ONCE = 8
#: In the order of their keys.
_NAMES = ("ada", "Bob", "bobby", "eve", "Żółw", "李雷")


def _user(name: str, **fields: Any) -> User:
    made: dict[str, Any] = {"email": f"{name}@example.org", "password_hash": "x", "created_at": 1.5}
    return User(name=name, **{**made, "password_changed_at": 2.5, "language": "zh", **fields})


async def _added(users: Users, *names: str, **fields: Any) -> list[User]:
    made = []
    for name in names:
        user = _user(name, **fields)
        user_id = await users.add(user)
        assert isinstance(user_id, str), f"add returned {user_id!r} for a free name"
        made.append(msgspec.structs.replace(user, id=user_id))
    return made


async def check_a_user_is_found_by_id_name_and_email(users: Users) -> None:
    """A stored user is found by each of the three keys, complete, in upper and lower case."""
    full = {"totp_secret": "sealed", "recovery": ("a", "b"), "blocked_until": 99.25, "role": Role.VIEWER}
    [ada] = await _added(users, "Ada", email="Ada@Example.org", rest={"later": [1]}, **full)
    for found in (
        await users.get(ada.id),
        await users.named(key_of("ADA")),
        await users.with_email(key_of("ADA@example.ORG")),
    ):
        assert isinstance(found, User)
        assert msgspec.structs.replace(found, extra={}) == ada
    assert await users.named("ada@example.org") is None
    assert await users.with_email("ada") is None


async def check_an_unknown_user_is_none(users: Users) -> None:
    """An id that belongs to no user finds none and raises no error, whatever a client sends."""
    await _added(users, "ada")
    for unknown in ("nobody", "0", "-1", "1e3", "9" * 40, "²", "\x00", "' OR 1=1 --", "x" * 600, "\N{PILE OF POO}"):
        assert await users.get(unknown) is None
        assert await users.named(unknown) is None
        assert await users.with_email(unknown) is None


async def check_names_are_unique(users: Users) -> None:
    """A name that differs only in case is taken, and the account that has it is unchanged."""
    [ada] = await _added(users, "ada")
    assert await users.add(_user("ADA", email="other@example.org")) is None
    assert await users.get(ada.id) == msgspec.structs.replace(ada, extra=_extra(await users.get(ada.id)))


async def check_emails_are_unique(users: Users) -> None:
    """The same for emails, at registration and at a change."""
    ada, bob = await _added(users, "ada", "bob")
    assert await users.add(_user("eve", email="ADA@example.org")) is None
    assert await users.named("eve") is None
    assert not await users.replace(changed(bob, email="Ada@example.org"))
    found = await users.get(bob.id)
    assert isinstance(found, User)
    assert (found.email, found.revision, ada.email) == ("bob@example.org", 1, "ada@example.org")


async def check_of_racing_creates_one_wins(users: Users) -> None:
    """Of several registrations of one name or one email at once, exactly one is stored."""
    same_name = [users.add(_user("ada", email=f"{number}@example.org")) for number in range(_AT_ONCE)]
    assert len([made for made in await asyncio.gather(*same_name) if made is not None]) == 1
    same_email = [users.add(_user(f"user{number}", email="one@example.org")) for number in range(_AT_ONCE)]
    assert len([made for made in await asyncio.gather(*same_email) if made is not None]) == 1
    assert len(await _keys(users)) == 2


async def check_of_racing_changes_one_wins(users: Users) -> None:
    """Of several changes of one revision, exactly one is stored, so that none undoes another one."""
    [ada] = await _added(users, "ada")
    languages = [f"l{number}" for number in range(_AT_ONCE)]
    stored = await asyncio.gather(*(users.replace(changed(ada, language=language)) for language in languages))
    assert sorted(stored) == [False] * (_AT_ONCE - 1) + [True]
    found = await users.get(ada.id)
    assert isinstance(found, User)
    assert (found.language, found.revision) == (languages[stored.index(True)], 2)


async def check_a_change_needs_the_revision_before_it(users: Users) -> None:
    """Neither an old revision nor one from the future is replaced, and a missing user is not created."""
    [ada] = await _added(users, "ada")
    second = changed(ada, role=Role.ADMIN)
    assert await users.replace(second)
    assert not await users.replace(second)
    assert not await users.replace(msgspec.structs.replace(second, revision=9))
    await users.remove(second)
    assert not await users.replace(changed(second))
    assert await users.get(ada.id) is None


async def check_a_removal_needs_the_revision_that_was_read(users: Users) -> None:
    """A user changed since then is not removed; of two removals, one succeeds; the name is free afterwards."""
    [ada] = await _added(users, "ada")
    second = changed(ada, language="en")
    assert await users.replace(second)
    assert not await users.remove(ada)
    assert sorted(await asyncio.gather(users.remove(second), users.remove(second))) == [False, True]
    assert await users.named("ada") is None
    await _added(users, "ada")


async def _keys(users: Users, after: str = "", limit: int = 100, **filters: Any) -> list[str]:
    given = {"role": None, "is_blocked": False, "backwards": False, **filters}
    return [user.key for user in await users.page(after, limit, **given)]


async def check_users_are_listed_in_order(users: Users) -> None:
    """Pages come in the order of the keys' code points, in both directions, and end."""
    await _added(users, *reversed(_NAMES))
    keys = sorted(map(key_of, _NAMES))
    assert await _keys(users) == keys
    assert await _keys(users, "", 2) == keys[:2]
    assert await _keys(users, keys[1], 2) == keys[2:4]
    assert await _keys(users, keys[3], 2, backwards=True) == [keys[2], keys[1]]
    assert await _keys(users, keys[-1], 2) == []
    # A place between two keys, where nobody is.
    assert await _keys(users, "bob\x01", 1) == ["bobby"]


async def check_users_are_listed_by_role_and_block(users: Users) -> None:
    """Both filters, alone and together, and with the role that a user has now."""
    ada, bob, eve = await _added(users, "ada", "bob", "eve")
    assert await users.replace(changed(ada, role=Role.ADMIN, blocked_until=5.5))
    assert await users.replace(changed(bob, blocked_until=7.5))
    for given, expected in (
        ({"role": Role.ADMIN}, ["ada"]),
        ({"role": Role.USER}, ["bob", "eve"]),
        ({"is_blocked": True}, ["ada", "bob"]),
        ({"is_blocked": True, "role": Role.USER}, ["bob"]),
        ({"role": Role.OPERATOR}, []),
    ):
        assert await _keys(users, "", 10, **given) == expected, given
    assert eve.blocked_until is None


def _extra(user: object) -> dict[str, Any]:
    # A table may add values of its columns.
    return user.extra if isinstance(user, User) else {}


#: All checks. Each is a coroutine function of an empty table.
USER_CHECKS = (
    check_a_user_is_found_by_id_name_and_email,
    check_an_unknown_user_is_none,
    check_names_are_unique,
    check_emails_are_unique,
    check_of_racing_creates_one_wins,
    check_of_racing_changes_one_wins,
    check_a_change_needs_the_revision_before_it,
    check_a_removal_needs_the_revision_that_was_read,
    check_users_are_listed_in_order,
    check_users_are_listed_by_role_and_block,
)
