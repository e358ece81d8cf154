"""``mongodb://``: accounts in a collection beside the sessions. It must not know sessions; only the database is shared.

Names and addresses are unique by two unique indexes; on a sharded cluster keep this collection unsharded, as it is by default.
"""

from __future__ import annotations

from typing import Any

import msgspec
from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError
from typing_extensions import override

from tornado_sessions.drivers.mongo import Client, ClientOptions, client_options, translated
from tornado_sessions.server.accounts.errors import AlreadyTaken
from tornado_sessions.server.accounts.stores.base import AccountStore
from tornado_sessions.server.accounts.user import DamagedUser, User, key_of, user_of
from tornado_sessions.server.roles import Role

__all__ = ["MongoAccountStore"]

_INDEXES = [
    IndexModel([("email_key", ASCENDING)], name="by_email", unique=True),
    IndexModel([("role", ASCENDING)], name="by_role"),
]


class MongoAccountStore(AccountStore):
    """Accounts in MongoDB.

    Args:
        options: where, and by which driver.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._client = Client(options)

    @classmethod
    def from_url(cls, url: str) -> MongoAccountStore:
        """The store that a ``mongodb…://`` URL names. Raises ``ConfigError``."""
        return cls(client_options(url))

    @property
    def _accounts(self) -> Any:
        return self._client.collection("accounts")

    @override
    async def open(self) -> None:
        await self._client.open()
        await translated(lambda: self._accounts.create_indexes(_INDEXES))

    @override
    async def close(self) -> None:
        await self._client.close()

    @override
    async def add(self, user: User) -> None:
        document = {"_id": key_of(user.name), "email_key": key_of(user.email), **_to_document(user)}
        try:
            await translated(lambda: self._accounts.insert_one(document))
        except DuplicateKeyError as error:
            taken = "email" if "email_key" in (error.details or {}).get("keyPattern", {}) else "username"
            raise AlreadyTaken(taken) from None

    @override
    async def get(self, name_key: str) -> User | DamagedUser | None:
        found = await translated(lambda: self._accounts.find_one({"_id": name_key}))
        return _to_user(found) if found is not None else None

    @override
    async def replace(self, user: User) -> bool:
        where = {"_id": user.key, "revision": user.revision - 1}
        sets = {"$set": {**_to_document(user), "email_key": key_of(user.email)}}
        try:
            done = await translated(lambda: self._accounts.update_one(where, sets))
        except DuplicateKeyError:
            raise AlreadyTaken("email") from None
        return bool(done.matched_count)

    @override
    async def remove(self, user: User) -> bool:
        where = {"_id": user.key, "revision": user.revision}
        return bool((await translated(lambda: self._accounts.delete_one(where))).deleted_count)

    @override
    async def has_role(self, role: Role) -> bool:
        return await translated(lambda: self._accounts.find_one({"role": role.value})) is not None

    @override
    async def with_role(self, role: Role, limit: int) -> list[User | DamagedUser]:
        found = await self._client.all_of("accounts", {"role": role.value}, sort=[("_id", 1)], limit=limit)
        return [_to_user(document) for document in found]

    @override
    async def page(self, after: str, limit: int) -> list[User | DamagedUser]:
        found = await self._client.all_of("accounts", {"_id": {"$gt": after}}, sort=[("_id", 1)], limit=limit)
        return [_to_user(document) for document in found]


def _to_user(found: dict[str, Any]) -> User | DamagedUser:
    return user_of(found["_id"], found)


def _to_document(user: User) -> dict[str, Any]:
    return {**msgspec.structs.asdict(user), "role": user.role.value, "recovery": list(user.recovery)}
