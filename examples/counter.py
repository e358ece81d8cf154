"""A minimal application: count visits in a session, stored in an SQLite file in the working directory."""

import asyncio

import tornado.web

from tornado_sessions import SessionMixin, Sessions


class Home(SessionMixin, tornado.web.RequestHandler):
    def get(self) -> None:
        visits = self.session.increment("visits")
        self.write(f"You have been here {visits} times.")


async def main() -> None:
    sessions = Sessions("sqlite:///counter.db", secret="change me: at least 32 random characters")  # noqa: S106 - an example
    tornado.web.Application([("/", Home)], sessions=sessions).listen(8888, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
