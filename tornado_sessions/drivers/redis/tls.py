"""Check the files of TLS options before the first connection, so that an error names the option and the file; report expiry dates.

It must not know the client. redis-py loads the files for each new connection, and its errors name neither.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from tornado_sessions.drivers.redis.url import ClientOptions
from tornado_sessions.errors import ConfigError

__all__ = ["certificate_ends", "check_files"]

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def check_files(options: Mapping[str, Any]) -> None:
    """Raise ``ConfigError`` if a file is missing, unreadable or of another kind, or if key and certificate do not match.

    Args:
        options: TLS options with redis-py's names.
    """
    paths = {name: str(options[name]) for name in _FILES if name in options}
    faults = [fault for name, path in paths.items() if (fault := _unreadable(name, path))]
    faults = faults or [*_wrong_authority(paths), *_wrong_certificate(paths)]
    if faults:
        raise ConfigError(*faults)


def _unreadable(name: str, path: str) -> str:
    try:
        Path(path).read_bytes()
    except (OSError, ValueError) as error:
        return f"{name}: cannot read {path}: {getattr(error, 'strerror', None) or error}"
    return ""


def _wrong_authority(paths: Mapping[str, str]) -> list[str]:
    path = paths.get("ssl_ca_certs")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path) if path else None
    except ssl.SSLError:
        return [f"ssl_ca_certs: {path} contains no certificate in PEM format"]
    return []


def _wrong_certificate(paths: Mapping[str, str]) -> list[str]:
    certificate = paths.get("ssl_certfile")
    if certificate is None:
        return []
    key = paths.get("ssl_keyfile", certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # Without a password, OpenSSL would ask for that of an encrypted key on the terminal, and wait.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return [f"ssl_keyfile: {key} is not the key of the certificate in {certificate} (ssl_certfile)"]
        must = f"{certificate} must contain a certificate, and {key} its key without a password, both in PEM format"
        return [f"ssl_certfile, ssl_keyfile: {must}"]
    return []


async def certificate_ends(options: ClientOptions) -> list[tuple[str, datetime]]:
    """Return until when the certificates of the servers named in the URL, and our own, are valid, by address or file.

    A server that does not answer is left out: the caller notices that by other means.
    """
    ends = list[tuple[str, datetime]]()
    own = options.ssl.get("ssl_certfile")
    if own is not None:
        ends.append((str(own), _end_of_file(str(own))))
    # Not verified here: an expired certificate is to be reported, and nothing is sent.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if own is not None:
        context.load_cert_chain(str(own), str(options.ssl.get("ssl_keyfile", own)), password="")
    for host, port in options.hosts:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(options.connect_timeout):
                _, writer = await asyncio.open_connection(host, port, ssl=context)
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
            ends.append((f"{host}:{port}", x509.load_der_x509_certificate(shown).not_valid_after_utc))
    return ends


def _end_of_file(path: str) -> datetime:
    loaded = x509.load_pem_x509_certificates(Path(path).read_bytes())
    return min(certificate.not_valid_after_utc for certificate in loaded)
