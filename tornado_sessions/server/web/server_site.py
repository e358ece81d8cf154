"""``ServerSite``: the site of the server. It must not know handlers or templates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from typing_extensions import override

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.web.account_site import AccountSite

__all__ = ["Demo", "ServerSite"]


class Demo(NamedTuple):
    """A server with made-up data, whose pages say so.

    Attributes:
        operator, password: who may sign in; shown on the sign-in page.
        prepare: fills the open stores, and returns what to await before they are closed.
    """

    operator: str
    password: str
    prepare: Callable[[Parts], Awaitable[Callable[[], Awaitable[None]]]]


@dataclass(kw_only=True)
class ServerSite(AccountSite):
    """The objects that all handlers of the server share.

    Args:
        parts: the server's objects.
        demo: the operator of a demo; ``None`` for a server with real data.
    """

    parts: Parts
    demo: Demo | None = None

    @override
    def names(self) -> Mapping[str, Any]:
        return {**super().names(), "demo": self.demo}
