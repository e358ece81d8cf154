"""A DNS server on the loopback, for names that only the tests know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import dns.asyncresolver
import dns.message
import dns.rdatatype
import dns.resolver
import dns.rrset
from typing_extensions import override

#: For a name and a type of record, such as ``("_mongodb._tcp.h.", "SRV")``: the text of its records.
Records = Mapping[tuple[str, str], list[str]]


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, records: Records) -> None:
        self.records = records

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    @override
    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        (asked,) = query.question
        kind = dns.rdatatype.to_text(asked.rdtype)
        if found := self.records.get((asked.name.to_text(), kind)):
            reply.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *found))
        self.transport.sendto(reply.to_wire(), addr)


@asynccontextmanager
async def resolving(records: Records) -> AsyncIterator[None]:
    """Answer the queries of dnspython in this process from these records."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Answers(records), ("127.0.0.1", 0))
    before = dns.resolver.default_resolver, dns.asyncresolver.default_resolver
    found = dns.resolver.Resolver(configure=False), dns.asyncresolver.Resolver(configure=False)
    for resolver in found:
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = transport.get_extra_info("sockname")[1]
        resolver.lifetime = 2
    dns.resolver.default_resolver, dns.asyncresolver.default_resolver = found  # type: ignore[assignment]
    try:
        yield
    finally:
        dns.resolver.default_resolver, dns.asyncresolver.default_resolver = before
        transport.close()
