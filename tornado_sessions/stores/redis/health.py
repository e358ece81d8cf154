"""What INFO says about the servers of a store: settings that lose sessions, and facts that operators want to know.

It must not know connections or what is stored.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from tornado_sessions.messages import N_, Message
from tornado_sessions.stores.base import Diagnosis

__all__ = ["examine"]

#: Parts of the memory limit, and seconds of difference between clocks, from which there is a warning.
_FULL, _SKEW = 0.9, 1.0
_EVICTION = N_("maxmemory-policy is %s: a full server would drop live sessions; set it to noeviction")
_VERSION = N_("the server is Redis %s; 6.2 or later is needed")
_REPLICA = N_("the server is a replica (%s): it accepts no writes; use the address of its master, or its Sentinels")
_SAVE = N_("the last snapshot or AOF write failed (%s): Redis refuses writes until one succeeds; look for a full disk")
_AOF = N_("appendonly is off: a restart of the server loses what was stored since its last snapshot")
_CLOCK = N_("the server's clock differs by %s s; synchronise both clocks with NTP")
_MEMORY = N_("%s of the memory limit is used; raise maxmemory before the server refuses writes")
_EXPIRED = N_("the certificate %s has expired, on %s; renew it")
_EXPIRING = N_("the certificate %s expires on %s; renew it")
_VALID = N_("The certificate %s is valid until %s.")
#: Seconds before the end of a certificate from which there is a warning.
_RENEW = 21 * 86400.0
_FACTS = N_("Redis %s: %s, %s of memory used (limit %s), eviction %s, AOF %s, replicas: %s")


def examine(infos: Mapping[str, Mapping[str, Any]], ends: Sequence[tuple[str, datetime]] = ()) -> Diagnosis:
    """Return what the servers' settings risk.

    Args:
        infos: the INFO of each server, by ``host:port``; of a single server by ``""``.
        ends: until when certificates are valid, with the address or file of each.
    """
    faults, warnings, facts = list[Message](), list[Message](), list[Message]()
    for node, info in infos.items():
        on_node = f" ({node})" if node else ""
        faults += [Message(text, (value + on_node,)) for text, value in _faults(info, is_alone=not node)]
        warnings += [Message(text, (value + on_node,)) for text, value in _warnings(info)]
        facts.append(_facts(info, on_node))
    if not all(info.get("aof_enabled") for info in infos.values()):
        warnings.append(Message(_AOF))
    for name, end in ends:
        left = end.timestamp() - time.time()
        if left <= 0:
            faults.append(Message(_EXPIRED, (name, end)))
        elif left < _RENEW:
            warnings.append(Message(_EXPIRING, (name, end)))
        else:
            facts.append(Message(_VALID, (name, end)))
    return Diagnosis(faults, warnings, facts)


def _faults(info: Mapping[str, Any], *, is_alone: bool) -> Iterator[tuple[str, str]]:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        yield _EVICTION, policy
    version = str(info.get("redis_version", "6.2"))
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < (6, 2):
        yield _VERSION, version
    # In a cluster, replicas are part of the answer.
    if is_alone and info.get("role") == "slave":
        yield _REPLICA, f"{info.get('master_host', '')}:{info.get('master_port', '')}"
    for name in ("rdb_last_bgsave_status", "aof_last_write_status"):
        if info.get(name, "ok") != "ok":
            yield _SAVE, name


def _warnings(info: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if limit and used > _FULL * limit:
        yield _MEMORY, f"{used / limit:.0%}"
    at = info.get("server_time_usec")
    difference = abs(int(at) / 1e6 - time.time()) if at else 0.0
    if difference > _SKEW:
        yield _CLOCK, f"{difference:.1f}"


def _facts(info: Mapping[str, Any], on_node: str) -> Message:
    limit = str(info.get("maxmemory_human", "?")) if info.get("maxmemory") else "-"
    values = (
        str(info.get("redis_version", "?")) + on_node,
        str(info.get("role", "?")),
        str(info.get("used_memory_human", "?")),
        limit,
        str(info.get("maxmemory_policy", "?")),
        "on" if info.get("aof_enabled") else "off",
        str(info.get("connected_slaves", "?")),
    )
    return Message(_FACTS, values)
