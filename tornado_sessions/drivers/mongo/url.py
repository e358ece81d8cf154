"""A URL → options for the driver; settings under which acknowledged writes or reads are wrong are refused here.

It must not know what is stored, and makes no connection.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pymongo.errors import ConfigurationError as DriverConfigError
from pymongo.errors import InvalidURI
from pymongo.uri_parser import parse_uri

from tornado_sessions.errors import ConfigError
from tornado_sessions.messages import Message

__all__ = ["ClientOptions", "client_options"]

_DRIVERS = ("motor", "pymongo")
_OURS = ("driver", "prefix")
# Unless the URL says otherwise: an outage is reported within seconds, and an acknowledged write is in the journal of the majority.
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
_FALSE = "false"


class ClientOptions(NamedTuple):
    """What a URL says.

    Attributes:
        url: for the driver, without our own options.
        driver: ``motor`` or ``pymongo``.
        database: its name.
        prefix: what the names of our collections begin with.
    """

    url: str
    driver: str
    database: str
    prefix: str

    @property
    def risks(self) -> list[Message]:
        """What the chosen settings can cost, one sentence each with the remedy."""
        return _risks(dict(parse_qsl(urlsplit(self.url).query)))

    def __repr__(self) -> str:
        return f"<{self.driver} {self.database}>"


def client_options(url: str) -> ClientOptions:
    """Read ``mongodb://host/database?…`` or ``mongodb+srv://…``: MongoDB's own options, ``driver=`` and ``prefix=``.

    Raises:
        ConfigError: lists what is wrong, also settings that break what a store promises; the password is never shown.
    """
    parts = urlsplit(url)
    given = [(name.lower(), value) for name, value in parse_qsl(parts.query, keep_blank_values=True)]
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    options = {_ALIASES.get(name, name): value for name, value in given}
    faults = [*_repeated(given), *_wrong(options)]
    if faults:
        raise ConfigError(*(f"{shown}: {fault}" for fault in faults))
    defaults = {name: value for name, value in _DEFAULTS.items() if name not in options}
    if options.get("fsync") == "true":
        # fsync waits for the journal as well, and the driver refuses both together.
        defaults.pop("journal", None)
    theirs = [(_ALIASES.get(name, name), value) for name, value in given if name not in _OURS]
    path = parts.path if parts.path.strip("/") else "/tornado_sessions"
    plain = urlunsplit((parts.scheme, parts.netloc, path, urlencode([*theirs, *defaults.items()]), ""))
    try:
        # An srv address is resolved when it is opened; here only its form is looked at.
        parse_uri(plain.replace("mongodb+srv://", "mongodb://", 1), warn=False, validate=True)
    except (InvalidURI, DriverConfigError, ValueError) as error:
        raise ConfigError(f"{shown}: {error}") from None
    driver, prefix = options.get("driver", "motor"), options.get("prefix", "")
    return ClientOptions(plain, driver, path.strip("/"), prefix)


def _repeated(given: list[tuple[str, str]]) -> list[str]:
    """Options that are there twice: which of them counts is a matter of the driver."""
    names = [_ALIASES.get(name, name) for name, _ in given if name not in _REPEATABLE]
    return [
        f"the option {name} is there {names.count(name)} times"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]


def _wrong(options: dict[str, str]) -> list[str]:
    """Settings that break what a store promises, whatever the server does."""
    faults = []
    if options.get("driver", "motor") not in _DRIVERS:
        faults.append(f"driver is motor or pymongo, not {options['driver']!r}")
    if any(";" in value for value in options.values()):
        faults.append("options are separated by &, not by a semicolon")
    w, level = options.get("w", "majority"), options.get("readconcernlevel", "local")
    if _is_zero(w):
        faults.append("w=0 acknowledges nothing: a session that was ended could live on; use w=majority")
    if options.get("readpreference", "primary").lower() != "primary":
        faults.append("readPreference must be primary: a secondary still shows sessions that have ended")
    if level.lower() not in ("local", "majority"):
        faults.append(f"readConcernLevel must be local or majority, not {level!r}")
    elif level.lower() == "majority" and w != "majority":
        faults.append(
            "readConcernLevel=majority needs w=majority: a session could not be read right after it was written"
        )
    if options.get("fsync") == "true" and "journal" in options:
        faults.append("fsync=true and journal exclude each other; use journal=true")
    secondaries = [name for name in ("readpreferencetags", "maxstalenessseconds") if name in options]
    return [
        *faults,
        *(f"{name} is for reads from secondaries; sessions are read from the primary" for name in secondaries),
    ]


def _is_zero(w: str) -> bool:
    try:
        return int(w) == 0
    except ValueError:
        return False


def _risks(options: dict[str, str]) -> list[Message]:
    """What the settings can cost, where they are a choice."""
    risks = []
    if options["w"] != "majority":
        text = "w=%s in the store's URL: acknowledged writes can be lost when the primary fails; use w=majority"
        risks.append(Message(text, (options["w"],)))
    if options.get("journal") == _FALSE:
        text = "journal=false in the store's URL: a crash of the server loses acknowledged writes; use journal=true"
        risks.append(Message(text))
    if options.get("retrywrites") == _FALSE:
        text = "retryWrites=false in the store's URL: each failover fails the writes in progress; leave it on"
        risks.append(Message(text))
    if options.get("directconnection") == "true":
        text = "directConnection=true in the store's URL: after a failover a secondary still shows ended sessions; leave it out"
        risks.append(Message(text))
    return risks
