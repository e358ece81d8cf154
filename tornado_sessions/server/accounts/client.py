"""``Client``: where an attempt comes from, and the networks that it counts for.

It must not know limits, accounts or HTTP.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import NamedTuple

from tornado_sessions.proxies import plain_address

__all__ = ["Client", "Network"]


class Network(NamedTuple):
    """A network of a client.

    Attributes:
        prefix: its address and length.
        share: how many times as much as a single customer it may use.
    """

    prefix: str
    share: int


#: Lengths of prefixes, narrowest first, with their shares. A provider gives a customer an IPv4 address or an IPv6 /64, /56 or
#: /48; a mobile provider takes the /64 of many customers from one /48, and an IPv4 /24 has up to 256 customers.
_LEVELS = {4: ((32, 1), (24, 16)), 6: ((64, 1), (56, 4), (48, 16))}
#: Everybody behind a proxy on a unix socket that is not trusted, or with an address that cannot be read.
_UNKNOWN = (Network("unknown", 20),)


class Client:
    """Where an attempt comes from.

    Args:
        ip: the address of the client; an empty string if it is unknown.
        devices: the value of the cookie that names known devices; see ``Devices``.
        session: the key of the account and the handle of the session that sent the request, if a user is signed in.
        language: the code of the language of the request; empty if it is unknown.
    """

    def __init__(
        self, ip: str = "", *, devices: str = "", session: tuple[str, str] | None = None, language: str = ""
    ) -> None:
        self.language = language
        self.devices = devices
        self.session = session
        #: The networks that the client belongs to, narrowest first.
        self.networks = _networks(ip)
        self._callbacks: list[Callable[[], None]] = []

    @classmethod
    def of(cls, client: Client | str) -> Client:
        """Return a client; an address alone means an unknown device."""
        return client if isinstance(client, Client) else cls(client)

    def on_leave(self, callback: Callable[[], None]) -> None:
        """Call a function when the client disconnects."""
        self._callbacks.append(callback)

    def leave(self) -> None:
        """Cancel everything that waits on behalf of this client, because it has disconnected."""
        for callback in self._callbacks:
            callback()


def _networks(ip: str) -> tuple[Network, ...]:
    try:
        address = ipaddress.ip_address(plain_address(ip))
    except ValueError:
        return _UNKNOWN
    return tuple(
        Network(str(ipaddress.ip_network((address, length), strict=False)), share)
        for length, share in _LEVELS[address.version]
    )
