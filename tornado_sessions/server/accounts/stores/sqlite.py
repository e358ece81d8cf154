"""``sqlite://``: accounts in the file of the sessions. It must not know sessions; only the file is shared."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
from typing_extensions import override

from tornado_sessions.damage import lenient_text
from tornado_sessions.drivers.sqlite import Database, DatabaseOptions, database_path
from tornado_sessions.server.accounts.errors import AlreadyTaken
from tornado_sessions.server.accounts.stores.base import AccountStore
from tornado_sessions.server.accounts.user import DamagedUser, User, key_of, user_of
from tornado_sessions.server.roles import Role

__all__ = ["SQLiteAccountStore"]

_MIGRATIONS = (
    (
        """CREATE TABLE accounts (
            name_key TEXT PRIMARY KEY, email_key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, email TEXT NOT NULL,
            role TEXT NOT NULL, password_hash TEXT NOT NULL, created_at REAL NOT NULL, password_changed_at REAL NOT NULL)""",
        "CREATE INDEX accounts_by_role ON accounts (role)",
    ),
    (
        "ALTER TABLE accounts ADD COLUMN blocked_until REAL",
        "ALTER TABLE accounts ADD COLUMN totp_secret TEXT",
        "ALTER TABLE accounts ADD COLUMN totp_step INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE accounts ADD COLUMN recovery TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE accounts ADD COLUMN revision INTEGER NOT NULL DEFAULT 0",
    ),
)
_FIELDS = User.__struct_fields__


class SQLiteAccountStore(AccountStore):
    """Accounts in an SQLite file.

    Args:
        options: which file, and how.
    """

    def __init__(self, options: DatabaseOptions) -> None:
        self._database = Database(options, component="accounts", migrations=_MIGRATIONS)

    @classmethod
    def from_url(cls, url: str) -> SQLiteAccountStore:
        """The store in the file that ``sqlite:///path`` names. Raises ``ConfigError``."""
        return cls(database_path(url))

    @override
    async def open(self) -> None:
        await self._database.open()

    @override
    async def close(self) -> None:
        await self._database.close()

    @override
    async def add(self, user: User) -> None:
        await self._database.write(lambda connection: _add(connection, user))

    @override
    async def get(self, name_key: str) -> User | DamagedUser | None:
        found = await self._users("name_key = ?", name_key)
        return found[0] if found else None

    async def _users(self, where: str, *values: object) -> list[User | DamagedUser]:
        # A key of another type than text cannot have been written by us, and pages could not go on behind it.
        sql = f"SELECT name_key, {', '.join(_FIELDS)} FROM accounts WHERE typeof(name_key) = 'text' AND {where}"
        found = await self._database.read(lambda connection: _rows(connection, sql, values))
        return [_user(row) for row in found if isinstance(row[0], str)]

    @override
    async def replace(self, user: User) -> bool:
        return await self._database.write(lambda connection: _replace(connection, user))

    @override
    async def remove(self, user: User) -> bool:
        sql, values = "DELETE FROM accounts WHERE name_key = ? AND revision = ?", (user.key, user.revision)
        return await self._database.write(lambda connection: connection.execute(sql, values).rowcount == 1)

    @override
    async def has_role(self, role: Role) -> bool:
        sql = "SELECT 1 FROM accounts WHERE role = ? LIMIT 1"
        return await self._database.read(
            lambda connection: connection.execute(sql, (role.value,)).fetchone() is not None
        )

    @override
    async def with_role(self, role: Role, limit: int) -> list[User | DamagedUser]:
        return await self._users("role = ? ORDER BY name_key LIMIT ?", role.value, limit)

    @override
    async def page(self, after: str, limit: int) -> list[User | DamagedUser]:
        return await self._users("name_key > ? ORDER BY name_key LIMIT ?", after, limit)


def _add(connection: sqlite3.Connection, user: User) -> None:
    # One writer at a time, so what is free here is free at the insert.
    if connection.execute("SELECT 1 FROM accounts WHERE name_key = ?", (user.key,)).fetchone():
        raise AlreadyTaken("username")
    _refuse_taken_email(connection, user)
    marks = ", ".join("?" * (2 + len(_FIELDS)))
    sql = f"INSERT INTO accounts (name_key, email_key, {', '.join(_FIELDS)}) VALUES ({marks})"
    connection.execute(sql, (user.key, key_of(user.email), *_values(user)))


def _replace(connection: sqlite3.Connection, user: User) -> bool:
    _refuse_taken_email(connection, user)
    sets = ", ".join(f"{field} = ?" for field in ("email_key", *_FIELDS))
    values = (key_of(user.email), *_values(user), user.key, user.revision - 1)
    return connection.execute(f"UPDATE accounts SET {sets} WHERE name_key = ? AND revision = ?", values).rowcount == 1


def _refuse_taken_email(connection: sqlite3.Connection, user: User) -> None:
    sql, values = "SELECT 1 FROM accounts WHERE email_key = ? AND name_key <> ?", (key_of(user.email), user.key)
    if connection.execute(sql, values).fetchone():
        raise AlreadyTaken("email")


def _values(user: User) -> tuple[Any, ...]:
    fields = msgspec.structs.asdict(user)
    return tuple({**fields, "role": user.role.value, "recovery": " ".join(user.recovery)}.values())


def _rows(connection: sqlite3.Connection, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    connection.text_factory = lenient_text
    return connection.execute(sql, values).fetchall()


def _user(row: tuple[Any, ...]) -> User | DamagedUser:
    key, *values = row
    fields = dict(zip(_FIELDS, values, strict=True))
    recovery = fields["recovery"]
    if not isinstance(recovery, str):
        return DamagedUser(key=key, why="recovery has the wrong type")
    return user_of(key, {**fields, "recovery": recovery.split()})
