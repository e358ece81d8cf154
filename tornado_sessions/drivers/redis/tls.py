"""Check the files of TLS options before the first connection, so that an error names the option and the file.

It must not know connections. redis-py loads the files anew for each connection, and its errors name neither.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tornado_sessions.errors import ConfigError

__all__ = ["check_files"]

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
