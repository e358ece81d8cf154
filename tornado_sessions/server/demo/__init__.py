"""``server.py demo``: the server with made-up people and sessions in memory, to look at its pages.

It listens on this machine only, and everything is new at each start. It must not know routes or pages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tornado_sessions.errors import ConfigError
from tornado_sessions.server.accounts.password_rules import new_password
from tornado_sessions.server.demo.crowd import Crowd, place_of
from tornado_sessions.server.demo.history import fill, keep_tops_of_yesterday
from tornado_sessions.server.demo.life import Life
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.serve import serve
from tornado_sessions.server.web.server_site import Demo

__all__ = ["OPERATOR", "run"]

#: The name of the operator who may sign in.
OPERATOR = "demo"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def run(options: ServerOptions, sessions: int = 20_000) -> int:
    """Serve made-up data until a signal arrives.

    Args:
        options: the settings; those of stores, keys, processes and proxies are not used.
        sessions: the number of live sessions.

    Returns:
        The exit code.

    Raises:
        ConfigError: the server would listen on an address that other machines can reach.
    """
    if options.host not in _LOOPBACK:
        raise ConfigError("the demo has a published password: it listens on 127.0.0.1 only")
    password = new_password()
    own = {"store": "memory://", "users": None, "secret": (), "secret_file": None, "public_url": None}
    options = options.model_copy(update={**own, "processes": 1, "trusted_proxies": (), "drain_delay": 0.0})

    async def prepare(parts: Parts) -> Callable[[], Awaitable[None]]:
        crowd = Crowd(parts.sessions.clock())
        made = await fill(parts, crowd, sessions, OPERATOR, password)
        # The server has counted before there was anything.
        if (figures := await parts.census.figures(wait=10)) is not None:
            await keep_tops_of_yesterday(parts, crowd, figures.tops)
        return Life(parts, crowd, made).stop

    print(f"Made-up data in memory. Sign in as {OPERATOR} with the password {password}", flush=True)
    return serve(options, demo=Demo(OPERATOR, password, prepare), place=place_of)
