"""Take over the sessions of an application of Express: read the settings, and match its users with accounts.

It must not know HTTP, or how Express stores its sessions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from typing_extensions import override

from tornado_sessions.errors import ConfigError, StoreError
from tornado_sessions.server.accounts.names import check_name
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.accounts.user import User, key_of
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.takeover import Express, ForeignSession

__all__ = ["TakenOverUsers", "check_express", "express_of"]

logger = logging.getLogger("tornado_sessions")

_SCHEME = "express+"
# What pages of this server store in a session.
_OURS = frozenset({"notice", "oidc", "proved_at", "proved_with_code", "token_made"})


def express_of(options: ServerOptions) -> Express | None:
    """Return the takeover of the settings, or ``None``. Raises ``ConfigError``."""
    if not options.takeover:
        return None
    if not options.takeover.startswith(_SCHEME):
        raise ConfigError(
            "--takeover must be express+ and the URL of Express' store: express+redis://… or express+mongodb://…"
        )
    if not options.takeover_secret_file:
        raise ConfigError("--takeover needs --takeover-secret-file, a file with the secrets of express-session")
    path = Path(options.takeover_secret_file)
    try:
        secrets = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not a text file'}"
        ) from None
    if not secrets:
        raise ConfigError(f"{path} is empty; write the secrets of express-session into it, one a line")
    url = options.takeover.removeprefix(_SCHEME)
    return _ServerExpress(
        url, secret=secrets, cookie_name=options.takeover_cookie, user_key=options.takeover_user_key or None
    )


async def check_express(express: Express, now: float) -> None:
    """Log a warning if the store of Express cannot be read. It may only be down for now, so the server starts.

    Raises:
        ConfigError: its settings cannot work.
    """
    try:
        await express.open()
        await express.read("none", now)
    except StoreError as error:
        logger.warning("users of Express get 503 until its store can be read: %s", error)


class _ServerExpress(Express):
    """Leaves out values with keys of this server: they would count as our own, such as when the password was given.

    Here a user's id is a username, so ``find_user`` also says who may still come in.
    """

    @override
    async def read(self, session_id: str, now: float) -> ForeignSession | None:
        found = await super().read(session_id, now)
        if found is None:
            return None
        return found._replace(values={key: value for key, value in found.values.items() if key not in _OURS})

    @override
    async def admits(self, user: str) -> bool:
        return self.find_user is None or await self.find_user(user) is not None


class TakenOverUsers:
    """Finds the user id of a user of Express.

    Args:
        accounts: the accounts of this server.
        clock: returns the time in UTC seconds.
    """

    def __init__(self, accounts: Accounts, clock: Callable[[], float]) -> None:
        self._accounts = accounts
        self._clock = clock

    async def find(self, name: str) -> str | None:
        """Return the user id for a username of Express; ``None`` for a user who must sign in here.

        A session may enter only an account that an operator has created for this person: a user who registers the same name on
        the other system may be someone else. Staff, users with two-step verification and those of an OpenID provider must sign
        in, because Express has proved neither their password nor their second step to us. Blocked users must sign in as well.
        """
        found = await self._accounts.look_up_named(name)
        if found is None:
            # Not imported yet. When an account of this name is made, sessions of the name end.
            return key_of(name) if check_name(key_of(name), by_operator=False) is None else None
        if not isinstance(found, User) or not found.is_vouched or found.issuer or found.has_two_steps:
            return None
        return None if found.role.is_staff or found.is_blocked(self._clock()) else found.name
