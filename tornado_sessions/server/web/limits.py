"""``Limits``: how much one process accepts from its clients, and ``raise_descriptor_limit``, which the default depends on.

It must not know sockets or HTTP.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

from tornado_sessions.errors import ConfigError

__all__ = ["Limits", "connections_for", "raise_descriptor_limit"]

# More descriptors than this serve no purpose in one process, and some programs walk through all of them.
_MAX_DESCRIPTORS = 65_536
# Kept for stores, templates, logs and the event loop, so that no page fails for want of a descriptor.
_RESERVED = 256
# An idle connection takes about 20 KB of memory; a person's browser opens about six.
_DEFAULT_CONNECTIONS = 4096


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one process. Times are in seconds.

    Args:
        connections: in all.
        requests: that handlers work on at the same time. A quarter as many again are kept for operators.
        header_time: from the connection, or from the first byte of a further request, to the end of the header.
        ahead_time: for pipelined requests to wait for their turn (see ``Admission.pace``). Their client is not slow, but one that
            sends thousands of them gets no answer to the last ones.
        body_time: from the end of the header to the end of the body.
        idle_time: between two requests. Longer than the minute for which nginx keeps its connections to a server: otherwise
            it would send a request just when we close.
        stall_time: during which the client takes no byte of the response.
        answer_time: for the client to take the whole finished response, however slowly.
        header_bytes, header_lines, body_bytes: the size of a request.
        is_secure: whether every client uses https, so that refusals may say so (HSTS), too.
    """

    connections: int = _DEFAULT_CONNECTIONS
    requests: int = 512
    header_time: float = 10.0
    ahead_time: float = 60.0
    body_time: float = 20.0
    idle_time: float = 75.0
    stall_time: float = 30.0
    answer_time: float = 300.0
    header_bytes: int = 16 * 1024
    header_lines: int = 100
    body_bytes: int = 64 * 1024
    is_secure: bool = False

    @property
    def connections_of_peer(self) -> int:
        """Connections of one address. The oldest idle one is closed for a new one, so people behind a NAT can still connect."""
        return max(1, self.connections // 4)

    @property
    def requests_of_client(self) -> int:
        """Requests of one address that handlers work on at the same time: one client cannot take all."""
        return max(1, self.requests * 3 // 4)

    @property
    def requests_with_operators(self) -> int:
        """Requests that handlers work on at the same time, if the last ones come from operators."""
        return self.requests + max(1, self.requests // 4)


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors as far as the system allows. Return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return min(_MAX_DESCRIPTORS, soft if soft != resource.RLIM_INFINITY else _MAX_DESCRIPTORS)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        # A sandbox may refuse it, and macOS allows less than its hard limit says.
        return soft
    return wanted


def connections_for(wanted: int | None, descriptors: int) -> int:
    """Return the maximum number of connections.

    Args:
        wanted: the setting; ``None``: as many as useful.
        descriptors: the limit of open descriptors.

    Raises:
        ConfigError: the setting leaves no descriptors for stores, templates and logs.
    """
    possible = descriptors - min(_RESERVED, descriptors // 2)
    if wanted is None:
        return min(_DEFAULT_CONNECTIONS, possible)
    if wanted > possible:
        raise ConfigError(
            f"max_connections: {wanted} is too many for {descriptors} file descriptors: at most {possible}; "
            "raise the limit of open files (LimitNOFILE in systemd, ulimit -n)"
        )
    return wanted
