"""Debian's redis-server on a TLS port, and the certificates of the tests."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
import trustme
from support.needed import program
from support.ports import free_port
from support.waiting import wait_for_server

PASSWORD = "pass word"


def write_certificates(folder: Path, *names: str, not_after: dt.datetime | None = None) -> Path:
    """Write an authority (ca.pem), and a certificate of it for these hosts with its key (cert.pem, key.pem)."""
    folder.mkdir(exist_ok=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    made = authority.issue_cert(*names, not_after=not_after)
    made.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    made.private_key_pem.write_to_path(str(folder / "key.pem"))
    return folder


class TlsServer:
    """Debian's redis-server on a TLS port only, which asks clients for a certificate of its own authority.

    Args:
        folder: with the files of ``write_certificates``.
        lines: more lines of its configuration.
        password: empty for none.
        sentinel: whether it is a Sentinel.
        clients: ``yes`` if clients need a certificate, otherwise ``no``.
    """

    def __init__(
        self,
        folder: Path,
        lines: Sequence[str] = (),
        *,
        password: str = PASSWORD,
        sentinel: bool = False,
        clients: str = "yes",
    ) -> None:
        binary = program("redis-server", "redis-server")
        self.folder = folder
        self.clients = clients
        self.password = password
        self.port = free_port()
        own = folder / str(self.port)
        own.mkdir()
        config = own / "redis.conf"
        common = [
            f"port 0\ntls-port {self.port}\nbind 127.0.0.1\ndir {own}",
            f"tls-cert-file {folder}/cert.pem\ntls-key-file {folder}/key.pem\ntls-ca-cert-file {folder}/ca.pem",
            f"tls-auth-clients {clients}\ntls-replication yes",
            f'requirepass "{password}"' if password else "",
        ]
        config.write_text("\n".join([*common, *lines]))
        with (own / "log").open("wb") as log:
            command = [binary, str(config), *(["--sentinel"] if sentinel else [])]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        what = f"redis with TLS on {self.port}"
        wait_for_server(lambda: self.ask("PING") in (True, b"PONG"), what, own / "log", self.stop)

    def ask(self, *command: Any) -> Any:
        with redis.Redis(
            host="127.0.0.1",
            port=self.port,
            password=self.password or None,
            ssl=True,
            ssl_cert_reqs="none",
            ssl_certfile=str(self.folder / "cert.pem") if self.clients == "yes" else None,
            ssl_keyfile=str(self.folder / "key.pem") if self.clients == "yes" else None,
        ) as client:
            return client.execute_command(*command)

    def url(self, scheme: str, path: str = "", *, login: str = ":pass%20word@") -> str:
        """The URL of this server without TLS options."""
        return f"{scheme}://{login}127.0.0.1:{self.port}{path}"

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def options_of(folder: Path) -> str:
    """The TLS options of a URL, with the files of a folder."""
    return f"ssl_ca_certs={folder}/ca.pem&ssl_certfile={folder}/cert.pem&ssl_keyfile={folder}/key.pem"
