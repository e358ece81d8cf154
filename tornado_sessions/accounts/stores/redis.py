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
        name = key_of(user.name)
        keys = [f"{self._base}n:{name}", f"{self._base}m:{key_of(user.email)}", f"{self._base}r:{user.role.value}"]
        keys.append(f"{self._base}names")
        taken = await self._client.run(_ADD, keys, [msgspec.json.encode(user), name])
        if taken:
            raise Taken(taken.decode())

    async def get(self, name_key: str) -> User | None:
        """As promised by ``AccountStore.get``."""
        stored = (await self._client.read([("GET", f"{self._base}n:{name_key}")]))[0]
        return msgspec.json.decode(stored, type=User) if stored is not None else None

    async def replace(self, user: User, *, expected_hash: str) -> bool:
        """As promised by ``AccountStore.replace``."""
        name = key_of(user.name)
        known = await self.get(name)
        if known is None:
            return False
        roles = [f"{self._base}r:{role.value}" for role in (known.role, user.role)]
        arguments = [expected_hash, msgspec.json.encode(user), name]
        return bool(await self._client.run(_REPLACE, [f"{self._base}n:{name}", *roles], arguments))

    async def has_role(self, role: Role) -> bool:
        """As promised by ``AccountStore.has_role``."""
        return bool((await self._client.read([("SCARD", f"{self._base}r:{role.value}")]))[0])

    async def page(self, after: str, limit: int) -> list[User]:
        """As promised by ``AccountStore.page``."""
        start = b"(" + after.encode() if after else b"-"
        command = ("ZRANGEBYLEX", f"{self._base}names", start, "+", "LIMIT", 0, limit)
        names = (await self._client.read([command]))[0]
        found = [await self.get(name.decode()) for name in names]
        return [user for user in found if user is not None]
