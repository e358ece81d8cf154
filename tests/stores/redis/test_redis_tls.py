"""TLS, a client certificate and a password reach every kind of connection: server, cluster, Sentinels and subscribers."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from support.tls_servers import PASSWORD, TlsServer, options_of, write_certificates
from support.waiting import wait_until

from tornado_sessions.errors import ConfigError, StoreUnavailable
from tornado_sessions.query import Query
from tornado_sessions.stores.redis import RedisStore
from tornado_sessions.testing.maker import NOW, create, end

OWN_PASSWORD = "of the Sentinel & only there"


@pytest.fixture(scope="module", autouse=True)
def no_authorities() -> Iterator[None]:
    """Those of this machine have signed no certificate of these tests, and reading them takes longer than a handshake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", os.devnull)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and its certificate for servers and clients alike."""
    return write_certificates(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[dict[str, tuple[str, str]]]:
    """The URL of each kind of server, all of which take TLS with a client certificate only, and more options."""
    started = [TlsServer(folder)]
    try:
        started.append(node := TlsServer(folder, ["cluster-enabled yes\ntls-cluster yes"]))
        node.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: b"cluster_state:ok" in node.ask("CLUSTER", "INFO"), "the cluster")
        watched = [
            f"sentinel monitor mymaster 127.0.0.1 {started[0].port} 1",
            f'sentinel auth-pass mymaster "{PASSWORD}"',
        ]
        sentinels = [TlsServer(folder, watched, password=word, sentinel=True) for word in (PASSWORD, "", OWN_PASSWORD)]
        started += sentinels
        own = "&sentinel_password=of%20the%20Sentinel%20%26%20only%20there"
        yield {
            "server": (started[0].url("rediss"), ""),
            "cluster": (node.url("rediss+cluster"), ""),
            "sentinel": (sentinels[0].url("rediss+sentinel", "/mymaster"), ""),
            "sentinel without a password": (sentinels[1].url("rediss+sentinel", "/mymaster"), ""),
            "sentinel with a password of its own": (sentinels[2].url("rediss+sentinel", "/mymaster"), own),
        }
    finally:
        for server in started:
            server.stop()


KINDS = ["server", "cluster", "sentinel", "sentinel without a password", "sentinel with a password of its own"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gen_test
async def test_sessions_are_kept_and_their_ends_heard_over_tls(
    servers: dict[str, tuple[str, str]], folder: Path, kind: str
) -> None:
    url, more = servers[kind]
    store = RedisStore.from_url(f"{url}?{options_of(folder)}{more}&prefix={kind.replace(' ', '-')}:")
    await store.open()
    try:
        await store.save([create("h1"), create("h2")])
        assert [record is not None for record in (await store.load(["h1", "none"], NOW)).records] == [True, False]
        assert len((await store.find(Query(now=NOW))).items) == 2
        await store.ping()
        found = await store.diagnose()
        assert found.faults == []
        # Of the servers in the URL, and of the client.
        assert sum("is valid until" in str(fact) for fact in found.facts) >= 2, found
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


async def refusal_of(url: str) -> str:
    """What opening and using a store says."""
    store = RedisStore.from_url(url)
    with pytest.raises(StoreUnavailable) as caught:
        await store.open()
    await store.close()
    assert "pass word" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["server", "cluster", "sentinel"])
@pytest.mark.gen_test
async def test_an_authority_or_a_client_certificate_that_is_missing_is_named(
    servers: dict[str, tuple[str, str]], folder: Path, tmp_path: Path, kind: str
) -> None:
    url, _ = servers[kind]
    other = write_certificates(tmp_path / "other", "127.0.0.1")
    client = f"ssl_certfile={folder}/cert.pem&ssl_keyfile={folder}/key.pem"
    for options in (client, f"{client}&ssl_ca_certs={other}/ca.pem"):
        assert "set ssl_ca_certs to the certificate of the authority" in await refusal_of(f"{url}?{options}")
    foreign = f"ssl_certfile={other}/cert.pem&ssl_keyfile={other}/key.pem&"
    for options in ("", foreign):
        said = await refusal_of(f"{url}?{options}ssl_ca_certs={folder}/ca.pem")
        assert "set ssl_certfile and ssl_keyfile" in said


@pytest.mark.gen_test
async def test_an_expired_certificate_and_a_wrong_name_are_told_apart(tmp_path: Path) -> None:
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    expired = write_certificates(tmp_path / "expired", "127.0.0.1", not_after=yesterday)
    named = write_certificates(tmp_path / "named", "redis.example.org")
    for folder, remedy in ((expired, "renew the server's certificate"), (named, "subjectAltName")):
        server = TlsServer(folder, clients="no")
        try:
            trusted = f"{server.url('rediss')}?ssl_ca_certs={folder}/ca.pem"
            assert remedy in await refusal_of(trusted)
            if folder is named:
                store = RedisStore.from_url(f"{server.url('rediss')}?{options_of(folder)}&ssl_check_hostname=false")
                await store.open()
                await store.ping()
                await store.close()
        finally:
            server.stop()


@pytest.mark.gen_test
async def test_a_url_without_tls_for_a_port_with_it_is_told(servers: dict[str, tuple[str, str]]) -> None:
    assert "write rediss instead of redis" in await refusal_of(servers["server"][0].replace("rediss", "redis"))


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
@pytest.mark.parametrize("how", ["missing", "empty", "text", "a folder"])
@pytest.mark.gen_test
async def test_a_file_that_cannot_be_used_is_named_with_its_option(
    folder: Path, tmp_path: Path, option: str, how: str
) -> None:
    path = tmp_path / "given.pem"
    if how == "a folder":
        path.mkdir()
    elif how != "missing":
        path.write_text("no certificate" if how == "text" else "")
    names = {"ssl_ca_certs": "ca.pem", "ssl_certfile": "cert.pem", "ssl_keyfile": "key.pem"}
    url = f"rediss://h?{options_of(folder)}".replace(str(folder / names[option]), str(path))
    for scheme in ("rediss", "rediss+cluster"):
        with pytest.raises(ConfigError) as caught:
            await RedisStore.from_url(url.replace("rediss", scheme)).open()
        assert option in str(caught.value)
        assert str(path) in str(caught.value)


@pytest.mark.gen_test
async def test_a_key_of_another_certificate_or_with_a_password_is_said(folder: Path, tmp_path: Path) -> None:
    other = write_certificates(tmp_path / "other", "127.0.0.1")
    shutil.copy(folder / "cert.pem", other / "cert.pem")
    with pytest.raises(ConfigError, match="is not the key of the certificate"):
        await RedisStore.from_url(f"rediss://h?{options_of(other)}").open()
    locked = tmp_path / "locked.pem"
    command = [
        "openssl",
        "rsa",
        "-aes256",
        "-passout",
        "pass:x1234",
        "-in",
        str(folder / "key.pem"),
        "-out",
        str(locked),
    ]
    if "EC" in (folder / "key.pem").read_text():
        command[1] = "ec"
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigError, match="without a password"):
        await RedisStore.from_url(
            f"rediss://h?{options_of(folder)}".replace(str(folder / "key.pem"), str(locked))
        ).open()
