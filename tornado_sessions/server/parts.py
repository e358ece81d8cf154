"""``Parts``: everything that a server or a command works with, put together from options.

It must not know HTTP, flags or the environment; ``settings.py`` reads those.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tornado_sessions.codec import Codec
from tornado_sessions.config import SessionConfig
from tornado_sessions.drivers.sqlite import database_path
from tornado_sessions.errors import ConfigError
from tornado_sessions.manager import Sessions
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.accounts.setup import SetupLink
from tornado_sessions.server.accounts.stores import open_account_store
from tornado_sessions.server.accounts.throttle import Throttle
from tornado_sessions.server.operations.actions import Actions
from tornado_sessions.server.operations.activity import Activity
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.jobs import Jobs
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.security_events import Events
from tornado_sessions.server.operations.stores import open_admin_store
from tornado_sessions.server.operations.tokens import Tokens

__all__ = ["Parts", "ServerOptions", "build"]

#: How long the server remembers ended sessions: a week, in seconds.
KEEP_ENDED_FOR = 7 * 86400.0


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What the server is told.

    Args:
        store: URL of the session store.
        users: URL of the account store; ``None``: the same.
        secret: signing keys, newest first; empty: one is made and kept beside the data.
        idle_timeout, absolute_timeout, store_timeout: seconds.
        trusted_proxies: addresses or networks of proxies whose forwarding header counts; ``"unix:"`` is a unix socket.
        forwarded_header: the header that those proxies write, ``"X-Forwarded-For"`` or ``"Forwarded"``.
        keep_audit_for: seconds after which entries of the audit log are forgotten.
    """

    store: str = "sqlite:///data/sessions.db"
    users: str | None = None
    secret: Sequence[str] = field(default=(), repr=False)
    idle_timeout: float = 1800
    absolute_timeout: float = 43200
    store_timeout: float = 5
    trusted_proxies: Sequence[str] = ()
    forwarded_header: Literal["X-Forwarded-For", "Forwarded"] = "X-Forwarded-For"
    keep_audit_for: float = 365 * 86400.0


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that a server or a command works with."""

    sessions: Sessions
    accounts: Accounts
    audit: Audit
    tokens: Tokens
    jobs: Jobs
    activity: Activity
    actions: Actions
    events: Events
    setup: SetupLink

    async def open(self) -> None:
        """Open every store. Raises ``StoreError``."""
        await self.sessions.open()
        await self.accounts.open()
        await self.audit.open()

    async def start(self) -> None:
        """Begin what a server does besides answering: resume jobs, add up counts, forget old entries."""
        await self.jobs.open()
        await self.activity.open()
        await self.events.open()

    async def close(self) -> None:
        """Stop that, and close every store."""
        await self.events.close()
        await self.jobs.close()
        await self.activity.close()
        await self.sessions.close()
        await self.accounts.close()
        await self.audit.close()


def build(
    options: ServerOptions, *, passwords: Passwords | None = None, clock: Callable[[], float] = time.time
) -> Parts:
    """Make the parts; nothing is opened yet.

    Args:
        options: the server's.
        passwords: another hasher than the default, such as a cheap one for tests.
        clock: the time in UTC seconds.

    Raises:
        ConfigError: tells what is wrong with the options.
    """
    config = SessionConfig(
        secret=list(options.secret) or [_kept_secret(options.store)],
        idle_timeout=options.idle_timeout,
        absolute_timeout=options.absolute_timeout,
        store_timeout=options.store_timeout,
        trusted_proxies=options.trusted_proxies,
        forwarded_header=options.forwarded_header,
        rotate_after=900,
        # Over a weekend, so that what happened on Friday is found on Monday.
        keep_ended_for=KEEP_ENDED_FOR,
    )
    users = options.users or options.store
    sessions = Sessions(options.store, config=config, clock=clock)
    codec = Codec(config.keys("secret"))
    accounts = Accounts(open_account_store(users), passwords or Passwords(), Throttle(), codec, clock)
    admin_store = open_admin_store(users)
    audit = Audit(admin_store, clock, config.keys("secret"))
    tokens = Tokens(admin_store, clock)
    leases = Leases(admin_store)
    jobs = Jobs(sessions, audit, admin_store, clock)
    activity = Activity(sessions, admin_store, clock)
    events = Events(audit, options.keep_audit_for)
    sessions.on_theft, sessions.on_move = audit.suspect, events.moved
    sessions.on_ended = lambda many: activity.count("ended", many)
    return Parts(
        sessions=sessions,
        accounts=accounts,
        audit=audit,
        tokens=tokens,
        jobs=jobs,
        activity=activity,
        actions=Actions(sessions, accounts, tokens, audit, jobs, leases),
        events=events,
        setup=SetupLink(accounts, leases.hold),
    )


def _kept_secret(store: str) -> str:
    """The signing key of this installation, made at the first start and readable by its owner alone."""
    if store.startswith("memory:"):
        return secrets.token_urlsafe(48)
    folder = Path(database_path(store).path).parent if store.startswith("sqlite:") else Path("data")
    path = folder / "secret"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Made under another name and linked: whoever is second finds it whole, and uses the first one's.
        draft = folder / f".secret.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        kept = path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{path} cannot be made or read: {error.strerror}; give a secret") from None
    if not kept:
        raise ConfigError(f"{path} is empty; remove it, or give a secret")
    return kept
