"""A real nginx on loopback ports, with the site that this project ships."""

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.needed import program

SITE = Path(__file__).parents[2] / "examples" / "deploy" / "nginx.conf"

_AROUND = """
daemon off;
user {user} {group};
pid {folder}/nginx.pid;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
{site}
}}
"""


class Nginx:
    """One process of nginx, in front of one server or two.

    Args:
        folder: where its files go.
        one, two: the servers, as nginx writes them: ``127.0.0.1:3000`` or ``unix:/path``.
        location: the path that it serves.
        removes: whether it removes that path before it passes a request on.

    Attributes:
        http: base address for plain requests.
        https: base address for requests over TLS, with a certificate that nobody signed.
    """

    def __init__(self, folder: Path, one: str, two: str = "", location: str = "/", *, removes: bool = False) -> None:
        self._location, self._removes = location, removes
        nginx = program("nginx", "nginx-light")
        # nginx takes the listening sockets over, as at its own upgrade: no port is guessed, and no request comes too early.
        plain, secure = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self.http, self.https = (f"{scheme}://127.0.0.1:{sock.getsockname()[1]}" for scheme, sock in
                                 (("http", plain), ("https", secure)))  # fmt: skip
        _make_certificate(folder)
        # Its worker would else be nobody, who may enter no folder of ours.
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
        config = folder / "nginx.conf"
        config.write_text(_AROUND.format(folder=folder, site=self._site(one, two or one), user=user, group=group))
        self.log = folder / "error.log"
        with plain, secure:
            self._process = subprocess.Popen(
                [nginx, "-p", str(folder), "-e", str(self.log), "-c", str(config)],
                pass_fds=[plain.fileno(), secure.fileno()],
                env={**os.environ, "NGINX": f"{plain.fileno()};{secure.fileno()};"},
            )

    def _site(self, one: str, two: str) -> str:
        """The shipped site with other servers behind it and other ports before it; nothing else is changed."""
        site, ones = re.subn(r"server one:3000\b", f"server {one}", SITE.read_text())
        site, twos = re.subn(r"server two:3000\b", f"server {two}", site)
        plain, secure = (address.partition("://")[2] for address in (self.http, self.https))
        site, ports = re.subn(r"listen 80;", f"listen {plain}; listen {secure} ssl;", site)
        site, places = re.subn(r"location / {", f"location {self._location} {{", site)
        assert (ones, twos, ports, places) == (2, 2, 1, 1)
        return site.replace("http://tornado_sessions;", "http://tornado_sessions/;") if self._removes else site

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(timeout=20)


def _make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
