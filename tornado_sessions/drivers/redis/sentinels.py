"""Sentinels whose error says why they report no master.

It must not know what is stored. redis-py's own error names only the class of the last error, so that a wrong certificate
or password looks like a server that is down.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.exceptions import AuthenticationError, RedisError
from typing_extensions import override

__all__ = ["Sentinels", "log_in_to_sentinel"]


class Sentinels(Sentinel):
    """The Sentinels of one or more masters."""

    @override
    async def discover_master(self, service_name: str) -> Any:
        """Return host and port of a master; raise ``MasterNotFoundError`` with the reason of each Sentinel."""
        try:
            return await super().discover_master(service_name)
        except MasterNotFoundError:
            reasons = await asyncio.gather(*(_reason(sentinel, service_name) for sentinel in list(self.sentinels)))
            raise MasterNotFoundError("; ".join(dict.fromkeys(reasons))) from None


async def _reason(sentinel: Any, service: str) -> str:
    try:
        known = await sentinel.sentinel_get_master_addr_by_name(service)
    except (RedisError, OSError) as error:
        return f"Sentinel: {error}"
    return f"the Sentinels report {service} as down" if known else f"the Sentinels know no master named {service}"


async def log_in_to_sentinel(connection: Any) -> None:
    """Authenticate with the server's password; retry without one, since Sentinels often have none."""
    try:
        await connection.on_connect()
    except AuthenticationError:
        connection.username = connection.password = None
        await connection.on_connect()
