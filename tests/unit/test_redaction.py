"""``SecretFilter``: secrets of every shape disappear from records of any logger, and everything else stays."""

from __future__ import annotations

import io
import json
import logging
import secrets
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from pythonjsonlogger.json import JsonFormatter
from tornado.log import LogFormatter
from tornado.web import create_signed_value

from tornado_sessions.cookie import new_token
from tornado_sessions.redaction import SecretFilter, make_redactor

TOKEN = new_token("Abcdefghijklmnop12").text
SECRET_HALF = TOKEN.partition(".")[2]
SIGNED = create_signed_value("k" * 40, "sid", TOKEN).decode()
API = "ts_" + TOKEN.replace(".", "_")
SETUP = "Zr8_q-" + secrets.token_urlsafe(24)[6:]
KEY = secrets.token_urlsafe(48)
OPAQUE = "an opaque credential"

#: A text, and what must not remain of it.
LEAKS = [
    (TOKEN, SECRET_HALF), (f"token={TOKEN}&x=1", SECRET_HALF), (f"key {KEY} used", KEY),
    *((f"{start}{SIGNED}{end}", part) for start, end in [("", ""), ("sid=", "; a=b"), ("b'", "'"), ('"', '"'), ("[", "]")]
      for part in (SIGNED.split("|")[4].split(":")[1], SIGNED.split("|")[5])),
    (quote(SIGNED), SIGNED.split("|")[4].split(":")[1].rstrip("=")), (quote(quote(SIGNED)), SIGNED.split("|")[5]),
    (API, SECRET_HALF), (API.lower(), SECRET_HALF.lower()), (API.replace("_", "-"), SECRET_HALF), (API[:50], API[25:50]),
    *((text % OPAQUE, OPAQUE) for text in (
        "Cookie: sid=%s", "cookie : %s", "COOKIE2: %s", "Set-Cookie: %s", "Authorization: Basic %s", "{'Cookie': '%s'}",
        "[('Authorization', '%s')]", "b'Proxy-Authorization: %s\\r\\nHost: x'", "Invalid header value '%s'",
        "Malformed HTTP message from 1.2.3.4: Invalid header name '%s'", "Invalid cookie signature b'%s'", "Tampered cookie b'%s'",
        "Cookie timestamp in future; possible tampering b'%s'", "X-XSRFToken: %s", '{"authorization": "%s"}',
    )),
    *((text % SETUP, SETUP) for text in (
        "/setup/%s", "//setup//%s", "/SETUP/%s", "/Setup/%s/", "/%%73etup/%s", "/%%2573%%65tup/%s", "/setup%%2F%s",
        "/setup%%252f%s",
        "/ops/setup/%s?x=1", "Referer: http://h/setup/%s", "/setup/./%s", "/setup;/%s", "/setup\\%s", "uri='/setup/%s'", "%s",
    )),
    *((text, "hunter") for text in (
        "redis://:hunter2@h", "redis://:hunt/hunter2@h", "redis://ada:p#hunter?q@h/0", "mongodb://ada:p@hunter@h:1,i:2/db",
        "error at redis+sentinel://x:hunter2@h: lost", "password=hunter2&a=1", "b'old_password=hunter2'", "{'password': 'hunter2'}",
        "basic  hunterhunter", "$argon2id$v=19$m=8,t=1,p=1$hunter$hunter",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("text", "secret"), LEAKS, ids=range(len(LEAKS)))  # the tokens are new in each process
def test_secrets_are_removed_by_their_shape(text: str, secret: str) -> None:
    assert secret in text
    shown = make_redactor()(text)
    assert secret not in shown
    assert "[hidden]" in shown


@pytest.mark.parametrize(
    "text",
    [
        "200 GET /admin/sessions/Abcdefghijklmnop12 (2001:db8::1) 1.2 ms",
        "409 POST /login (127.0.0.1): request 0123456789abcdef0123456789abcdef",
        'File "/opt/lib/python3.11/site-packages/tornado_sessions/server/accounts/setup.py", line 31, in make',
        "in test_the_key_is_created_once_beside_the_data_and_only_its_owner_can_read_it",
        "7b6d3ed2-4d0b-4d8a-a8f7-3b1b33b1f9f6 http://example.org/path?next=/account ada@example.org",
        "the session store cannot be reached: Error 111 connecting to redis.example.org:6379. Connection refused.",
        "ended 5 sessions; two cookies named sid; the cookie is renewed",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert make_redactor()(text) == text


@pytest.mark.parametrize("text", ["a p@ss/w?rd# b", quote("p@ss/w?rd#", safe=""), repr("it's\\p@ss/w?rd#")])
def test_configured_secrets_are_removed_wherever_they_occur(text: str) -> None:
    assert "w?rd" not in make_redactor(["p@ss/w?rd#", "it's\\p@ss/w?rd#", ""])(text).replace("%3F", "?")


@pytest.mark.parametrize(
    "text",
    ["://", "a-", "2|1:", "setup", "setup/", "cookie ", "%73", "%25", "password=", "@:/", ":/a@", "ts_", "a.", "bearer ",
     "cookie'", "%252525", "0|", "9", "'  ", "bearer%20", "invalid header ", "tampering a", "basic +", "x" * 31 + "-"],
)  # fmt: skip
def test_no_text_of_a_client_takes_long_or_fills_the_log(text: str) -> None:
    redact, long = make_redactor([KEY]), (text * 65536)[:65536] + "@"
    started = time.process_time()
    assert len(redact(long)) < 10_000
    assert time.process_time() - started < 0.1


class TestSecretFilter:
    @pytest.fixture(params=[logging.Formatter, LogFormatter, JsonFormatter])
    def output(self, request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
        """What a handler with the filter prints for every logger, with formatters of several libraries."""
        stream = io.StringIO()
        handler, root = logging.StreamHandler(stream), logging.getLogger()
        handler.setFormatter(request.param())
        handler.addFilter(SecretFilter([OPAQUE]))
        root.addHandler(handler)
        yield stream
        root.removeHandler(handler)

    @pytest.mark.parametrize("secret", [TOKEN, SIGNED, API, OPAQUE], ids=["token", "signed", "API token", "opaque"])
    def test_message_arguments_traceback_stack_and_extra_fields_are_clean(
        self, output: io.StringIO, secret: str
    ) -> None:
        log = logging.getLogger("another.library")
        log.error(f"sent {secret}")  # noqa: G004 - as careless code does
        log.error("%s and %r", secret, {"Cookie": secret})
        log.error("extra", extra={"request": {"headers": secret}})
        try:
            try:
                raise ValueError(secret)
            except ValueError as error:
                raise RuntimeError(f"failed with {secret}") from error
        except RuntimeError:
            log.exception("failed", stack_info=True)
        shown = output.getvalue()
        assert shown.count("[hidden]") >= 4
        assert "RuntimeError" in shown
        for part in (SECRET_HALF, SIGNED.split("|")[5], OPAQUE):
            assert part not in shown.replace(json.dumps(OPAQUE), "")

    def test_a_record_whose_arguments_do_not_fit_is_still_logged(self, output: io.StringIO) -> None:
        logging.getLogger("another.library").error("%d sessions of %s", TOKEN)  # noqa: PLE1206 - the mistake is the point
        assert "sessions of" in output.getvalue()
        assert SECRET_HALF not in output.getvalue()
