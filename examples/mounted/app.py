"""An application with its own users, and the dashboard below /ops. Run it, sign in as ada / correct horse, open /ops/."""

import asyncio
import hashlib
import hmac
import os
import sqlite3
import time
from typing import Any

import tornado.web

from tornado_sessions import SessionMixin, Sessions
from tornado_sessions.server import Dashboard, Person

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
  id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, salt BLOB NOT NULL, hash BLOB NOT NULL, role TEXT, blocked_until REAL
)
"""


class Users:
    """A table of users. SQLite answers such short queries faster than a thread could start."""

    def __init__(self, path: str) -> None:
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.row_factory = sqlite3.Row
        self.database.execute(SCHEMA)

    def add(self, name: str, password: str, role: str | None = None) -> int:
        salt = os.urandom(16)
        sql = "INSERT INTO users (name, salt, hash, role) VALUES (?, ?, ?, ?)"
        return self.database.execute(sql, (name, salt, hash_of(password, salt), role)).lastrowid or 0

    def of(self, user_id: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.database.execute("SELECT * FROM users WHERE id = ?", (user_id,)).fetchone()
        return row

    def named(self, name: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.database.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
        return row

    def starting_with(self, text: str, limit: int) -> list[sqlite3.Row]:
        sql = "SELECT * FROM users WHERE substr(name, 1, ?) = ? ORDER BY name LIMIT ?"
        return self.database.execute(sql, (len(text), text, limit)).fetchall()

    def block(self, user_id: str, until: float | None) -> None:
        self.database.execute("UPDATE users SET blocked_until = ? WHERE id = ?", (until, user_id))

    def is_blocked(self, user: sqlite3.Row) -> bool:
        return (user["blocked_until"] or 0) > time.time()


def hash_of(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def is_right(user: sqlite3.Row, password: str) -> bool:
    return hmac.compare_digest(hash_of(password, user["salt"]), user["hash"])


class People:
    """What the dashboard asks about the users."""

    def __init__(self, users: Users) -> None:
        self.users = users

    async def current(self, handler: Any) -> Person | None:
        return await self.get(handler.session.user) if handler.session.user else None

    async def get(self, user_id: str) -> Person | None:
        row = self.users.of(user_id)
        return person(row) if row else None

    async def search(self, text: str, limit: int) -> list[Person]:
        return [person(row) for row in self.users.starting_with(text, limit)]

    async def verify(self, handler: Any, password: str) -> bool:
        row = self.users.of(handler.session.user)
        return row is not None and await asyncio.to_thread(is_right, row, password)

    async def block(self, user_id: str, until: float | None) -> None:
        self.users.block(user_id, until)


def person(row: Any) -> Person:
    return Person(str(row["id"]), row["name"], row["role"], blocked_until=row["blocked_until"])


class Page(SessionMixin, tornado.web.RequestHandler):
    """The base of the application's handlers."""

    @property
    def users(self) -> Users:
        users: Users = self.settings["users"]
        return users


class Home(Page):
    @tornado.web.authenticated
    def get(self) -> None:
        self.write(f"Hello {tornado.web.escape.xhtml_escape(self.users.of(self.session.user)['name'])}")


class Login(Page):
    def get(self) -> None:
        self.write(
            f"<form method=post>{self.xsrf_form_html()}<input name=name><input name=password type=password>"
            f"<input name=next type=hidden value='{tornado.web.escape.xhtml_escape(self.get_argument('next', '/'))}'>"
            "<button>Sign in</button></form>"
        )

    async def post(self) -> None:
        user = self.users.named(self.get_argument("name"))
        password, following = self.get_argument("password", strip=False), self.get_argument("next", "/")
        if user is None or self.users.is_blocked(user) or not await asyncio.to_thread(is_right, user, password):
            raise tornado.web.HTTPError(403, reason="Wrong name or password")
        await self.log_in(str(user["id"]))
        # Only a path of this server: "//evil.example" would lead elsewhere.
        self.redirect(following if following.startswith("/") and following[1:2] not in ("/", "\\") else "/")


def make(users: Users, store: str = "sqlite:///mounted.db") -> tuple[tornado.web.Application, Dashboard]:
    """Return the application and its dashboard."""
    sessions = Sessions(store, secret="change me: at least 32 random characters")  # noqa: S106 - an example
    dashboard = Dashboard(sessions, people=People(users), prefix="/ops")
    application = tornado.web.Application(
        [("/", Home), ("/login", Login), *dashboard.routes()],
        sessions=sessions,
        users=users,
        login_url="/login",
        xsrf_cookies=True,
    )
    return application, dashboard


async def main() -> None:
    users = Users("mounted-users.db")
    if users.named("ada") is None:
        users.add("ada", "correct horse", "admin")
    application, dashboard = make(users)
    await dashboard.open()
    application.listen(8888, "127.0.0.1")
    try:
        await asyncio.Event().wait()
    finally:
        await dashboard.close()


if __name__ == "__main__":
    asyncio.run(main())
