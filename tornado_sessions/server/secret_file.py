"""The signing keys of an installation: from the settings, from a file, or made at the first start next to the data.

It must not know what the keys sign.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from zxcvbn import zxcvbn

from tornado_sessions.drivers.backends import scheme_of
from tornado_sessions.drivers.sqlite.database import database_path
from tornado_sessions.errors import ConfigError
from tornado_sessions.server.settings import ServerOptions

__all__ = ["keys_of", "secrets_in", "signing_keys"]

logger = logging.getLogger("tornado_sessions.security")

_KEY_BYTES = 48
_MIN_LENGTH = 32  # characters
# Guesses as a power of ten: about 66 bits. zxcvbn takes quadratic time, so a key is measured by its first characters.
_MIN_GUESSES, _MEASURED = 20, 72
_REMEDY = "make one with: openssl rand -base64 48"
# Keys of tutorials and examples, without spaces and punctuation. They are long, but everybody can look them up.
_KNOWN = re.compile(
    "replacethiswiththeoutputofopensslrandbase6448|changemeatleast32randomcharacters|openssl|base64|longandrandom|random|example"
    "|replace(?:this|me)|change(?:this|me|it)|keyboardcat|(?:your|my|super|very|top)*secret(?:key|string|value|here)?"
    "|todo|(?:your)?own|value|here|generate|please|longrandomstring|your[0-9]*bit|pasteoutputof"
    # Of Tornado's guides, and sentences that everybody knows.
    "|61oetzkxqagaydkl5gemgejjfuyh7eqnp2xdtp1ovo|43oetzkxqagaydkl5gemgejjfuyh7eqnp2xdtp1ovo|bzjc2swbqlkos6gkhnvb9oxwqt8s0r0krvj5xj89e"
    "|thequickbrownfoxjumpsoverthelazydog|31415926535897932384626433832795"
    "|donotuse|inproduction|placeholder|default|password|insecure|django|flask|tornado|sessions?|signing|cookie|key"
)
_MIN_UNKNOWN = 16


def signing_keys(options: ServerOptions) -> list[str]:
    """Return the signing keys, newest first: the newest signs, all verify.

    Raises:
        ConfigError: a key is weak; the file cannot be read; or there is no key, and other machines may use the same store.
    """
    if options.secret and options.secret_file:
        raise ConfigError("set --secret or --secret-file, not both")
    if options.secret:
        return _checked(list(options.secret), "--secret")
    if options.secret_file:
        return _checked(keys_of(options.secret_file), options.secret_file)
    stores = [options.store, *([options.users] if options.users else [])]
    shared = [scheme for scheme in map(scheme_of, stores) if scheme not in ("memory", "sqlite", "")]
    if shared:
        raise ConfigError(_no_shared_key(shared[0]))
    files = [url for url in stores if scheme_of(url) == "sqlite"]
    if not files:
        return [secrets.token_urlsafe(_KEY_BYTES)]
    path = _made_beside(files[0])
    return _checked(keys_of(path), str(path))


def _no_shared_key(scheme: str) -> str:
    kept = Path("data/secret")
    earlier = f" The key that this folder used so far is in {kept}." if kept.exists() else ""
    return (
        f"{scheme}:// can be used from several machines, and each needs the same signing key: set --secret-file to a file "
        f"with it, or SESSIONS_SECRET; {_REMEDY}.{earlier}"
    )


def _checked(keys: Sequence[str], source: str) -> list[str]:
    for number, key in enumerate(keys, 1):
        fault = _weakness(key)
        if fault:
            which = f"key {number} of {source}" if len(keys) > 1 else source
            raise ConfigError(f"{which} {fault}: anyone who guesses it can sign in as any user; {_REMEDY}")
    return list(keys)


@lru_cache(maxsize=8)  # servers of one process mostly have the same key, and this takes milliseconds
def _weakness(key: str) -> str:
    """Return what makes a key guessable; an empty string if nothing does."""
    if len(key) < _MIN_LENGTH:
        return f"has fewer than {_MIN_LENGTH} characters"
    letters = re.sub(r"[\W_]", "", key.lower())
    # Only what is not part of a well-known key counts.
    if len(_KNOWN.sub("", letters)) < min(_MIN_UNKNOWN, len(letters)):
        return "is a well-known example"
    if zxcvbn(key[:_MEASURED], max_length=_MEASURED)["guesses_log10"] < _MIN_GUESSES:
        return "is easy to guess"
    return ""


def keys_of(file: str | Path) -> list[str]:
    """Return the keys in a file, one a line, without blank lines. Raises ``ConfigError``."""
    path = Path(file)
    try:
        kept = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
        mode = path.stat().st_mode
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file; {_REMEDY} > {path}") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if not kept:
        raise ConfigError(f"{path} is empty; {_REMEDY} > {path}")
    if mode & 0o077:
        logger.warning("other users of this machine can read the signing keys: chmod 600 %s", path)
    return kept


def _made_beside(url: str) -> Path:
    """Return the path of the key next to a SQLite file, and make it if necessary."""
    folder = Path(database_path(url).path).parent
    path = folder / "secret"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create_once(path)
    except OSError as error:
        raise ConfigError(f"cannot create or read {path}: {error.strerror}; set --secret-file instead") from None
    return path


def _create_once(path: Path) -> None:
    # Processes that start at the same time must agree on one key. Each writes a complete file with its own name. The hard
    # link is atomic and succeeds only for the first, so no process ever reads a partly written file.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(_KEY_BYTES))
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def secrets_in(options: ServerOptions) -> set[str]:
    """Return all texts in the settings that must not appear in a log: signing keys, and passwords of stores."""
    found = {*options.secret, *filter(None, [options.webhook_url])}
    for path in filter(None, (options.secret_file, options.takeover_secret_file, options.webhook_secret_file)):
        with suppress(OSError):  # reported when the keys are used
            found |= set(map(str.strip, Path(path).read_text("utf-8", "replace").splitlines()))
    urls = (options.store, options.users or "", options.takeover or "")
    return found | {part for url in urls for part in _passwords_in(url)}


def _passwords_in(url: str) -> Iterator[str]:
    # An unescaped password may contain any separator of a URL, so take what is between the scheme and the last @. The URLs
    # of a pair of stores are percent-encoded inside another one.
    for text in (url, unquote(url), unquote(unquote(url))):
        for part in text.split("://")[1:]:
            password = part.rpartition("@")[0].partition(":")[2]
            yield from (password, *re.split(r"[/?#@\s]", password))
        # Options such as sentinel_password of Redis and tlsCertificateKeyFilePassword of MongoDB.
        for value in re.findall(r"password=([^&#\s]+)", text, re.IGNORECASE):
            yield from (value, unquote(value))
