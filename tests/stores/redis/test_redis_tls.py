"""TLS, a client certificate and a password reach every kind of connection: server, cluster, Sentinels and subscribers."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import signal
import subprocess
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.redis_servers import free_port
from support.waiting import wait_until

from tornado_sessions.stores.redis import RedisStore
from tornado_sessions.testing.maker import NOW, create, end

PASSWORD = "pass word"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for 127.0.0.1 that is its own authority, for servers and clients alike."""
    path = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


class TlsServer:
    """Debian's redis-server, on a TLS port only, with a password unless ``password`` is empty."""

    def __init__(self, folder: Path, *lines: str, password: str = PASSWORD, sentinel: bool = False) -> None:
        self.folder = folder
        self.password = password
        # A cluster node takes another port 10,000 above.
        self.port = free_port()
        own = folder / str(self.port)
        own.mkdir()
        config = own / "redis.conf"
        config.write_text(
            "\n".join(
                [
                    f"port 0\ntls-port {self.port}\nbind 127.0.0.1\ndir {own}",
                    f"tls-cert-file {folder}/cert.pem\ntls-key-file {folder}/key.pem\ntls-ca-cert-file {folder}/cert.pem",
                    "tls-auth-clients yes\ntls-replication yes",
                    f'requirepass "{password}"' if password else "",
                    *lines,
                ]
            )
        )
        with (own / "log").open("wb") as log:
            command = ["/usr/bin/redis-server", str(config), *(["--sentinel"] if sentinel else [])]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: self.ask("PING") in (True, b"PONG"), f"redis with TLS on {self.port}")

    def ask(self, *command: Any) -> Any:
        with redis.Redis(
            host="127.0.0.1",
            port=self.port,
            password=self.password or None,
            ssl=True,
            ssl_ca_certs=str(self.folder / "cert.pem"),
            ssl_certfile=str(self.folder / "cert.pem"),
            ssl_keyfile=str(self.folder / "key.pem"),
        ) as client:
            return client.execute_command(*command)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def url_for(scheme: str, server: TlsServer, path: str = "") -> str:
    pem = server.folder
    options = f"ssl_ca_certs={pem}/cert.pem&ssl_certfile={pem}/cert.pem&ssl_keyfile={pem}/key.pem"
    return f"{scheme}://:pass%20word@127.0.0.1:{server.port}{path}?{options}"


@pytest.fixture(scope="module")
def urls(folder: Path) -> Iterator[dict[str, str]]:
    """A URL of each kind of server, all of which take TLS with a client certificate only."""
    servers = [TlsServer(folder)]
    single = servers[0]
    try:
        servers.append(node := TlsServer(folder, "cluster-enabled yes\ntls-cluster yes"))
        node.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: b"cluster_state:ok" in node.ask("CLUSTER", "INFO"), "the cluster")
        watched = (
            f"sentinel monitor mymaster 127.0.0.1 {single.port} 1",
            f'sentinel auth-pass mymaster "{PASSWORD}"',
        )
        servers.append(sentinel := TlsServer(folder, *watched, sentinel=True))
        servers.append(open_sentinel := TlsServer(folder, *watched, password="", sentinel=True))
        yield {
            "server": url_for("rediss", single),
            "cluster": url_for("rediss+cluster", node),
            "sentinel": url_for("rediss+sentinel", sentinel, "/mymaster"),
            "sentinel without a password": url_for("rediss+sentinel", open_sentinel, "/mymaster"),
        }
    finally:
        for server in servers:
            server.stop()


@pytest.mark.parametrize("kind", ["server", "cluster", "sentinel", "sentinel without a password"])
@pytest.mark.gen_test
async def test_sessions_are_kept_and_their_ends_heard_over_tls(urls: dict[str, str], kind: str) -> None:
    store = RedisStore.from_url(urls[kind] + f"&prefix={kind.replace(' ', '-')}:")
    await store.open()
    try:
        await store.save([create("h1"), create("h2")])
        assert [record is not None for record in (await store.load(["h1", "none"], NOW)).records] == [True, False]
        async with aclosing(store.events()) as events:
            heard = asyncio.ensure_future(anext(events))
            # Nobody says when the subscription holds, so an end is repeated with new sessions until one is heard.
            for number in range(100):
                await store.save([create(f"n{number}")])
                await store.destroy([f"n{number}"], end(NOW))
                if (await asyncio.wait([heard], timeout=0.1))[0]:
                    break
            assert (await heard).handle.startswith("n")
    finally:
        await store.close()
