"""``redis://``: accounts beside the sessions. All of them lie in one slot, so that names and addresses stay unique on a cluster.

It must not know sessions; only the server and the prefix are shared.
"""

from __future__ import annotations

import msgspec

from tornado_sessions.accounts.errors import Taken
from tornado_sessions.accounts.stores.base import AccountStore
from tornado_sessions.accounts.user import User, key_of
from tornado_sessions.pages import Role
from tornado_sessions.stores.redis.client import Client, Script
from tornado_sessions.stores.redis.url import ClientOptions, client_options

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

    async def open(self) -> None:
        """As promised by ``AccountStore.open``."""
        await self._client.open()
        await self.has_role(Role.OPERATOR)

    async def close(self) -> None:
        """As promised by ``AccountStore.close``."""
        await self._client.close()

    async def add(self, user: User) -> None:
        """As promised by ``AccountStore.add``."""
        taken = await self._client.run(_ADD, self._keys_of(user), [msgspec.json.encode(user), user.key])
        if taken:
            raise Taken(taken.decode())

    async def get(self, name_key: str) -> User | None:
        """As promised by ``AccountStore.get``."""
        stored = (await self._client.read([("GET", f"{self._base}n:{name_key}")]))[0]
        return msgspec.json.decode(stored, type=User) if stored is not None else None

    async def replace(self, user: User) -> bool:
        """As promised by ``AccountStore.replace``."""
        known = await self.get(user.key)
        if known is None or known.revision != user.revision - 1:
            return False
        keys = [*self._keys_of(known), *self._keys_of(user)[1:3]]
        arguments = [str(known.revision), user.key, msgspec.json.encode(user)]
        done = int(await self._client.run(_REPLACE, keys, arguments))
        if done < 0:
            raise Taken("email")
        return bool(done)

    async def remove(self, user: User) -> bool:
        """As promised by ``AccountStore.remove``."""
        return bool(await self._client.run(_REMOVE, self._keys_of(user), [str(user.revision), user.key]))

    def _keys_of(self, user: User) -> list[str]:
        """The account, its address, its role's names, all names."""
        address, role = key_of(user.email), user.role.value
        return [f"{self._base}{name}" for name in (f"n:{user.key}", f"m:{address}", f"r:{role}", "names")]

    async def has_role(self, role: Role) -> bool:
        """As promised by ``AccountStore.has_role``."""
        return bool((await self._client.read([("SCARD", f"{self._base}r:{role.value}")]))[0])

    async def with_role(self, role: Role, limit: int) -> list[User]:
        """As promised by ``AccountStore.with_role``; asked of the few that are staff."""
        names = (await self._client.read([("SMEMBERS", f"{self._base}r:{role.value}")]))[0]
        found = [await self.get(name.decode()) for name in sorted(names)[:limit]]
        return [user for user in found if user is not None]

    async def page(self, after: str, limit: int) -> list[User]:
        """As promised by ``AccountStore.page``."""
        start = b"(" + after.encode() if after else b"-"
        command = ("ZRANGEBYLEX", f"{self._base}names", start, "+", "LIMIT", 0, limit)
        names = (await self._client.read([command]))[0]
        found = [await self.get(name.decode()) for name in names]
        return [user for user in found if user is not None]
