"""``Provider``: the metadata and signing keys of an OpenID provider, and bounded requests to it.

Both are fetched when they are first needed, and shared by all requests. It must not know tokens, sessions or handlers.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPInputError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from tornado_sessions.errors import ConfigError, OpenIDError, ProviderUnavailable

__all__ = ["Metadata", "Provider", "refuses_client"]

logger = logging.getLogger("tornado_sessions.oidc")

T = TypeVar("T")

#: Maximum size of a response in bytes; that of a provider with hundreds of groups stays far below.
_MAX_BODY, _MAX_HEADERS = 1 << 18, 1 << 15
_MAX_KEYS = 100
#: The length of the modulus of 2048 bits, as text.
_SHORTEST_RSA_KEY = 342
#: Seconds for which metadata and keys are used, between two searches for an unknown key, and for which a failure is remembered:
#: during an outage, not everyone who signs in must wait for a timeout of their own.
_MAX_AGE, _REFETCH_AFTER, _FAILURE_LASTS = 600.0, 10.0, 2.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

#: Printable ASCII without quotes, angle brackets and backslashes, which no address has.
_is_plain = re.compile(r"[!#-&(-;=?-\[\]-~]+").fullmatch
_is_code = re.compile(r"[a-z_]{1,40}").fullmatch


class Metadata(msgspec.Struct, frozen=True):
    """What a provider says about itself (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class _Failure(msgspec.Struct, frozen=True):
    error: str = ""


class _Cached(Generic[T]):
    """A value that is fetched when it is needed, by one request for all that wait for it.

    Args:
        fetch: returns the value; raises ``ProviderUnavailable``.
        clock: returns the time in UTC seconds.
    """

    def __init__(self, fetch: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> None:
        self._fetch, self._clock = fetch, clock
        self._value: T | None = None
        self._fetched_at = self._failed_at = float("-inf")
        self._task: asyncio.Task[T] | None = None

    async def get(self, max_age: float = _MAX_AGE) -> T:
        """Return the value, at most ``max_age`` seconds old. Raises ``ProviderUnavailable``."""
        now = self._clock()
        if self._value is not None and abs(now - self._fetched_at) < max_age:
            return self._value
        if abs(now - self._failed_at) < _FAILURE_LASTS:
            raise ProviderUnavailable("it did not answer a recent request")
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._renew())
        # A request that is cancelled must not end the fetch of the others.
        return await asyncio.shield(self._task)

    async def _renew(self) -> T:
        try:
            self._value = await self._fetch()
        except ProviderUnavailable:
            self._failed_at = self._clock()
            raise
        self._fetched_at = self._clock()
        return self._value


class Provider:
    """An OpenID provider.

    Args:
        issuer: its address, exactly as in its discovery document.
        clock: returns the time in UTC seconds.
        timeout: seconds that one request may take in all.

    Raises:
        ConfigError: the issuer is not an https address; http is allowed on this machine only.
    """

    def __init__(self, issuer: str, clock: Callable[[], float], timeout: float) -> None:
        self.issuer = issuer
        url = urlsplit(issuer)
        self._schemes = ("https", "http") if url.hostname in _LOOPBACK else ("https",)
        if url.scheme not in self._schemes or not url.hostname or url.query or url.fragment or url.username:
            raise ConfigError("the issuer must be an address such as https://id.example.com")
        self._timeout = timeout
        self._metadata = _Cached(self._fetch_metadata, clock)
        self._keys = _Cached(self._fetch_keys, clock)

    async def metadata(self) -> Metadata:
        """Return the discovery document. Raises ``ProviderUnavailable``."""
        return await self._metadata.get()

    async def keys(self, key_id: str | None, kind: str) -> list[Key]:
        """Return the signing keys that a token may be signed with.

        An unknown key is looked for again, because providers replace their keys, but not more often than every 10 seconds:
        strangers can send tokens with made-up keys.

        Args:
            key_id: the ``kid`` of the token; ``None`` if it has none.
            kind: ``kty`` of the key: RSA, EC or OKP.
        """
        for max_age in (_MAX_AGE, _REFETCH_AFTER):
            keys = [key for key in await self._keys.get(max_age) if key.key_type == kind]
            found = [key for key in keys if key_id is None or key.kid == key_id]
            if found:
                return found
        return []

    async def _fetch_metadata(self) -> Metadata:
        url = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = self.read(await self.send(url), Metadata)
        # Otherwise another provider could pass for this one (Discovery 1.0, section 4.3).
        if found.issuer != self.issuer:
            raise self.unusable(f"its discovery document is of the issuer {found.issuer[:200]!r}")
        required = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri)
        optional = filter(None, (found.userinfo_endpoint, found.end_session_endpoint))
        if not all(map(self._is_address, (*required, *optional))):
            raise self.unusable("its discovery document has an invalid address, or one without https")
        return found

    def _is_address(self, url: str) -> bool:
        """Return whether an address can be called, and can be sent to browsers in a header."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        return parts.scheme in self._schemes and bool(parts.hostname) and _is_plain(url) is not None

    async def _fetch_keys(self) -> list[Key]:
        found = self.read(await self.send((await self.metadata()).jwks_uri), _KeySet).keys[:_MAX_KEYS]
        return [key for key in map(_key, found) if key is not None]

    async def send(self, url: str, body: str | None = None, **headers: str) -> HTTPResponse:
        """Send a request: a POST of a form if it has a body. Redirects are not followed.

        Raises:
            ProviderUnavailable: the provider does not answer in time, answers 429 or 5xx, or sends too large a response.
        """
        # One client for each request: none survives a fork, and requests to providers are rare.
        client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=_MAX_BODY, max_header_size=_MAX_HEADERS)
        request = HTTPRequest(
            url,
            method="GET" if body is None else "POST",
            body=body,
            headers={"Accept": "application/json", **headers},
            connect_timeout=self._timeout,
            request_timeout=self._timeout,
            follow_redirects=False,
            decompress_response=False,
        )
        try:
            response = await client.fetch(request, raise_error=False)
        except (HTTPClientError, HTTPInputError, OSError, ValueError) as error:
            logger.warning("%s does not answer: %s", urlsplit(url).netloc, type(error).__name__)
            raise ProviderUnavailable("it does not answer") from None
        finally:
            client.close()
        if response.code == 429 or response.code >= 500:
            logger.warning("%s answers %d", urlsplit(url).netloc, response.code)
            raise ProviderUnavailable(f"it answers {response.code}")
        return response

    def read(self, response: HTTPResponse, kind: type[T]) -> T:
        """Return a response that must be JSON of this kind.

        Raises:
            OpenIDError: the provider refuses the code, with 400.
            ProviderUnavailable: it is anything else. The message quotes nothing from the response but a short error code.
        """
        if response.code == 200:
            try:
                return msgspec.json.decode(response.body, type=kind)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                raise self.unusable("an answer does not conform to the standard") from None
        code = _error_code(response.body)
        if response.code == 400 and code == "invalid_grant":
            raise OpenIDError("the provider does not accept the code; sign in again")
        raise self.unusable(f"it answers {response.code} {code}".rstrip())

    def unusable(self, why: str) -> ProviderUnavailable:
        """Log for operators that the provider violates the standard, and return the error, which users see as an outage."""
        logger.error("the OpenID provider %s cannot be used: %s", self.issuer, why)
        return ProviderUnavailable(why)


def refuses_client(response: HTTPResponse) -> bool:
    """Return whether the provider refused the client's authentication (RFC 6749, section 5.2) and did nothing else."""
    return response.code in (400, 401) and _error_code(response.body) == "invalid_client"


def _error_code(body: bytes) -> str:
    try:
        code = msgspec.json.decode(body, type=_Failure).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return code if _is_code(code) else ""


def _key(found: dict[str, Any]) -> Key | None:
    """Return a public signing key; ``None`` for any other. A key that cannot be read costs only that key."""
    kind, modulus = found.get("kty"), found.get("n", "")
    if found.get("use", "sig") != "sig" or kind not in ("RSA", "EC", "OKP"):
        return None
    if kind == "RSA" and (not isinstance(modulus, str) or len(modulus) < _SHORTEST_RSA_KEY):
        return None
    try:
        key: Key = import_key(found)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key
