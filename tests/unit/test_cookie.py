"""The ``Cookie`` header: which value of ours is believed, in tables of header → accepted or not."""

from __future__ import annotations

from typing import Any

import pytest
from support.passwords import SECRET
from tornado.httputil import HTTPHeaders

from tornado_sessions import SessionConfig
from tornado_sessions.cookie import Cookies, join_cookie_lines, new_token
from tornado_sessions.errors import ConfigError

OTHER = "another secret that nobody here signs with any more"
COOKIES = Cookies(SessionConfig(), [SECRET])
OURS = COOKIES.sign(new_token().text, secure=False)
RIVAL = COOKIES.sign(new_token().text, secure=False)
SECURE = COOKIES.sign(new_token().text, secure=True)
FORGED = Cookies(SessionConfig(), [OTHER]).sign(new_token().text, secure=False)
FAR = "; ".join(f"cookie{number}=x" for number in range(500))

ACCEPTED = {
    "alone": f"sid={OURS}",
    "among others": f"a=b; sid={OURS}; c=d",
    "without the space": f"a=b;sid={OURS};c=d",
    "spaces and tabs": f"  \t sid \t=\t {OURS} \t ;",
    "quoted": f'sid="{OURS}"',
    "the same twice": f"sid={OURS}; sid={OURS}",
    "the same, once quoted": f'sid="{OURS}"; sid={OURS}',
    "behind junk": f"sid=leftover; sid={OURS}",
    "before junk": f"sid={OURS}; sid=leftover",
    "between junk": f"sid=a|b|c; sid=; sid={OURS}; sid=2|1:0|; sid",
    "beside one of a lost key": f"sid={FORGED}; sid={OURS}",
    "beside one of another name's": f"sid={SECURE}; sid={OURS}",
    "beside 4 KiB": f"sid={'x' * 5000}; sid={OURS}",
    "beside a NUL": f"sid=\0; sid={OURS}",
    "behind many": f"{FAR}; sid={OURS}",
    "empty pairs": f";;; ;=;=x; sid={OURS};",
}
REFUSED = {
    "nothing": "",
    "no value": "sid=",
    "no pair": "sid",
    "another name": f"sid2={OURS}",
    "another case": f"SID={OURS}",
    "a nameless one": f"=sid={OURS}",
    "a name with a Unicode space": f"\xa0sid={OURS}",
    "a name with a next line": f"\x85sid={OURS}",
    "a value with a Unicode space": f"sid={OURS}\xa0",
    "a NUL behind": f"sid={OURS}\0",
    "a comma": f"a=b,sid={OURS}",
    "a lost key": f"sid={FORGED}",
    "another name's value": f"sid={SECURE}",
    "4 KiB": f"sid={'x' * 5000}",
}


@pytest.mark.parametrize("header", ACCEPTED.values(), ids=ACCEPTED)
def test_one_genuine_cookie_is_believed_whatever_stands_beside_it(header: str) -> None:
    assert [found.value for found in COOKIES.read(header, secure=False)] == [OURS]


@pytest.mark.parametrize("header", REFUSED.values(), ids=REFUSED)
def test_anything_else_is_a_visitor(header: str) -> None:
    assert COOKIES.read(header, secure=False) == []


def test_every_genuine_cookie_is_reported_once_and_in_order() -> None:
    header = f"sid=x; sid={RIVAL}; sid=junk; sid={OURS}; sid={RIVAL}"
    assert [found.value for found in COOKIES.read(header, secure=False)] == [RIVAL, OURS]


def test_a_crowd_of_genuine_cookies_is_looked_at_up_to_a_bound() -> None:
    crowd = "; ".join(f"sid={COOKIES.sign(new_token().text, secure=False)}" for _ in range(100))
    assert len(COOKIES.read(crowd, secure=False)) == 16


def test_a_value_verified_under_one_name_does_not_pass_under_another() -> None:
    cookies = Cookies(SessionConfig(), [SECRET])
    assert cookies.read(f"__Host-sid={SECURE}", secure=True)
    assert cookies.read(f"sid={SECURE}", secure=False) == []
    assert cookies.read(f"sid={OURS}", secure=False)
    assert cookies.read(f"__Host-sid={OURS}", secure=True) == []


@pytest.mark.parametrize(
    ("lines", "joined"),
    [
        ([], None),
        (["a=1"], "a=1"),
        (["a=1", f"sid={OURS}", "b=2"], f"a=1; sid={OURS}; b=2"),
        ([f"sid={OURS}", ""], f"sid={OURS}; "),
    ],
    ids=["none", "one", "three", "an empty one"],
)
def test_several_cookie_lines_are_one(lines: list[str], joined: str | None) -> None:
    headers = HTTPHeaders()
    for line in lines:
        headers.add("Cookie", line)
    join_cookie_lines(headers)
    assert headers.get("Cookie") == joined
    assert bool(COOKIES.read(joined, secure=False)) is any("sid" in line for line in lines)


PREFIXED: dict[str, dict[str, Any]] = {
    "__Secure-a": {"secure": True},
    "__Host-a": {"secure": True},
    "__Http-a": {"secure": True, "path": "/shop", "domain": "example.org"},
    "__Host-Http-a": {"secure": True},
    "__Hostess": {},
    "__Http": {},
}
NEEDS: list[tuple[str, dict[str, Any], str]] = [
    ("__Secure-a", {"secure": "auto"}, "secure=True"),
    ("__Secure-a", {"secure": False}, "secure=True"),
    ("__Host-a", {"secure": "auto"}, "secure=True"),
    ("__Host-a", {"secure": True, "domain": "example.org"}, "no domain"),
    ("__Host-a", {"secure": True, "path": "/shop"}, "only the path '/'"),
    ("__Http-a", {"secure": "auto"}, "secure=True"),
    ("__Http-a", {"secure": True, "http_only": False}, "http_only=True"),
    ("__Host-Http-a", {"secure": "auto"}, "secure=True"),
    ("__Host-Http-a", {"secure": True, "http_only": False}, "http_only=True"),
    ("__Host-Http-a", {"secure": True, "domain": "example.org"}, "no domain"),
    ("__Host-Http-a", {"secure": True, "path": "/shop"}, "only the path '/'"),
]


@pytest.mark.parametrize("write", [str, str.lower, str.upper], ids=["as written", "lower", "upper"])
@pytest.mark.parametrize(("name", "options"), PREFIXED.items(), ids=PREFIXED)
def test_a_prefix_with_what_browsers_demand_of_it_is_accepted(name: str, options: dict[str, Any], write: Any) -> None:
    assert SessionConfig(cookie_name=write(name), **options).cookie_name == write(name)


@pytest.mark.parametrize("write", [str, str.lower, str.upper], ids=["as written", "lower", "upper"])
@pytest.mark.parametrize(("name", "options", "fault"), NEEDS)
def test_a_prefix_without_it_is_refused_in_any_case(name: str, options: dict[str, Any], fault: str, write: Any) -> None:
    with pytest.raises(ConfigError, match=fault):
        SessionConfig(cookie_name=write(name), **options)
