"""``WebhookClient``: sign a message as Standard Webhooks does, and post it. It must not know what messages are about.

The specification is https://www.standardwebhooks.com: receivers verify with its libraries.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Sequence

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from tornado_sessions.errors import ConfigError
from tornado_sessions.server.operations.webhook import DeliveryFailed
from tornado_sessions.server.secret_file import keys_of
from tornado_sessions.server.settings import ServerOptions

__all__ = ["WebhookClient", "signature", "webhook_client"]

#: Seconds; shorter than a lease, so that no second process sends the same message.
_TIMEOUT = 5.0
_MAX_ANSWER = 64 * 1024
_MIN_SECRET = 24  # bytes, as the specification asks
_PREFIX = "whsec_"


class WebhookClient:
    """Posts messages to one address. ``secrets`` sign, newest first: with two, receivers can change theirs without a gap."""

    def __init__(self, url: str, secrets: Sequence[bytes], clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._secrets = secrets
        self._clock = clock

    async def send(self, message_id: str, body: bytes) -> None:
        """Post a message. Redirects are not followed. Raises ``DeliveryFailed`` unless the answer is 2xx within five seconds."""
        at = int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "tornado-sessions",
            "webhook-id": message_id,
            "webhook-timestamp": str(at),
            "webhook-signature": " ".join(signature(secret, message_id, at, body) for secret in self._secrets),
        }
        request = HTTPRequest(
            self._url, "POST", headers, body, connect_timeout=_TIMEOUT, request_timeout=_TIMEOUT, follow_redirects=False
        )
        # One client for each message: they are rare, and an idle one would hold a connection and a resolver.
        client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=_MAX_ANSWER)
        try:
            await client.fetch(request)
        except HTTPClientError as error:
            answer = f"answered {error.code}" if error.response is not None else "did not answer"
            raise DeliveryFailed(f"the receiver {answer}") from None
        except Exception as error:  # noqa: BLE001 - sockets, TLS and names fail in many ways
            # The text of an error may contain the address, which may contain a secret.
            raise DeliveryFailed(f"the receiver cannot be reached: {type(error).__name__}") from None
        finally:
            client.close()


def signature(secret: bytes, message_id: str, at: int, body: bytes) -> str:
    """Return the signature of a message, for the header ``webhook-signature``. ``at`` is the time in whole UTC seconds."""
    digest = hmac.digest(secret, f"{message_id}.{at}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(digest).decode()


def webhook_client(options: ServerOptions) -> WebhookClient | None:
    """Return the client that the settings describe; ``None`` if there is no webhook. Raises ``ConfigError``."""
    if options.webhook_url is None or options.webhook_secret_file is None:
        return None
    secrets = [_decoded(line) for line in keys_of(options.webhook_secret_file)]
    if min(map(len, secrets)) < _MIN_SECRET:
        raise ConfigError(f"a secret in {options.webhook_secret_file} has fewer than {_MIN_SECRET} bytes")
    return WebhookClient(options.webhook_url, secrets)


def _decoded(line: str) -> bytes:
    """Return the key of a secret: decoded if it is written as the specification does, ``whsec_`` and base64."""
    try:
        return (
            base64.b64decode(line.removeprefix(_PREFIX), validate=True) if line.startswith(_PREFIX) else line.encode()
        )
    except binascii.Error:
        raise ConfigError("a secret of --webhook-secret-file starts with whsec_, but is not base64") from None
