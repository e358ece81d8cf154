"""What the URLs of stores say, and what is refused at once."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tornado_sessions.drivers.mongo import client_options as mongo_options
from tornado_sessions.drivers.redis import client_options
from tornado_sessions.errors import ConfigError
from tornado_sessions.stores import open_store


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", {"kind": "single", "hosts": [("localhost", 6379)], "db": 0, "tls": False, "prefix": "ts:"}),
        ("redis://h:7/2?prefix=a:", {"hosts": [("h", 7)], "db": 2, "prefix": "a:"}),
        ("redis://ada:p%40ss@h", {"username": "ada", "password": "p@ss"}),
        ("redis://:secret@[::1]:7", {"username": None, "password": "secret", "hosts": [("::1", 7)]}),
        ("rediss://h?ssl_cert_reqs=none&timeout=1.5", {"tls": True, "ssl": {"ssl_cert_reqs": "none"}, "timeout": 1.5}),
        ("unix:///run/valkey.sock?db=3", {"path": "/run/valkey.sock", "db": 3, "hosts": []}),
        ("redis+sentinel://a:1,b/main", {"kind": "sentinel", "hosts": [("a", 1), ("b", 26379)], "service": "main"}),
        ("redis://h?buckets=64", {"buckets": 64}),
        ("redis://h", {"buckets": 16, "sentinel_password": None}),
        ("redis+sentinel://:a@h/main?sentinel_password=b%26", {"password": "a", "sentinel_password": "b&"}),
        ("rediss://h?ssl_check_hostname=false", {"ssl": {"ssl_check_hostname": False}}),
        ("rediss+cluster://a:1,b:2", {"kind": "cluster", "hosts": [("a", 1), ("b", 2)], "tls": True}),
    ],
)
def test_a_redis_url_is_read(url: str, expected: dict[str, Any]) -> None:
    options = client_options(url)._asdict()
    assert {name: options[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("redis://h:0", "port"),
        ("redis://h?timeout=0&color=red", "color"),
        ("redis://h?prefix={a}", "braces"),
        ("redis+sentinel://h", "name the service"),
        ("redis://h?sentinel_password=hunter2", "sentinel_password needs redis+sentinel://"),
        ("redis+cluster://h?ssl_ca_certs=ca.pem", "ssl_ca_certs needs TLS: write rediss instead of redis"),
        ("unix://h/socket?ssl_certfile=c.pem", "ssl_certfile needs TLS"),
        ("rediss://h?ssl_keyfile=key.pem", "ssl_keyfile needs ssl_certfile"),
        ("rediss://h?ssl_check_hostname=perhaps", "ssl_check_hostname must be one of"),
        ("redis://h/1.5", "db must be a whole number"),
        ("redis://h?max_connections=2.5", "max_connections must be a whole number"),
        ("mongodb://h/db?driver=other", "driver must be motor or pymongo"),
        ("mongodb://h:port/db", "mongodb://h:port/db"),
        ("dual://?primary=x", "dual://"),
        ("other://h", "no store for other://"),
        ("no url", "without a scheme"),
    ],
)
def test_a_wrong_url_is_refused_at_once_and_tells_no_password(url: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(url.replace("://h", "://ada:hunter2@h"))
    assert fault in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("mark", [*"/?#@[]{}&;=:+%\\|^ \t'\"<>`~!$*(),", "://", "//", "%zz", "?a=", "℀", "é"])
def test_no_part_of_a_password_that_is_not_escaped_is_shown(mark: str) -> None:
    for scheme in ("redis", "redis+sentinel", "mongodb", "unix", "other"):
        for password in (f"hunter{mark}secret", f"{mark}hunter{mark}secret{mark}"):
            url = f"{scheme}://ada:{password}@h/0"
            for text in (url, f"dual://?primary={url}&fallback={url}", f"dual://?primary={quote(url)}&fallback={url}"):
                shown = fault_of(text)
                assert "hunter" not in shown
                assert "secret" not in shown


def fault_of(url: str) -> str:
    """What is wrong with a URL; an empty string if nothing is."""
    try:
        open_store(url)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("url", ["redis://:hunter2@h", "mongodb://ada:hunter2@h/db"])
def test_options_do_not_show_a_password(url: str) -> None:
    read = mongo_options if url.startswith("mongo") else client_options
    assert "hunter2" not in repr(read(url))


def test_mongodb_waits_for_the_majority_unless_the_url_says_otherwise() -> None:
    assert "w=majority" in mongo_options("mongodb://h").url
    assert mongo_options("mongodb://h/db?w=1&prefix=a_&driver=pymongo")[1:] == ("pymongo", "db", "a_")
    assert "w=1" in mongo_options("mongodb://h/db?w=1").url
