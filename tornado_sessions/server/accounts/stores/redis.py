"""``redis://``: accounts beside the sessions. All of them lie in one slot, so that names and addresses stay unique on a cluster.

It must not know sessions; only the server and the prefix are shared.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from typing_extensions import override

from tornado_sessions.damage import Unreadable, fields_of
from tornado_sessions.drivers.redis import Client, ClientOptions, Script, client_options
from tornado_sessions.server.accounts.errors import AlreadyTaken
from tornado_sessions.server.accounts.stores.base import AccountStore
from tornado_sessions.server.accounts.user import DamagedUser, User, key_of, user_of
from tornado_sessions.server.roles import Role

__all__ = ["RedisAccountStore"]

_ADD = Script(__package__, "add_account.lua")
_REPLACE = Script(__package__, "replace_account.lua")
_REMOVE = Script(__package__, "remove_account.lua")


class RedisAccountStore(AccountStore):
    """Accounts on a Redis or Valkey server.

    Args:
        options: which, and how.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._client = Client(options)
        self._base = options.prefix + "{accounts}:"

    @classmethod
    def from_url(cls, url: str) -> RedisAccountStore:
        """The store that a ``redis…://`` URL names. Raises ``ConfigError``."""
        return cls(client_options(url))

    @override
    async def open(self) -> None:
        await self._client.open()
        await self.has_role(Role.OPERATOR)

    @override
    async def close(self) -> None:
        await self._client.close()

    @override
    async def add(self, user: User) -> None:
        taken = await self._client.run(_ADD, self._keys_of(user), [msgspec.json.encode(user), user.key])
        if taken:
            raise AlreadyTaken(taken.decode())

    @override
    async def get(self, name_key: str) -> User | DamagedUser | None:
        found = await self._all_of([name_key.encode("utf-8", "surrogateescape")])
        return found[0] if found else None

    async def _all_of(self, names: Sequence[bytes]) -> list[User | DamagedUser]:
        """The accounts of these keys, those that are gone left out."""
        if not names:
            return []
        keys = [f"{self._base}n:".encode() + name for name in names]
        # MGET answers nil for a key of another type, where GET would fail; TYPE tells that from an account that is gone.
        stored, *kinds = await self._client.read([("MGET", *keys), *(("TYPE", key) for key in keys)])
        found = (_user(*one) for one in zip(names, stored, kinds, strict=True))
        return [user for user in found if user is not None]

    @override
    async def replace(self, user: User) -> bool:
        known = await self.get(user.key)
        if not isinstance(known, User) or known.revision != user.revision - 1:
            return False
        keys = [*self._keys_of(known), *self._keys_of(user)[1:3]]
        arguments = [str(known.revision), user.key, msgspec.json.encode(user)]
        done = int(await self._client.run(_REPLACE, keys, arguments))
        if done < 0:
            raise AlreadyTaken("email")
        return bool(done)

    @override
    async def remove(self, user: User) -> bool:
        return bool(await self._client.run(_REMOVE, self._keys_of(user), [str(user.revision), user.key]))

    def _keys_of(self, user: User) -> list[str]:
        """The account, its address, its role's names, all names."""
        address, role = key_of(user.email), user.role.value
        return [f"{self._base}{name}" for name in (f"n:{user.key}", f"m:{address}", f"r:{role}", "names")]

    @override
    async def has_role(self, role: Role) -> bool:
        return bool((await self._client.read([("SCARD", f"{self._base}r:{role.value}")]))[0])

    @override
    async def with_role(self, role: Role, limit: int) -> list[User | DamagedUser]:
        """Asked of the few that are staff."""
        names = (await self._client.read([("SMEMBERS", f"{self._base}r:{role.value}")]))[0]
        return await self._all_of(sorted(names)[:limit])

    @override
    async def page(self, after: str, limit: int) -> list[User | DamagedUser]:
        start = b"(" + after.encode("utf-8", "surrogateescape") if after else b"-"
        command = ("ZRANGEBYLEX", f"{self._base}names", start, "+", "LIMIT", 0, limit)
        names = (await self._client.read([command]))[0]
        return await self._all_of(names)


def _user(name: bytes, stored: bytes | None, kind: bytes) -> User | DamagedUser | None:
    # A name that is not UTF-8 stays one that ``page`` can go on behind.
    key = name.decode("utf-8", "surrogateescape")
    if stored is None:
        return None if kind == b"none" else DamagedUser(key=key, why="it is not a string")
    try:
        return user_of(key, fields_of(stored))
    except Unreadable as error:
        return DamagedUser(key=key, why=error.why)
