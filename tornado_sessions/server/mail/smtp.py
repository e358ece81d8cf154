"""``SmtpServer``: sends a message through the configured mail server (RFC 5321).

It must not know what a message says. Its errors are logged, so they contain no part of a message, no address and no password.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosmtplib

from tornado_sessions.errors import ConfigError
from tornado_sessions.server.mail.errors import MailRefused, MailUnavailable

__all__ = ["SmtpServer"]

#: Seconds that one step may take; one mail altogether may take four times as long. A slow server holds up only other mails.
_STEP = 15.0
_PORTS = {"smtp": 587, "smtps": 465}


class SmtpServer:
    """A mail server.

    ``smtps://`` uses TLS from the first byte. ``smtp://`` uses STARTTLS if the server offers it, and insists on it before it sends
    a password, except to this machine.

    Args:
        url: ``smtp://`` or ``smtps://``, with the name and password of an account, if the server wants one.
        password_file: contains the password instead.
        timeout: seconds that one step may take.

    Raises:
        ConfigError: the URL is malformed, or the file cannot be read.
    """

    def __init__(self, url: str, password_file: str | None = None, *, timeout: float = _STEP) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        if not host or parts.scheme not in _PORTS or parts.path.strip("/") or parts.query or parts.fragment:
            raise ConfigError(
                "smtp_url: must be smtp://HOST:PORT or smtps://HOST:PORT, with NAME:PASSWORD@ before it if needed"
            )
        name = unquote(parts.username or "")
        password = _password_in(password_file) if password_file else unquote(parts.password or "")
        if bool(name) != bool(password):
            raise ConfigError("smtp_url: a name needs a password, and a password a name")
        is_local, is_tls = _is_local(host), parts.scheme == "smtps"
        self._options: dict[str, Any] = {
            "hostname": host,
            "port": port or _PORTS[parts.scheme],
            "timeout": timeout,
            "use_tls": is_tls,
            "start_tls": False if is_tls else True if name and not is_local else None,
            # A mail server on this machine usually has a self-signed certificate.
            "validate_certs": not is_local,
        }
        if name:
            self._options |= {"username": name, "password": password}

    async def send(self, message: EmailMessage, sender: str, recipient: str) -> None:
        """Send a message to one address. Raises ``MailUnavailable`` or ``MailRefused``."""
        try:
            async with asyncio.timeout(4 * self._options["timeout"]):
                await aiosmtplib.send(message, sender=sender, recipients=[recipient], **self._options)
        except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPDataError) as error:
            code = _code_of(error)
            raise (MailRefused if code >= 500 else MailUnavailable)(f"{type(error).__name__} {code}") from None
        except aiosmtplib.SMTPNotSupported:
            raise MailRefused("the mail server does not support what this address needs") from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            # Includes wrong settings, such as a password: an operator can correct them before the mail expires.
            found = f"{type(error).__name__} {_code_of(error) or ''}".strip()
            raise MailUnavailable(": ".join(filter(None, (found, _why(error))))) from None


def _code_of(error: BaseException) -> int:
    refused = getattr(error, "recipients", None)
    found = refused[0] if isinstance(refused, list) and refused else error
    code = getattr(found, "code", 0)
    return code if isinstance(code, int) else 0


def _why(error: BaseException) -> str:
    """Return what an operator can mend, in words; empty for what only the answer of the mail server could say."""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return "the mail server refuses the name or the password"
    if isinstance(error, TimeoutError):
        return "the mail server does not answer in time"
    # The first cause of all. Answers of the server are left out, because they often repeat an address.
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is invalid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "no TLS here: smtps:// is for port 465, and smtp:// with STARTTLS for port 587"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # Not the server's answer, but the client's own message.
    return str(error) if type(error) is aiosmtplib.SMTPException else ""


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _password_in(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"smtp_password_file: cannot be read: {type(error).__name__}") from None
