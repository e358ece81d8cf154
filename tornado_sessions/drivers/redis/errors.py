"""Translate redis-py's errors into ``StoreError``, each with its remedy where one is known.

It must not know connections or what is stored. Servers and OpenSSL word the same fault in several ways, so faults are
recognised by parts of their text.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import (
    AuthenticationError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from tornado_sessions.errors import StoreDenied, StoreError, StoreMismatch, StoreUnavailable

__all__ = ["CONNECTION_CUT", "UNNAMED_PERMISSION", "WritesRefused", "error_of", "translated"]

T = TypeVar("T")

#: An error of a connection that the server accepted and then closed.
CONNECTION_CUT = re.compile("reset by peer|closed by server|broken pipe", re.IGNORECASE)
#: Part of an error that does not say which permission is missing.
UNNAMED_PERMISSION = "the user lacks a permission"

_REFUSES_WRITES = re.compile(r"\b(READONLY|MISCONF|OOM|NOREPLICAS)\b")
# redis-py's Sentinel client turns READONLY into a connection error with this text, so that it asks the Sentinels again.
_DEMOTED = "previous master is now a slave"
# A pipeline quotes the whole command, with its binary arguments.
_OF_PIPELINE = re.compile(r"^Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
# What follows is the hash of the script and a line number.
_OF_SCRIPT = re.compile(r"(?<!failure in) script:.*|,? on @user_script.*", re.DOTALL)

_DENIED = re.compile(r"NOPERM|no permissions?|ACL failure|user executing the script", re.IGNORECASE)
_COMMAND = re.compile(r"'([a-z]+)(?:\|[a-z-]+)?' command")
#: Words of an error, and the permission that is missing, unless the error names a command.
_OBJECTS = (("channel", "&PREFIX*"), ("key", "~PREFIX*"))
#: For each permission, the commands that need it.
_PERMISSIONS = {
    "+@read": "get mget type exists pttl zcount zlexcount zrangebylex zrevrangebylex zrangebyscore hget hlen hkeys",
    "+@write": "set setnx del unlink persist pexpire rename zadd zrem hset hdel",
    "+@scripting": "eval evalsha",
    "+@pubsub": "publish subscribe unsubscribe",
    "+@connection": "select ping client hello readonly asking",
    "+info": "info",
    "+cluster": "cluster",
}
_PERMISSION_OF = {command: word for word, commands in _PERMISSIONS.items() for command in commands.split()}
_ALL = "~PREFIX* &PREFIX* +@read +@write +@scripting +@pubsub +@connection +info +cluster"

_LOGIN = "write redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST"
#: Faults of TLS and of the login, by a part of the text, and their remedies.
_REMEDIES = [
    (re.compile(pattern, re.IGNORECASE), remedy)
    for pattern, remedy in (
        ("certificate has expired", "renew the server's certificate"),
        ("certificate is not yet valid", "compare the clocks of this host and the server"),
        (
            "(hostname|IP address) mismatch",
            "use a host that the server's certificate names, or add this one to its subjectAltName",
        ),
        (
            "self.signed certificate|unable to get (local )?issuer|certificate signature failure",
            "set ssl_ca_certs to the certificate of the authority that signed the server's certificate",
        ),
        (
            "certificate.required|alert.(unknown.ca|bad.certificate|certificate.expired|handshake.failure)",
            "the server asks for a client certificate: set ssl_certfile and ssl_keyfile to one that its authority signed",
        ),
        ("wrong.version.number|record.layer.failure", "this port does not use TLS: write redis instead of rediss"),
        (
            r"Error (2|13) connecting to [^/]*:\d",
            "can the files of ssl_ca_certs, ssl_certfile and ssl_keyfile still be read?",
        ),
        ("cluster mode is not enabled", "write redis instead of redis+cluster, unless the user lacks +cluster"),
        ("WRONGPASS|NOAUTH|Authentication required|invalid username-password|without any password", _LOGIN),
    )
]


class WritesRefused(StoreUnavailable):
    """The server answers but accepts no writes: it is a replica, is full, cannot save, or has too few replicas."""


async def translated(call: Callable[[], Awaitable[T]]) -> T:
    """Await a call of redis-py, translating its errors.

    Raises:
        WritesRefused: the server answers, but accepts no writes.
        StoreDenied: the server refuses the user, the password or the permissions.
        StoreUnavailable: the call failed for another reason, but may succeed later.
        StoreMismatch: it will not: a key is damaged or belongs to other software.
    """
    try:
        return await call()
    except StoreError:
        raise
    except (ReadOnlyError, OutOfMemoryError) as error:
        raise WritesRefused("redis", _shortened(str(error))) from None
    except (AuthenticationError, ResponseError) as error:
        raise error_of(str(error)) from None
    # AttributeError: while the topology of a cluster changes, redis-py drops connections that are still in use.
    # TypeError, ValueError, LookupError: redis-py does not validate replies to its own commands.
    except (RedisError, RedisClusterException, OSError, AttributeError, TypeError, ValueError, LookupError) as error:
        if _DEMOTED in str(error):
            raise WritesRefused("redis", str(error)) from None
        raise _with_remedy(str(error) or type(error).__name__) from None


def error_of(message: str) -> StoreError:
    """Return the exception for a server's error message.

    ``WRONGTYPE`` (a key belongs to other software) and ``MISMATCH`` (a script has read damaged data) are permanent.
    """
    if "WRONGTYPE" in message or "MISMATCH" in message:
        return StoreMismatch("redis", _shortened(message))
    if _REFUSES_WRITES.search(message):
        return WritesRefused("redis", _shortened(message))
    return _with_remedy(message)


def _with_remedy(message: str) -> StoreUnavailable:
    text = _shortened(message)
    if _DENIED.search(message):
        return StoreDenied("redis", f"{text} ({_missing_permission(message)})")
    remedy = next((remedy for pattern, remedy in _REMEDIES if pattern.search(message)), "")
    kind = StoreDenied if remedy is _LOGIN else StoreUnavailable
    return kind("redis", f"{text} ({remedy})" if remedy else text)


def _missing_permission(message: str) -> str:
    """Return which word the user of an ACL lacks."""
    command = _COMMAND.search(message)
    missing = _PERMISSION_OF.get(command[1]) if command else None
    if missing is None and command is None:
        missing = next((permission for word, permission in _OBJECTS if word in message), None)
    if missing is not None:
        return f"the user lacks {missing}"
    return f"{UNNAMED_PERMISSION}; it needs {_ALL}"


def _shortened(message: str) -> str:
    return _OF_SCRIPT.sub("", _OF_PIPELINE.sub("", message))[:400]
