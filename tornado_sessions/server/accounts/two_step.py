"""Two-step verification with codes of an authenticator app (TOTP, RFC 6238) and recovery codes.

Functions of an account, a code and the time. It must not know stores or pages.
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
from tornado_sessions.server.accounts.user import User

__all__ = [
    "hash_of",
    "is_of_app",
    "is_secret",
    "is_used",
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
_CODES = 10
#: The letters and digits of recovery codes, without ones that look alike such as I and 1, O and 0.
_LETTERS = "ABCDEFGHJKMNPQRSTVWXYZ23456789"


def new_secret() -> str:
    """Return a new secret for an app: 160 bits in base 32."""
    return pyotp.random_base32(32)


def is_secret(text: str) -> bool:
    """Return whether a text has the form of ``new_secret``."""
    return len(text) == 32 and all(letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" for letter in text)


def uri(user: str, secret: str, service: str) -> str:
    """Return the ``otpauth://`` URI that configures an app, which shows the names of the service and of the user."""
    return pyotp.TOTP(secret).provisioning_uri(name=user, issuer_name=service)


def picture(user: str, secret: str, service: str) -> str:
    """Return ``uri`` as a QR code, an SVG element."""
    out = io.BytesIO()
    segno.make(uri(user, secret, service), error="m").save(
        out, kind="svg", scale=4, xmldecl=False, svgns=False, dark="#000", light="#fff", svgclass="qr", lineclass=None
    )
    return out.getvalue().decode()


def is_of_app(code: str) -> bool:
    """Return whether a text may be a code of an app: digits with any spaces between them. Only such a text is compared with one."""
    return "".join(code.split()).isdigit()


def step_of(secret: str, code: str, now: float) -> int | None:
    """Return the time step of a code, or ``None`` if it is wrong. Clocks differ, so adjacent steps are accepted, too."""
    if not is_of_app(code):
        return None
    digits = "".join(code.split())
    app = pyotp.TOTP(secret)
    for step in (int(now // _PERIOD) + shift for shift in (0, -1, 1)):
        if compare_digest(app.generate_otp(step).encode(), digits.encode("utf-8", "replace")):
            return step
    return None


def seal(codec: Codec, user: User, secret: str) -> str:
    """Encrypt a secret and bind it to its account, so that a leaked store reveals no secrets."""
    return base64.b64encode(codec.seal(user.id, _FIELD, secret.encode())).decode()


def unseal(codec: Codec, user: User) -> str | None:
    """Return the secret of an account; ``None`` if it has none, or if its key is no longer configured.

    In the latter case recovery codes still work.
    """
    if user.totp_secret is None:
        return None
    try:
        return codec.unseal(user.id, _FIELD, base64.b64decode(user.totp_secret)).decode()
    except (DecodeError, ValueError):
        logger.warning(
            "two-step verification of %s accepts only recovery codes: its key is no longer configured", user.name
        )
        return None


def use(user: User, secret: str | None, code: str, now: float) -> User | None:
    """Return the next revision of an account, with the code marked as used; ``None`` if the code is wrong or was used before."""
    if not user.has_two_steps:
        return None
    step = step_of(secret, code, now) if secret is not None else None
    if step is not None:
        # An attacker who sees a code being typed must not be able to use it in the same half minute.
        return (
            msgspec.structs.replace(user, totp_step=step, revision=user.revision + 1) if step > user.totp_step else None
        )
    # Not in constant time: attempts are throttled, so the timing reveals nothing useful.
    given = hash_of(code)
    if given not in user.recovery:
        return None
    left = tuple(kept for kept in user.recovery if kept != given)
    return msgspec.structs.replace(user, recovery=left, revision=user.revision + 1)


def is_used(user: User, secret: str | None, code: str, now: float) -> bool:
    """Return whether a code of the app is right for this time, but has been used, or is older than one that has."""
    step = step_of(secret, code, now) if secret is not None else None
    return step is not None and step <= user.totp_step


def new_recovery_codes() -> list[str]:
    """Return ten codes of 117 bits each, in four groups of six characters."""
    return ["-".join("".join(secrets.choice(_LETTERS) for _ in range(6)) for _ in range(4)) for _ in range(_CODES)]


def hash_of(code: str) -> str:
    """Return the stored hash of a recovery code.

    From 112 bits on, a hash without salt is enough (NIST SP 800-63B-4 3.1.2.2, OWASP ASVS 5.0 6.5.2).
    """
    plain = code.upper().replace("-", "").replace(" ", "")
    return sha256(plain.encode("utf-8", "replace")).hexdigest()
