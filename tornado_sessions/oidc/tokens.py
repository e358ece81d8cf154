"""Check ID tokens (OpenID Connect Core 1.0, section 3.1.3.7) and logout tokens (Back-Channel Logout 1.0, section 2.6).

Pure functions, except that the keys come from a ``Provider``. It must not know sessions or handlers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any, NamedTuple

from joserfc import jws, jwt
from joserfc.errors import JoseError

from tornado_sessions.errors import OpenIDError
from tornado_sessions.oidc.provider import Provider

__all__ = ["SKEW", "LogoutRequest", "Signed", "check_id_token", "check_logout_token", "text_of", "time_of", "verify"]

#: Maximum difference between our clock and the provider's, in seconds.
SKEW = 60.0
#: Maximum time from the start to the end of a logout token, and age of an ID token, in seconds.
_LONGEST_LOGOUT, _OLDEST_ID_TOKEN = 86400.0, 600.0
_LONGEST_TOKEN, _LONGEST_NAME = 1 << 16, 255
_EVENT = "http://schemas.openid.net/event/backchannel-logout"

#: The accepted algorithms, and the kind of key of each. Never ``none``, and none with a shared secret: a public key could be
#: used as one.
_KINDS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("Ed25519", "EdDSA"), "OKP"),
}


class Signed(NamedTuple):
    """A token whose signature is right. Its claims are not checked yet."""

    header: dict[str, Any]
    claims: dict[str, Any]


class LogoutRequest(NamedTuple):
    """A provider asks to end sessions.

    Attributes:
        issuer: the provider.
        subject: the user at the provider; empty if only ``sid`` is given.
        sid: the session at the provider; empty for all sessions of the subject.
        token_id: identifies this request; until ``expires_at``, it must not be processed again.
        began_until: only sessions that started by then end, in UTC seconds. A replayed token thus ends no newer session, even in
            a process that does not remember it.
        expires_at: see ``token_id``, in UTC seconds.
    """

    issuer: str
    subject: str
    sid: str
    token_id: str
    began_until: float
    expires_at: float


async def verify(provider: Provider, token: str) -> Signed:
    """Verify the signature of a token.

    Raises:
        OpenIDError: it is malformed, or is not signed by the provider with an accepted algorithm.
        ProviderUnavailable: the keys cannot be fetched.
    """
    if len(token) > _LONGEST_TOKEN:
        raise _wrong("it is too long")
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
    except (JoseError, ValueError, TypeError, RecursionError):
        raise _wrong("it is malformed") from None
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in _KINDS or not isinstance(key_id, str | None):
        raise _wrong("its algorithm is not accepted")
    keys = await provider.keys(key_id, _KINDS[algorithm])
    if len(keys) != 1:
        # Without a kid, the provider may have one key of this kind only (section 10.1).
        raise _wrong("its key is unknown")
    try:
        verified = jwt.decode(token, keys[0], algorithms=[algorithm])
    except (JoseError, ValueError, TypeError, RecursionError):
        raise _wrong("its signature is wrong") from None
    return Signed(dict(verified.header), dict(verified.claims))


def check_id_token(token: Signed, issuer: str, client_id: str, nonce: str, now: float, access_token: str) -> None:
    """Check the claims of an ID token that answers a request of ours.

    Args:
        token: the verified token.
        issuer, client_id: who must have issued it, and for whom.
        nonce: of our request.
        now: UTC seconds.
        access_token: that came with it; empty for none.

    Raises:
        OpenIDError: a claim is missing or wrong.
    """
    claims = token.claims
    _check_origin(claims, issuer, client_id)
    if _kind(token) == "logout+jwt" or "events" in claims:
        raise _wrong("it is not an ID token")
    if text_of(claims, "sub") == "":
        raise _wrong("sub is missing")
    if time_of(claims, "exp") <= now - SKEW:
        raise _wrong("it has expired")
    if not now - _OLDEST_ID_TOKEN <= time_of(claims, "iat") <= now + SKEW:
        raise _wrong("it was not issued recently")
    if not hmac.compare_digest(text_of(claims, "nonce").encode(), nonce.encode()):
        raise _wrong("nonce differs")
    if "at_hash" in claims and access_token:
        expected = _half_hash(token.header["alg"], access_token)
        if not hmac.compare_digest(text_of(claims, "at_hash").encode(), expected.encode()):
            raise _wrong("at_hash differs")


def check_logout_token(token: Signed, issuer: str, client_id: str, now: float) -> LogoutRequest:
    """Check the claims of a logout token; the caller refuses one that was obeyed before. Raises ``OpenIDError``."""
    claims = token.claims
    _check_origin(claims, issuer, client_id)
    if _kind(token) not in ("", "jwt", "logout+jwt"):
        raise _wrong("typ is wrong")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(_EVENT), dict):
        raise _wrong("it is not a logout token")
    if "nonce" in claims:
        # An ID token must not pass for a logout token.
        raise _wrong("it has a nonce")
    issued_at, expires_at = time_of(claims, "iat"), time_of(claims, "exp")
    if expires_at <= now - SKEW or issued_at > now + SKEW or expires_at > issued_at + _LONGEST_LOGOUT:
        raise _wrong("it has expired, or its times are wrong")
    subject, sid, token_id = text_of(claims, "sub"), text_of(claims, "sid"), text_of(claims, "jti")
    if not token_id or not (subject or sid):
        raise _wrong("jti, or both sub and sid are missing")
    return LogoutRequest(issuer, subject, sid, token_id, issued_at + SKEW, expires_at + SKEW)


def time_of(claims: dict[str, Any], name: str) -> float:
    """Return a time in UTC seconds. Raises ``OpenIDError`` if it is missing or is not a number."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise _wrong(f"{name} is not a time")
    return float(value)


def text_of(claims: dict[str, Any], name: str) -> str:
    """Return a short printable text, empty if it is missing. Raises ``OpenIDError`` if it is anything else."""
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > _LONGEST_NAME or not value.isprintable():
        raise _wrong(f"{name} is not a short text")
    return value


def _check_origin(claims: dict[str, Any], issuer: str, client_id: str) -> None:
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if claims.get("iss") != issuer:
        raise _wrong("iss is another provider")
    if not isinstance(audiences, list) or client_id not in audiences:
        raise _wrong("aud is another client")
    if claims.get("azp", client_id) != client_id or (
        len(audiences) > 1 and "events" not in claims and "azp" not in claims
    ):
        raise _wrong("azp is another client")
    if "nbf" in claims and time_of(claims, "nbf") > time_of(claims, "iat") + SKEW:
        raise _wrong("nbf is later than iat")


def _kind(token: Signed) -> str:
    return str(token.header.get("typ", "")).lower().removeprefix("application/")


def _half_hash(algorithm: str, text: str) -> str:
    """Return the first half of the hash that belongs to an algorithm (section 3.1.3.6)."""
    digest = hashlib.new("sha512" if _KINDS[algorithm] == "OKP" else f"sha{algorithm[2:]}", text.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def _wrong(why: str) -> OpenIDError:
    return OpenIDError(f"the token of the provider is not accepted: {why}")
