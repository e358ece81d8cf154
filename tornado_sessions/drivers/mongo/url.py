"""Options of a MongoDB client, read from a URL; settings that break what a store promises are refused.

It must not know what is stored, and makes no connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pymongo.errors import ConfigurationError as DriverConfigError
from pymongo.errors import InvalidURI
from pymongo.uri_parser import parse_uri

from tornado_sessions.errors import ConfigError
from tornado_sessions.messages import N_, Message

__all__ = ["ClientOptions", "client_options"]

# An outage is reported within seconds, and an acknowledged write is in the journal of the majority, unless the URL says otherwise.
_DEFAULTS = {
    "serverselectiontimeoutms": "3000",
    "connecttimeoutms": "2000",
    "sockettimeoutms": "4000",
    "w": "majority",
    "journal": "true",
}
#: Options that the driver accepts under several names.
_ALIASES = {"j": "journal", "wtimeout": "wtimeoutms"}
#: The only options that MongoDB lets a URL repeat.
_REPEATABLE = {"readpreferencetags", "authmechanismproperties"}
#: What a setting can cost where it is a choice.
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
        url: for the driver, without our own options.
        driver: ``motor`` or ``pymongo``.
        database: name of the database.
        prefix: the beginning of our collections' names.
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
        """What the chosen settings can cost, one sentence each with the remedy."""
        query = self._query
        weak = [Message(_WEAK, (query["w"],))] if query["w"] != "majority" else []
        settings = {f"{name}={value}" for name, value in query.items()}
        return [*weak, *(Message(text) for setting, text in _RISKS.items() if setting in settings)]

    @property
    def socket_timeout_ms(self) -> int:
        """Milliseconds that the driver waits for an answer."""
        return int(self._query["sockettimeoutms"])

    def __repr__(self) -> str:
        return f"<{self.driver} {self.database}>"


def client_options(url: str) -> ClientOptions:
    """Read a MongoDB URL.

    Args:
        url: ``mongodb://host/database?…`` or ``mongodb+srv://…`` with MongoDB's own options, ``driver=`` and ``prefix=``.

    Raises:
        ConfigError: lists every fault; it never shows the password.
    """
    parts = urlsplit(url)
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
        # fsync waits for the journal as well, and the driver refuses the two together.
        theirs.remove(("journal", "true"))
    path = parts.path if parts.path.strip("/") else "/tornado_sessions"
    plain = urlunsplit((parts.scheme, parts.netloc, path, urlencode(theirs), ""))
    try:
        # The driver resolves an srv address when it connects; only the form is checked here.
        parse_uri(plain.replace("mongodb+srv://", "mongodb://", 1), warn=False, validate=True)
    except (InvalidURI, DriverConfigError, ValueError) as error:
        raise ConfigError(f"{shown}: {error}") from None
    return ClientOptions(plain, driver, path.strip("/"), prefix)


def _repeated(names: list[str]) -> list[str]:
    """Options that the URL repeats; which of them counts would be up to the driver."""
    counts = {name: names.count(name) for name in names if name not in _REPEATABLE}
    return [f"the option {name} is there {count} times" for name, count in counts.items() if count > 1]


def _wrong(options: Mapping[str, str]) -> list[str]:
    """Settings under which no server could keep what a store promises."""
    w, level = options.get("w", "majority"), options.get("readconcernlevel", "local").lower()
    driver = options.get("driver", "motor")
    majority = "readConcernLevel=majority needs w=majority: a session could not be read right after it was written"
    faults = {
        f"driver is motor or pymongo, not {driver!r}": driver not in ("motor", "pymongo"),
        "options are separated by &, not by a semicolon": any(";" in value for value in options.values()),
        "w=0 acknowledges nothing: a session that was ended could live on; use w=majority": _is_zero(w),
        "readPreference must be primary: a secondary still shows sessions that have ended": (
            options.get("readpreference", "primary").lower() != "primary"
        ),
        f"readConcernLevel must be local or majority, not {level!r}": level not in ("local", "majority"),
        majority: level == "majority" and w != "majority",
        "fsync=true and journal exclude each other; use journal=true": (
            options.get("fsync") == "true" and "journal" in options
        ),
    }
    for name in ("readpreferencetags", "maxstalenessseconds"):
        faults[f"{name} is for reads from secondaries; sessions are read from the primary"] = name in options
    return [fault for fault, is_wrong in faults.items() if is_wrong]


def _is_zero(w: str) -> bool:
    return "0" in w and not w.strip("+-0 ")
