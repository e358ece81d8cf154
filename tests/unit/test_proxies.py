"""Addresses: one spelling of each, and which forwarding header is believed, as tables."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders

from tornado_sessions import SessionConfig
from tornado_sessions.errors import ConfigError
from tornado_sessions.proxies import Proxies, is_forwarded, network, plain_address
from tornado_sessions.query import Query
from tornado_sessions.server.accounts.client import Client
from tornado_sessions.stores.indexes import index_ranges
from tornado_sessions.stores.networks import in_network, network_prefixes, spellings_of

SPELLINGS = [
    ("192.0.2.1", "192.0.2.1"),
    ("::ffff:192.0.2.1", "192.0.2.1"),
    ("::ffff:c000:201", "192.0.2.1"),
    ("::FFFF:C000:0201", "192.0.2.1"),
    ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
    ("2001:DB8::1", "2001:db8::1"),
    ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
    ("fe80::1%eth0", "fe80::1"),
    ("::1", "::1"),
    ("::192.0.2.1", "::c000:201"),
]


@pytest.mark.parametrize(("text", "plain"), SPELLINGS)
def test_an_address_has_one_spelling(text: str, plain: str) -> None:
    assert plain_address(text) == plain


@pytest.mark.parametrize(
    "text", ["", "unix:", "unknown", "192.0.2.01", "1.2.3", "192.0.2.1:80", "[::1]", "1.2.3.4%a", " ::1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        plain_address(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:c000:201", "192.0.2.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_has_one_spelling(text: str, plain: str) -> None:
    assert str(network(text)) == plain


@pytest.mark.parametrize("stored", ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"])
@pytest.mark.parametrize(
    "block", ["192.0.2.0/24", "192.0.0.0/16", "192.0.0.0/12", "192.0.2.1", "::ffff:192.0.2.0/120", "0.0.0.0/0"]
)
def test_a_network_holds_an_address_in_any_stored_spelling(stored: str, block: str) -> None:
    assert in_network(stored, block)
    assert not in_network("198.51.100.1", "192.0.0.0/12")
    ranges = index_ranges(Query(now=0, network=block))
    assert not ranges or any(stored.startswith(part.value) for part in ranges)
    assert bool(ranges) is bool(network_prefixes(block))


def test_an_ipv4_address_is_looked_up_in_every_stored_spelling() -> None:
    assert spellings_of("::ffff:192.0.2.1") == ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"]
    assert spellings_of("2001:DB8::1") == ["2001:db8::1"]
    assert spellings_of("nonsense") == ["nonsense"]


@pytest.mark.parametrize(
    ("text", "key"), [("::ffff:192.0.2.1", "192.0.2.1/32"), ("fe80::1%eth0", "fe80::/64"), ("", "unknown")]
)
def test_throttling_counts_every_spelling_of_an_address_together(text: str, key: str) -> None:
    assert Client(text).networks[0].prefix == key


FOR = "X-Forwarded-For"
PROTO = "X-Forwarded-Proto"
FORWARDED = "Forwarded"
TRUSTED = ["10.0.0.0/8", "::1", "fe80::1", "unix:"]

BY_LIST: dict[str, tuple[str, dict[str, str], str, bool]] = {
    "a stranger's header": ("203.0.113.9", {FOR: "6.6.6.6", PROTO: "https"}, "203.0.113.9", False),
    "a stranger's Forwarded": ("203.0.113.9", {FORWARDED: "for=6.6.6.6;proto=https"}, "203.0.113.9", False),
    "the other header": ("10.0.0.1", {FOR: "192.0.2.7", FORWARDED: "for=6.6.6.6;proto=https"}, "192.0.2.7", False),
    "the other header alone": ("10.0.0.1", {FORWARDED: "for=6.6.6.6;proto=https"}, "10.0.0.1", False),
    "what the client added": ("10.0.0.1", {FOR: "6.6.6.6, 192.0.2.7"}, "192.0.2.7", False),
    "two proxies": ("10.0.0.1", {FOR: "6.6.6.6, 192.0.2.7, 10.2.2.2", PROTO: "https"}, "192.0.2.7", True),
    "a protocol for each": ("10.0.0.1", {FOR: "192.0.2.7, 10.2.2.2", PROTO: "https, http"}, "192.0.2.7", True),
    "a protocol for each of two": ("10.0.0.1", {FOR: "6.6.6.6, 192.0.2.7", PROTO: "https, http"}, "192.0.2.7", False),
    "a client's protocol before the proxy's": (
        "10.0.0.1",
        {FOR: "192.0.2.7", PROTO: "https, http"},
        "192.0.2.7",
        False,
    ),
    "a protocol alone": ("10.0.0.1", {PROTO: "HTTPS"}, "10.0.0.1", True),
    "a secure WebSocket": ("10.0.0.1", {FOR: "192.0.2.7", PROTO: "wss"}, "192.0.2.7", True),
    "a mapped proxy": ("::ffff:10.0.0.1", {FOR: "192.0.2.7"}, "192.0.2.7", False),
    "a mapped proxy in groups": ("::ffff:a00:1", {FOR: "192.0.2.7, ::ffff:10.9.9.9"}, "192.0.2.7", False),
    "a mapped stranger": ("::ffff:203.0.113.9", {FOR: "6.6.6.6"}, "203.0.113.9", False),
    "a mapped client": ("10.0.0.1", {FOR: "::ffff:192.0.2.7"}, "192.0.2.7", False),
    "a client in groups": ("10.0.0.1", {FOR: "::FFFF:C000:207"}, "192.0.2.7", False),
    "a client with a port": ("10.0.0.1", {FOR: "192.0.2.7:51000"}, "192.0.2.7", False),
    "brackets": ("10.0.0.1", {FOR: "[2001:DB8::0007]"}, "2001:db8::7", False),
    "brackets and a port": ("10.0.0.1", {FOR: "[2001:db8::7]:51000"}, "2001:db8::7", False),
    "a zone": ("fe80::1%eth0", {FOR: "fe80::2%eth0"}, "fe80::2", False),
    "an open bracket": ("10.0.0.1", {FOR: "6.6.6.6, [2001:db8::7"}, "10.0.0.1", False),
    "no port": ("10.0.0.1", {FOR: "6.6.6.6, 192.0.2.7:http"}, "10.0.0.1", False),
    "leading zeros": ("10.0.0.1", {FOR: "6.6.6.6, 192.0.2.007"}, "10.0.0.1", False),
    "unknown": ("10.0.0.1", {FOR: "6.6.6.6, unknown"}, "10.0.0.1", False),
    "an empty part": ("10.0.0.1", {FOR: "6.6.6.6, , 10.2.2.2"}, "10.2.2.2", False),
    "a comma at the end": ("10.0.0.1", {FOR: "6.6.6.6,"}, "10.0.0.1", False),
    "no header": ("10.0.0.1", {}, "10.0.0.1", False),
    "an empty header": ("10.0.0.1", {FOR: ""}, "10.0.0.1", False),
    "a unix socket": ("unix:", {FOR: "6.6.6.6, 192.0.2.7", PROTO: "https"}, "192.0.2.7", True),
    "a unix socket without a header": ("unix:", {}, "", False),
    "nginx behind a unix socket": ("10.0.0.1", {FOR: "192.0.2.7, unix:"}, "192.0.2.7", False),
    "0.0.0.0 is no unix socket": ("0.0.0.0", {FOR: "6.6.6.6"}, "0.0.0.0", False),
    "10,000 hops": ("10.0.0.1", {FOR: ", ".join(["6.6.6.6", *["10.0.0.2"] * 10_000, "192.0.2.7"])}, "192.0.2.7", False),
    "10,000 proxies": ("10.0.0.1", {FOR: ", ".join(["6.6.6.6", *["10.0.0.2"] * 10_000])}, "10.0.0.2", False),
}
BY_FORWARDED: dict[str, tuple[str, dict[str, str], str, bool]] = {
    "brackets and a port": ("::1", {FORWARDED: 'for="[2001:db8::1]:80";proto=https'}, "2001:db8::1", True),
    "the other header": ("::1", {FORWARDED: "for=192.0.2.7", FOR: "6.6.6.6", PROTO: "https"}, "192.0.2.7", False),
    "the other header alone": ("::1", {FOR: "6.6.6.6", PROTO: "https"}, "::1", False),
    "what the client added": (
        "::1",
        {FORWARDED: "for=6.6.6.6;proto=https, for=192.0.2.7;proto=http"},
        "192.0.2.7",
        False,
    ),
    "names in any case": ("::1", {FORWARDED: 'For="192.0.2.7:_port";PROTO=HTTPS;by=10.0.0.1'}, "192.0.2.7", True),
    "a quote left open": ("::1", {FORWARDED: 'for="6.6.6.6, for=192.0.2.7'}, "192.0.2.7", False),
    "unknown": ("::1", {FORWARDED: "for=6.6.6.6, for=unknown"}, "::1", False),
    "a hidden name": ("::1", {FORWARDED: "for=6.6.6.6, for=_gateway"}, "::1", False),
    "an empty part": ("::1", {FORWARDED: "for=6.6.6.6, "}, "::1", False),
    "no for": ("::1", {FORWARDED: "for=6.6.6.6, proto=https"}, "::1", True),
    "a mapped client": ("::1", {FORWARDED: 'for="[::ffff:192.0.2.7]"'}, "192.0.2.7", False),
    "a unix socket": ("unix:", {FORWARDED: "for=192.0.2.7;proto=https"}, "192.0.2.7", True),
}


@pytest.mark.parametrize(("remote", "headers", "ip", "secure"), BY_LIST.values(), ids=BY_LIST)
def test_x_forwarded_for_counts_through_trusted_proxies_only(
    remote: str, headers: dict[str, str], ip: str, secure: bool
) -> None:
    assert Proxies(TRUSTED).origin(remote, "http", headers) == (ip, secure)


@pytest.mark.parametrize(("remote", "headers", "ip", "secure"), BY_FORWARDED.values(), ids=BY_FORWARDED)
def test_forwarded_counts_where_it_is_configured(remote: str, headers: dict[str, str], ip: str, secure: bool) -> None:
    assert Proxies(TRUSTED, "Forwarded").origin(remote, "http", headers) == (ip, secure)


def test_a_unix_socket_is_believed_only_where_it_is_named() -> None:
    assert Proxies(["0.0.0.0/0", "::/0"]).origin("unix:", "http", {FOR: "6.6.6.6", PROTO: "https"}) == ("", False)


@pytest.mark.parametrize("header", [FOR, FORWARDED])
def test_several_lines_are_one_list(header: str) -> None:
    headers = HTTPHeaders()
    for address in ("6.6.6.6", "192.0.2.7", "10.2.2.2"):
        headers.add(header, f"for={address}" if header == FORWARDED else address)
    assert Proxies(TRUSTED, header).origin("10.0.0.1", "http", headers).ip == "192.0.2.7"


@pytest.mark.parametrize(
    "value", ["a" * 64_000, "10.0.0.2," * 7_000, 'for="' * 12_000, "[" * 64_000, "for=" + "1" * 64_000]
)
@pytest.mark.parametrize("header", [FOR, FORWARDED])
def test_a_hostile_header_costs_little(header: str, value: str) -> None:
    proxies, start = Proxies(TRUSTED, header), time.perf_counter()
    proxies.origin("10.0.0.1", "http", {header: value})
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded",
        "X-Forwarded-For",
        "x-forwarded-host",
        "X-FORWARDED-PROTO",
        "X-Real-IP",
        "Via",
        "Forwarded-For",
        "X-Original-URI",
        "X-Azure-ClientIP",
        "Fastly-Client-IP",
    ],
)
def test_any_forwarding_header_is_noticed(name: str) -> None:
    headers = HTTPHeaders({"Host": "a"})
    assert not is_forwarded(headers)
    headers.add(name, "")
    assert is_forwarded(headers)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"forwarded_header": "X-Real-IP"}, "forwarded_header"),
        ({"forwarded_header": ""}, "forwarded_header"),
        ({"trusted_proxies": ["unix"]}, "unix:"),
        ({"trusted_proxies": ["10.0.0.0/33"]}, "10.0.0.0/33"),
        ({"trusted_proxies": "unix:"}, "list"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        SessionConfig(**options)


def test_right_options_are_accepted() -> None:
    SessionConfig(trusted_proxies=["unix:", "::ffff:10.0.0.0/104", "2001:db8::/32"], forwarded_header="Forwarded")


@pytest.mark.parametrize(
    "host",
    [
        '"a,for=6.6.6.6"',
        '"a, for=6.6.6.6;proto=https"',
        '"a;for=6.6.6.6"',
        r'"a\";for=6.6.6.6"',
        r'"a\",for=6.6.6.6;x=\""',
        r'"a\\"',
        '"' + ",for=6.6.6.6" * 15 + '"',
    ],
)
@pytest.mark.parametrize("before", ["", 'for="7.7.7.7, ', "for=7.7.7.7;proto=https, ", '", ', '\\", '])
@pytest.mark.parametrize("order", ["for=192.0.2.1;host={host}", "host={host};for=192.0.2.1"])
def test_what_a_proxy_quotes_of_the_clients_is_no_hop(order: str, before: str, host: str) -> None:
    proxies = Proxies(["127.0.0.1"], "Forwarded")
    header = before + order.format(host=host)
    assert proxies.origin("127.0.0.1", "http", {"Forwarded": header}) == ("192.0.2.1", False)


@pytest.mark.parametrize(
    "header",
    ["for=192.0.2.1;host=a;for=6.6.6.6", "host=a;for=6.6.6.6;for=192.0.2.1", 'for=192.0.2.1;host="' + "a" * 300 + '"'],
)
def test_a_hop_that_names_two_clients_or_is_too_long_names_none(header: str) -> None:
    proxies = Proxies(["127.0.0.1"], "Forwarded")
    assert proxies.origin("127.0.0.1", "http", {"Forwarded": header}) == ("127.0.0.1", False)
