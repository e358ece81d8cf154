"""The table of users of a shop, in SQLite by SQLAlchemy, as tornado_sessions asks for it."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Engine, Row, String, create_engine, delete, event, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tornado_sessions import StoreUnavailable
from tornado_sessions.server import Role, User

T = TypeVar("T")


class Base(DeclarativeBase):
    pass


class Member(Base):
    """The shop has had the first columns for years. The others are what its users need to sign in."""

    __tablename__ = "members"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    full_name: Mapped[str] = mapped_column(String(80), default="")
    plan: Mapped[str] = mapped_column(default="free")

    name_key: Mapped[str] = mapped_column(unique=True)
    email_key: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(default="user", index=True)
    blocked_until: Mapped[float | None] = mapped_column(index=True)
    revision: Mapped[int] = mapped_column(default=1)
    record: Mapped[str] = mapped_column(default="")
    former_password: Mapped[str] = mapped_column(default="")


#: The columns that ``User.restore`` takes, so that the shop may change them as well, with ``revision = revision + 1``.
COLUMNS = ("name", "email", "role", "blocked_until", "revision")


class Members:
    """Implements ``tornado_sessions.server.Users``. SQLAlchemy waits in threads."""

    def __init__(self, url: str) -> None:
        # Longer than any other process takes to write, shorter than ``store_timeout``.
        self.engine = create_engine(url, connect_args={"timeout": 4})
        event.listen(self.engine, "connect", write_ahead)
        Base.metadata.create_all(self.engine)

    async def run(self, work: Callable[[Session], T]) -> T:
        return await asyncio.to_thread(in_transaction, self.engine, work)

    async def get(self, user_id: str) -> Any:
        return await self._one(Member.id == int(user_id)) if user_id.isdecimal() and len(user_id) < 19 else None

    async def named(self, key: str) -> Any:
        return await self._one(Member.name_key == key)

    async def with_email(self, key: str) -> Any:
        return await self._one(Member.email_key == key)

    async def _one(self, condition: Any) -> Any:
        row = await self.run(lambda session: session.execute(_SELECT.where(condition)).one_or_none())
        return user_of(row) if row is not None else None

    async def add(self, user: User) -> str | None:
        def work(session: Session) -> str | None:
            made = session.execute(insert(Member).values(row_of(user)))
            return str(made.inserted_primary_key[0])

        try:
            return await self.run(work)
        except IntegrityError:
            return None

    async def replace(self, user: User) -> bool:
        stored = (Member.id == int(user.id)) & (Member.revision == user.revision - 1)
        try:
            return await self.run(lambda session: changed(session, update(Member).where(stored).values(row_of(user))))
        except IntegrityError:
            return False

    async def remove(self, user: User) -> bool:
        stored = (Member.id == int(user.id)) & (Member.revision == user.revision)
        return await self.run(lambda session: changed(session, delete(Member).where(stored)))

    async def page(
        self, after: str, limit: int, *, role: Role | None, is_blocked: bool, backwards: bool
    ) -> Sequence[Any]:
        query = _SELECT.where(Member.name_key < after if backwards else Member.name_key > after)
        if role is not None:
            query = query.where(Member.role == role.value)
        if is_blocked:
            query = query.where(Member.blocked_until.is_not(None))
        query = query.order_by(Member.name_key.desc() if backwards else Member.name_key).limit(limit)
        return [user_of(row) for row in await self.run(lambda session: session.execute(query).all())]

    async def is_former_password(self, user: User, password: str) -> bool:
        """Optional: members who signed in before keep their passwords, which the shop hashed in another way."""
        former = select(Member.former_password).where(Member.id == int(user.id))
        stored = await self.run(lambda session: session.scalar(former))
        return bool(stored) and await asyncio.to_thread(is_right, stored, password)

    async def plan_of(self, user_id: str) -> str | None:
        """What the pages of the shop ask for."""
        return await self.run(lambda session: session.scalar(select(Member.plan).where(Member.id == int(user_id))))


_SELECT = select(Member.id, Member.record, Member.full_name, *(getattr(Member, name) for name in COLUMNS))


def user_of(row: Row[Any]) -> Any:
    columns = {name: getattr(row, name) for name in COLUMNS}
    return User.restore(row.record, id=str(row.id), extra={"full_name": row.full_name}, **columns)


def row_of(user: User) -> dict[str, Any]:
    values = {name: getattr(user, name) for name in COLUMNS}
    # Once the record has a hash, the one from before is not needed any more.
    if user.password_hash:
        values["former_password"] = ""
    keys = {"name_key": user.key, "email_key": user.email_key, "role": user.role.value, "record": user.record}
    return {**values, **keys, "full_name": user.extra.get("full_name", "")}


def former_hash(password: str, salt: bytes) -> str:
    return f"{salt.hex()}${hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1).hex()}"


def is_right(stored: str, password: str) -> bool:
    return hmac.compare_digest(former_hash(password, bytes.fromhex(stored.partition("$")[0])), stored)


def changed(session: Session, statement: Any) -> bool:
    result: Any = session.execute(statement)
    return bool(result.rowcount)


def in_transaction(engine: Engine, work: Callable[[Session], T]) -> T:
    try:
        with Session(engine) as session, session.begin():
            return work(session)
    except IntegrityError:
        raise
    except DBAPIError as error:
        # The pages answer 503, and nobody is signed out.
        raise StoreUnavailable("members", type(error.orig).__name__) from error


def write_ahead(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
