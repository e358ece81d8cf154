"""``ServerSite``: the site of the server, with the pages of its accounts. It must not know handlers or templates."""

from __future__ import annotations

import hmac
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from typing_extensions import override

from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.web.site import Site

__all__ = ["Demo", "OnNewDevice", "ServerSite", "log_new_device"]

#: Called with the account, the IP address and the name of the device.
OnNewDevice = Callable[[User, str, str], Awaitable[None]]

logger = logging.getLogger("tornado_sessions.security")


class Demo(NamedTuple):
    """A server with made-up data, whose pages say so.

    Attributes:
        operator, password: who may sign in; shown on the sign-in page.
        prepare: fills the open stores, and returns what to await before they are closed.
    """

    operator: str
    password: str
    prepare: Callable[[Parts], Awaitable[Callable[[], Awaitable[None]]]]


async def log_new_device(user: User, ip: str, device: str) -> None:
    """Log a sign-in from a new device."""
    logger.info("%s signed in with a new device: %s from %s", user.name, device, ip)


@dataclass(kw_only=True)
class ServerSite(Site):
    """The objects that all handlers of the server share.

    Args:
        parts: the server's objects.
        on_new_device: see ``make_application``.
        demo: the operator of a demo; ``None`` for a server with real data.
        recovery_url: the page for people who have forgotten their password; empty while there is none.
        measured: how many passwords were measured lately, by IP address.
    """

    parts: Parts
    on_new_device: OnNewDevice = log_new_device
    demo: Demo | None = None
    recovery_url: str = ""
    measured: Counter[str] = field(default_factory=Counter)
    has_accounts = True

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        #: Signs sign-in tickets.
        key = self.sessions.config.keys("secret")[0]
        self.form_key = hmac.new(key.encode(), b"tornado_sessions ticket", sha256).digest()

    @override
    def names(self) -> Mapping[str, Any]:
        provider = {"open_id": self.parts.open_id, "oidc_only": self.parts.options.oidc_only}
        return {**super().names(), "demo": self.demo, "recovery_url": self.recovery_url, **provider}
