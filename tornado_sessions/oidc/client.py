"""``OpenIDConnect``: the client of one provider: start and finish a sign-in, and sign out in both directions.

What it has to remember between the two steps is a ``Flow``, which the browser keeps. It must not know handlers, sessions, or what
an application calls its users. It has more than 300 lines because each method explains the rules of the standard that it keeps.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote_plus, urlencode

import msgspec

from tornado_sessions.errors import ConfigError, OpenIDError, ProviderUnavailable
from tornado_sessions.oidc.flows import Flow, local_path
from tornado_sessions.oidc.provider import Metadata, Provider, refuses_client
from tornado_sessions.oidc.tokens import (
    SKEW,
    LogoutRequest,
    check_id_token,
    check_logout_token,
    text_of,
    time_of,
    verify,
)

__all__ = ["Identity", "OpenIDConnect"]

#: An ID token that is longer is not kept for the sign-out at the provider: a URL would not hold it.
_LONGEST_HINT = 4096
#: Maximum number of used tokens that one process remembers.
_MAX_REMEMBERED = 10_000

_FORM = "application/x-www-form-urlencoded"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who has signed in at the provider.

    Attributes:
        issuer, subject: together they identify the user permanently. An email address does not: it may pass to another user.
        claims: of the ID token and of the user info endpoint, such as ``email`` and ``name``.
        following: the local path that was passed to ``start``.
        is_proof: whether ``start`` asked the user to prove who they are; then ``proved_at`` is later than that.
        proved_at: when the user last proved at the provider who they are, in UTC seconds; 0.0 if it does not say.
        sid: the session at the provider; empty if it has no name.
        id_token: the token, for the sign-out at the provider; empty if it is too long.
    """

    issuer: str
    subject: str
    claims: dict[str, Any]
    following: str = ""
    is_proof: bool = False
    proved_at: float = 0.0
    sid: str = ""
    id_token: str = ""

    @property
    def user_id(self) -> str:
        """A user id that belongs to this user of this provider only."""
        return f"{self.issuer} {self.subject}"


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str
    access_token: str = ""


class OpenIDConnect:
    """A client of an OpenID provider. Creating it does no I/O; no secret is in a message or a log.

    Args:
        issuer: the address of the provider, exactly as in its discovery document.
        client_id, client_secret: as registered at the provider; no secret for a public client.
        redirect_url: the absolute address of the handler that calls ``finish``.
        scopes: what the tokens are for.
        timeout: seconds that one request to the provider may take; a sign-in, which needs up to four, takes at most twice as long.
        clock: returns the time in UTC seconds.

    Raises:
        ConfigError: an argument is wrong.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str = "",
        *,
        redirect_url: str,
        scopes: Sequence[str] = ("openid", "profile", "email"),
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not client_id or not redirect_url.startswith(("https://", "http://")):
            raise ConfigError("OpenID Connect needs a client id, and an absolute redirect URL")
        self.provider = Provider(issuer, clock, timeout)
        self.issuer, self.client_id, self.redirect_url = issuer, client_id, redirect_url
        self._secret = client_secret
        self._scopes = " ".join(dict.fromkeys(("openid", *scopes)))
        self._clock, self._timeout = clock, timeout
        self._used: dict[str, float] = {}
        #: How the client proves to the provider who it is; the first way is tried first.
        self._methods = ["client_secret_basic", "client_secret_post"]

    # --- sign in -------------------------------------------------------------------------------------------------

    async def start(self, following: str = "", *, prove: bool = False) -> tuple[str, Flow]:
        """Start a sign-in.

        Args:
            following: the path of this site to go to afterwards; ignored if it leads elsewhere or is too long.
            prove: whether the user has to prove who they are, even if they are signed in at the provider.

        Returns:
            The URL at the provider to redirect the browser to, and the flow, which only this browser may keep.

        Raises:
            ProviderUnavailable: the provider does not answer.
        """
        async with self._in_time():
            endpoint = (await self.provider.metadata()).authorization_endpoint
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        flow = Flow(
            state=state, nonce=nonce, verifier=verifier, following=local_path(following), prove=prove, at=self._clock()
        )
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_url,
            "scope": self._scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if prove:
            asked |= {"prompt": "login", "max_age": "0"}
        return _with_query(endpoint, asked), flow

    async def finish(self, flow: Flow | None, arguments: Mapping[str, Sequence[bytes]]) -> Identity:
        """Return who has signed in. The caller accepts each flow once.

        Args:
            flow: the one that this browser kept for the ``state`` of the query; ``None`` if there is none.
            arguments: of the query, ``self.request.query_arguments``.

        Raises:
            OpenIDError: the response belongs to no sign-in that this browser started, or the provider refused the user.
            ProviderUnavailable: the provider does not answer. Calling again with the same arguments may succeed.
        """
        given = {name: _one(arguments, name) for name in ("state", "code", "iss", "error")}
        if flow is None or flow.state != given["state"] or not flow.is_open(self._clock(), SKEW):
            raise OpenIDError("this sign-in has expired, or was started in another browser")
        async with self._in_time():
            return await self._finish(flow, given)

    async def _finish(self, flow: Flow, given: dict[str, str]) -> Identity:
        metadata = await self.provider.metadata()
        # Only the provider that was asked may answer: another one could get the code (RFC 9207).
        must_have_issuer = metadata.authorization_response_iss_parameter_supported
        if (given["iss"] or must_have_issuer) and given["iss"] != self.issuer:
            raise OpenIDError("the response is from another provider")
        if given["error"] or not given["code"]:
            is_denied = given["error"] == "access_denied"
            raise OpenIDError("the provider has refused access" if is_denied else "the provider did not sign you in")
        tokens = await self._redeem(metadata, given["code"], flow.verifier)
        signed = await verify(self.provider, tokens.id_token)
        check_id_token(signed, self.issuer, self.client_id, flow.nonce, self._clock(), tokens.access_token)
        proved_at = time_of(signed.claims, "auth_time") if "auth_time" in signed.claims else 0.0
        if flow.prove and not flow.at - SKEW <= proved_at <= self._clock() + SKEW:
            raise OpenIDError("the provider did not ask you to sign in again")
        return Identity(
            issuer=self.issuer,
            subject=signed.claims["sub"],
            claims=await self._claims(metadata, signed.claims, tokens.access_token),
            following=flow.following,
            is_proof=flow.prove,
            proved_at=proved_at,
            sid=text_of(signed.claims, "sid"),
            id_token=tokens.id_token if len(tokens.id_token) <= _LONGEST_HINT else "",
        )

    @asynccontextmanager
    async def _in_time(self) -> AsyncGenerator[None]:
        """Limit the time of several requests: a provider that is just fast enough each time must not hold people up."""
        try:
            async with asyncio.timeout(2 * self._timeout):
                yield
        except TimeoutError:
            raise ProviderUnavailable("it is too slow") from None

    async def _redeem(self, metadata: Metadata, code: str, verifier: str) -> _Tokens:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_url,
            "code_verifier": verifier,
        }
        for method in self._methods_of(metadata):
            body, headers = self._authenticated(form, method)
            response = await self.provider.send(metadata.token_endpoint, urlencode(body), **headers)
            # The client may be registered with the other method. The code is still valid, because it was not redeemed.
            if not refuses_client(response):
                self._methods.sort(key=lambda each: each != method)
                return self.provider.read(response, _Tokens)
        raise self.provider.unusable("it does not accept the id or the secret of this client (invalid_client)")

    def _methods_of(self, metadata: Metadata) -> list[str]:
        """Return the ways to try in which the client proves who it is: that of a public one, or those of a secret."""
        if not self._secret:
            return ["none"]
        supported = metadata.token_endpoint_auth_methods_supported
        return [method for method in self._methods if method in supported] or self._methods[:1]

    def _authenticated(self, form: dict[str, str], method: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the form and the headers of a request of this client (RFC 6749, section 2.3.1)."""
        headers = {"Content-Type": _FORM}
        if method == "none":
            return {**form, "client_id": self.client_id}, headers
        if method == "client_secret_post":
            return {**form, "client_id": self.client_id, "client_secret": self._secret}, headers
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self._secret)}"
        return form, {**headers, "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    async def _claims(self, metadata: Metadata, claims: dict[str, Any], access_token: str) -> dict[str, Any]:
        """Return the claims with those of the user info endpoint, which many providers keep out of ID tokens."""
        if not metadata.userinfo_endpoint or not access_token:
            return claims
        response = await self.provider.send(metadata.userinfo_endpoint, Authorization=f"Bearer {access_token}")
        if response.code == 401:
            # Providers revoke the tokens issued for a code if it is presented twice (RFC 6749, section 4.1.2).
            raise OpenIDError("the provider has withdrawn access; sign in again")
        more = self.provider.read(response, dict[str, Any])
        if more.get("sub") != claims["sub"]:
            # The access token may have been replaced by that of another user (section 5.3.2).
            raise OpenIDError("the user info belongs to another user")
        return {**more, **claims}

    # --- sign out ------------------------------------------------------------------------------------------------

    async def sign_out_url(self, id_token: str, back_to: str = "", state: str = "") -> str | None:
        """Return the address at which the browser signs out at the provider (RP-Initiated Logout 1.0).

        Args:
            id_token: of the ``Identity`` that has signed in; may be empty.
            back_to: an absolute address that is registered at the provider; empty to stay there.
            state: comes back with the browser.

        Returns:
            The address; ``None`` if the provider has none. Raises ``ProviderUnavailable``.
        """
        endpoint = (await self.provider.metadata()).end_session_endpoint
        asked = {
            "client_id": self.client_id,
            "id_token_hint": id_token,
            "post_logout_redirect_uri": back_to,
            "state": state,
        }
        return _with_query(endpoint, {name: value for name, value in asked.items() if value}) if endpoint else None

    async def logout_request(self, logout_token: str) -> LogoutRequest:
        """Check a logout token that the provider has sent (Back-Channel Logout 1.0).

        Raises:
            OpenIDError: it is not a logout token of the provider for this client.
            ProviderUnavailable: the keys of the provider cannot be fetched.
        """
        signed = await verify(self.provider, logout_token)
        return check_logout_token(signed, self.issuer, self.client_id, self._clock())

    def was_used(self, token_id: str) -> bool:
        """Return whether this process has remembered a token; see ``use``."""
        return self._used.get(token_id, 0.0) > self._clock()

    def use(self, token_id: str, until: float) -> bool:
        """Remember until a time in UTC seconds that a token was used. Of too many, the oldest are forgotten.

        Returns:
            Whether this is its first use.
        """
        now, is_first = self._clock(), not self.was_used(token_id)
        if len(self._used) >= _MAX_REMEMBERED:
            self._used = {key: until for key, until in self._used.items() if until > now}
        while len(self._used) >= _MAX_REMEMBERED:
            del self._used[next(iter(self._used))]
        self._used[token_id] = until
        return is_first


def _one(arguments: Mapping[str, Sequence[bytes]], name: str) -> str:
    values = arguments.get(name, ())
    if len(values) > 1:
        raise OpenIDError(f"the response has more than one {name}")
    return values[0].decode("utf-8", "replace") if values else ""


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
