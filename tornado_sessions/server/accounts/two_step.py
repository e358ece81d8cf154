"""The second step of a log-in: codes of an authenticator app (TOTP, RFC 6238) and recovery codes.

Pure functions of an account, a code and the time. It must not know stores or pages.
"""

from __future__ import annotations

import base64
import io
import logging
import secrets
from hashlib import sha256
from hmac import compare_digest

import msgspec
import pyotp
import segno

from tornado_sessions.codec import Codec
from tornado_sessions.errors import DecodeError
from tornado_sessions.server.accounts.user import User, key_of

__all__ = [
    "hash_of",
    "is_secret",
    "new_recovery_codes",
    "new_secret",
    "picture",
    "seal",
    "step_of",
    "unseal",
    "uri",
    "use",
]

logger = logging.getLogger("tornado_sessions.security")

_PERIOD = 30
_FIELD = "totp"
_ISSUER = "tornado_sessions"
_CODES = 10
# Without letters that are read as others (RFC 4648's base 32 has none of 0, 1, 8, 9 besides).
_LETTERS = "ABCDEFGHJKMNPQRSTVWXYZ23456789"


def new_secret() -> str:
    """What an app and we are to share: 160 bits, in base 32."""
    return pyotp.random_base32(32)


def is_secret(text: str) -> bool:
    """Whether this is a secret as ``new_secret`` makes it."""
    return len(text) == 32 and all(letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" for letter in text)


def uri(user: str, secret: str) -> str:
    """What the app reads (``otpauth://``)."""
    return pyotp.TOTP(secret).provisioning_uri(name=user, issuer_name=_ISSUER)


def picture(user: str, secret: str) -> str:
    """The same as a QR code: an SVG element to put into a page."""
    out = io.BytesIO()
    segno.make(uri(user, secret), error="m").save(
        out, kind="svg", scale=4, xmldecl=False, svgns=False, dark="#000", light="#fff", svgclass="qr", lineclass=None
    )
    return out.getvalue().decode()


def step_of(secret: str, code: str, now: float) -> int | None:
    """The time step that a code belongs to: this one or one beside it, since clocks differ; ``None`` for a wrong code."""
    digits = "".join(code.split())
    app = pyotp.TOTP(secret)
    for step in (int(now // _PERIOD) + shift for shift in (0, -1, 1)):
        if compare_digest(app.generate_otp(step).encode(), digits.encode("utf-8", "replace")):
            return step
    return None


def seal(codec: Codec, user: User, secret: str) -> str:
    """How a secret is kept: encrypted, and bound to its account, so that who reads the store has no second step."""
    return base64.b64encode(codec.seal(key_of(user.name), _FIELD, secret.encode())).decode()


def unseal(codec: Codec, user: User) -> str | None:
    """The secret of an account; ``None`` without one, or where the key that sealed it is gone: recovery codes still work."""
    if user.totp_secret is None:
        return None
    try:
        return codec.unseal(key_of(user.name), _FIELD, base64.b64decode(user.totp_secret)).decode()
    except (DecodeError, ValueError):
        logger.warning("the second step of %s was sealed with a secret that is not configured any more", user.name)
        return None


def use(user: User, secret: str | None, code: str, now: float) -> User | None:
    """The account after a code was taken; ``None`` when it is wrong, or was taken before."""
    if not user.has_two_steps:
        return None
    step = step_of(secret, code, now) if secret is not None else None
    if step is not None:
        fresh = step > user.totp_step
        return msgspec.structs.replace(user, totp_step=step, revision=user.revision + 1) if fresh else None
    given = hash_of(code)
    if given not in user.recovery:
        return None
    left = tuple(kept for kept in user.recovery if kept != given)
    return msgspec.structs.replace(user, recovery=left, revision=user.revision + 1)


def new_recovery_codes() -> list[str]:
    """Ten codes of about 49 bits each, written in halves."""
    return ["-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(2)) for _ in range(_CODES)]


def hash_of(code: str) -> str:
    """What is kept of a recovery code; they are random, so a plain hash is enough."""
    plain = code.upper().replace("-", "").replace(" ", "")
    return sha256(plain.encode("utf-8", "replace")).hexdigest()
