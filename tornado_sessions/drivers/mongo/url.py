"""Read the options of a MongoDB client from a URL; refuse settings that would break a store's guarantees.

It must not know connections or what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pymongo.errors import ConfigurationError as DriverConfigError
from pymongo.errors import InvalidURI
from pymongo.uri_parser import parse_uri

from tornado_sessions.drivers.store_url import split_url
from tornado_sessions.errors import ConfigError
from tornado_sessions.messages import N_, Message

__all__ = ["ClientOptions", "client_options"]

# Unless the URL overrides them: outages are reported within seconds, and acknowledged writes are in a majority's journals.
_DEFAULTS = {
    "serverselectiontimeoutms": "3000",
    "connecttimeoutms": "2000",
    "sockettimeoutms": "4000",
    "w": "majority",
    "journal": "true",
}
#: Options with several names, and the name used here.
_ALIASES = {"j": "journal", "wtimeout": "wtimeoutms"}
#: The only options that a MongoDB URL may repeat.
_REPEATABLE = {"readpreferencetags", "authmechanismproperties"}
#: Settings that are allowed, and their risk.
_RISKS = {
    "journal=false": N_(
        "journal=false in the store's URL: a crash of the server loses acknowledged writes; use journal=true"
    ),
    "retrywrites=false": N_(
        "retryWrites=false in the store's URL: each failover fails the writes in progress; leave it on"
    ),
    "directconnection=true": N_(
        "directConnection=true in the store's URL: after a failover a secondary still shows ended sessions; leave it out"
    ),
}
_WEAK = N_("w=%s in the store's URL: acknowledged writes can be lost when the primary fails; use w=majority")


class ClientOptions(NamedTuple):
    """How to reach a MongoDB server.

    Attributes:
        url: the URL for the driver, without our own options.
        driver: ``motor`` or ``pymongo``.
        database: the name of the database.
        prefix: the start of our collections' names.
    """

    url: str
    driver: str
    database: str
    prefix: str

    @property
    def _query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query))

    @property
    def risks(self) -> list[Message]:
        """The risks of the chosen settings, one sentence each with the remedy."""
        query = self._query
        weak = [Message(_WEAK, (query["w"],))] if query["w"] != "majority" else []
        settings = {f"{name}={value}" for name, value in query.items()}
        return [*weak, *(Message(text) for setting, text in _RISKS.items() if setting in settings)]

    @property
    def socket_timeout_ms(self) -> int:
        """How long the driver waits for an answer, in milliseconds; 0 for no limit."""
        return int(self._query["sockettimeoutms"])

    def __repr__(self) -> str:
        return f"<{self.driver} {self.database}>"


def client_options(url: str) -> ClientOptions:
    """Read a MongoDB URL.

    Args:
        url: ``mongodb://host/database?…`` or ``mongodb+srv://…`` with MongoDB's own options, ``driver=`` and ``prefix=``.

    Raises:
        ConfigError: the URL has faults. The message lists all of them and never shows the password.
    """
    parts = split_url(url)
    given = [
        (_ALIASES.get(name.lower(), name.lower()), value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    options = dict(given)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    faults = [*_repeated([name for name, _ in given]), *_wrong(options)]
    if faults:
        raise ConfigError(*(f"{shown}: {fault}" for fault in faults))
    driver, prefix = options.get("driver", "motor"), options.get("prefix", "")
    theirs = [(name, value) for name, value in given if name not in ("driver", "prefix")]
    theirs += [(name, value) for name, value in _DEFAULTS.items() if name not in options]
    if options.get("fsync") == "true":
        # fsync includes waiting for the journal, and the driver refuses both options together.
        theirs.remove(("journal", "true"))
    path = parts.path if parts.path.strip("/") else "/tornado_sessions"
    if parts.scheme == "mongodb+srv" and ("," in parts.netloc or parts.netloc.rpartition("@")[2].count(":")):
        raise ConfigError(f"{shown}: mongodb+srv:// has one host and no port; DNS names the servers")
    plain = urlunsplit((parts.scheme, parts.netloc, path, urlencode(theirs), ""))
    try:
        # Check only the syntax: validating an srv URL would look up its address, which the driver does when it connects.
        is_srv = parts.scheme == "mongodb+srv"
        checked = urlencode([(name, value) for name, value in theirs if not (is_srv and name.startswith("srv"))])
        parse_uri(urlunsplit(("mongodb", parts.netloc, path, checked, "")), warn=False, validate=True)
    except (InvalidURI, DriverConfigError, OSError, ValueError) as error:
        raise ConfigError(f"{shown}: {error}") from None
    return ClientOptions(plain, driver, path.strip("/"), prefix)


def _repeated(names: list[str]) -> list[str]:
    """Return a fault for each repeated option: which value wins would depend on the driver."""
    counts = {name: names.count(name) for name in names if name not in _REPEATABLE}
    return [f"the option {name} occurs {count} times" for name, count in counts.items() if count > 1]


def _wrong(options: Mapping[str, str]) -> list[str]:
    """Return a fault for each setting with which a store cannot keep its guarantees."""
    w, level = options.get("w", "majority"), options.get("readconcernlevel", "local").lower()
    driver = options.get("driver", "motor")
    majority = "readConcernLevel=majority needs w=majority: otherwise reads can miss sessions that were just written"
    faults = {
        f"driver must be motor or pymongo, not {driver!r}": driver not in ("motor", "pymongo"),
        "options are separated by &, not by a semicolon": any(";" in value for value in options.values()),
        "w=0 acknowledges no writes: an ended session could stay live; use w=majority": _is_zero(w),
        "readPreference must be primary: a secondary may return sessions that have ended": (
            options.get("readpreference", "primary").lower() != "primary"
        ),
        f"readConcernLevel must be local or majority, not {level!r}": level not in ("local", "majority"),
        majority: level == "majority" and w != "majority",
        "fsync=true and journal cannot be combined; use journal=true": (
            options.get("fsync") == "true" and "journal" in options
        ),
    }
    for name in ("readpreferencetags", "maxstalenessseconds"):
        faults[f"{name} is for reads from secondaries; sessions are read from the primary"] = name in options
    return [fault for fault, is_wrong in faults.items() if is_wrong]


def _is_zero(w: str) -> bool:
    return "0" in w and not w.strip("+-0 ")
