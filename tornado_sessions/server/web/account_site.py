"""``AccountSite``: a site with the pages of accounts. It must not know handlers or templates."""

from __future__ import annotations

import hmac
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from typing_extensions import override

from tornado_sessions.server.account_parts import AccountParts
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.web.site import Site

__all__ = ["AccountSite", "OnNewDevice", "log_new_device"]

#: Called with the account, the IP address and the name of the device.
OnNewDevice = Callable[[User, str, str], Awaitable[None]]

logger = logging.getLogger("tornado_sessions.security")


async def log_new_device(user: User, ip: str, device: str) -> None:
    """Log a sign-in from a new device."""
    logger.info("%s signed in with a new device: %s from %s", user.name, device, ip)


@dataclass(kw_only=True)
class AccountSite(Site):
    """The objects that all handlers share where people have accounts.

    Args:
        parts: the objects behind the pages.
        on_new_device: see ``make_application``.
        recovery_url: the page for people who have forgotten their password; empty while there is none.
        landing: the URL to which a sign-in leads, unless it was asked for by another page.
        leads_anywhere: whether a sign-in may lead to any page of this host, because the application is outside ``prefix``.
        measured: how many passwords were measured recently, by IP address.
    """

    parts: AccountParts
    on_new_device: OnNewDevice = log_new_device
    recovery_url: str = ""
    landing: str = ""
    leads_anywhere: bool = False
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
        provider = {"open_id": self.parts.open_id, "oidc_only": self.parts.oidc_only}
        names = {**super().names(), "recovery_url": self.recovery_url, **provider}
        return {**names, "home": self.landing} if self.landing else names
