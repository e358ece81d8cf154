"""The webhook of the server, with a real receiver: signed, in order, at least once, and by one process."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from support.receiver import Receiver
from support.server_process import ServerProcess, run_command
from support.waiting import wait_until

from tornado_sessions import ConfigError
from tornado_sessions.server.settings import load
from tornado_sessions.server.signed_messages import signature

ROOT = Path(__file__).parents[2]

SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_dGhlIG9sZCBzZWNyZXQgb2YgdGhlIHdlYmhvb2s=")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    made.start()
    yield made
    made.stop()


def flags(folder: Path, receiver: Receiver) -> list[str]:
    """The settings of a server whose webhook is this receiver."""
    secrets = folder / "webhook-secret"
    secrets.write_text("\n".join(SECRETS))
    secrets.chmod(0o600)
    return ["--webhook-url", receiver.url, "--webhook-secret-file", str(secrets)]


@pytest.fixture
def server(tmp_path: Path, receiver: Receiver) -> Iterator[ServerProcess]:
    started = ServerProcess(tmp_path, *flags(tmp_path, receiver))
    yield started
    started.stop()


def make(server: ServerProcess, name: str, role: str = "user") -> None:
    made = server.command("create-user", name, "--role", role, given="a long password of the tests\n")
    assert made.returncode == 0, made.stderr


def test_messages_are_signed_in_order_and_sent_by_one_of_several_processes(tmp_path: Path, receiver: Receiver) -> None:
    server = ServerProcess(tmp_path, "--processes", "2", *flags(tmp_path, receiver))
    try:
        make(server, "ada")
        make(server, "root", "admin")
        assert server.command("set-role", "ada", "operator").returncode == 0
        assert server.command("destroy-all", "--reason", "a breach").returncode == 0
        wait_until(lambda: len(receiver.received) >= 3, "three messages")
    finally:
        server.stop()
    contents = [message.content for message in receiver.received]
    assert [(each["type"], each["data"]["user"]) for each in contents] == [
        ("role.changed", "root"), ("role.changed", "ada"), ("sessions.ended", ""),
    ]  # fmt: skip
    assert contents[1]["data"]["targets"] == ["operator"]
    assert (contents[2]["data"]["reason"], contents[2]["data"]["ended"]) == ("a breach", 0)
    assert contents[2]["data"]["actor"] == "cli"
    assert len(set(receiver.ids)) == 3
    for message in receiver.received:
        for secret in SECRETS:
            Verifier(secret).verify(message.body, message.headers)
    log = (tmp_path / "stderr").read_text()
    assert "hidden-key" not in log
    assert not any(secret.removeprefix("whsec_") in log for secret in SECRETS)


def test_a_refused_message_comes_again_with_its_id_and_redirects_are_not_followed(
    server: ServerProcess, receiver: Receiver
) -> None:
    statuses = iter([302])
    receiver.answers = lambda: next(statuses, 204)
    make(server, "ada", "viewer")
    make(server, "eve", "operator")
    wait_until(lambda: len(receiver.received) >= 3, "both messages")
    assert [message.content["data"]["user"] for message in receiver.received] == ["ada", "ada", "eve"]
    assert len(set(receiver.ids)) == 2
    assert {message.path for message in receiver.received} == {"/hook?key=hidden-key"}
    log = (server.folder / "stderr").read_text()
    assert log.count("messages of the webhook wait") == 1
    assert "answered 302" in log
    assert "hidden-key" not in log


def test_what_happens_while_the_receiver_is_down_survives_a_killed_server(
    server: ServerProcess, receiver: Receiver
) -> None:
    make(server, "ada", "viewer")
    wait_until(lambda: receiver.received, "the first message")
    receiver.stop()
    make(server, "eve", "operator")
    server.kill()
    # A command needs no server; what it does is delivered as well.
    assert server.command("set-role", "ada", "admin").returncode == 0
    receiver.start()
    server.restart()
    wait_until(lambda: len(set(receiver.ids)) >= 3, "the messages that waited")
    seen = [message.content["data"] for message in receiver.received]
    assert list(dict.fromkeys((each["user"], *each["targets"]) for each in seen)) == [
        ("ada", "viewer"), ("eve", "operator"), ("ada", "admin"),
    ]  # fmt: skip


@pytest.mark.long
def test_a_server_that_is_killed_before_it_hears_the_answer_sends_the_same_message_again(
    server: ServerProcess, receiver: Receiver
) -> None:
    killed = threading.Event()

    def kill() -> int:
        if not killed.is_set():
            killed.set()
            server.kill()
        return 204

    receiver.answers = kill
    make(server, "ada", "viewer")
    wait_until(killed.is_set, "the kill")
    server.restart()
    # The lease of the killed process is abandoned after ten seconds.
    wait_until(lambda: len(receiver.received) >= 2, "the repeated message", seconds=60)
    assert len(set(receiver.ids)) == 1


@pytest.mark.long
def test_a_receiver_that_is_too_slow_gets_the_message_again(server: ServerProcess, receiver: Receiver) -> None:
    slow, go_on = iter([True]), threading.Event()

    def wait() -> int:
        if next(slow, False):
            go_on.wait(20)
        return 204

    receiver.answers = wait
    make(server, "ada", "viewer")
    wait_until(lambda: len(receiver.received) >= 2, "the second attempt", seconds=60)
    go_on.set()
    assert len(set(receiver.ids)) == 1
    assert "did not answer" in (server.folder / "stderr").read_text()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://ada:word@example.com/",
        "ftp://example.com/",
        "https:///hook",
        "nowhere",
        "https://h:x/",
    ],
)
def test_an_address_that_is_not_safe_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match=r"webhook_url: .*must be an address with https") as refused:
        load({"webhook_url": url, "webhook_secret_file": "file"})
    assert url not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["https://example.com/hook?a=b", "http://127.0.0.1:1/", "http://[::1]/", "http://localhost/"]
)
def test_a_safe_address_is_taken(url: str) -> None:
    assert load({"webhook_url": url, "webhook_secret_file": "file"}).webhook_url == url


def test_an_address_needs_a_good_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set both or neither"):
        load({"webhook_url": "https://example.com"})
    with pytest.raises(ConfigError, match="set both or neither"):
        load({"webhook_secret_file": "file"})
    secret = tmp_path / "secret"
    given = (
        "--store",
        "memory://",
        "--webhook-url",
        "https://example.com",
        "--webhook-secret-file",
        str(secret),
        "stats",
    )
    for text, why in ((None, "cannot read"), ("", "is empty"), ("short", "fewer than 24"), ("whsec_!", "not base64")):
        if text is not None:
            secret.write_text(text)
            secret.chmod(0o600)
        refused = run_command(tmp_path, *given)
        assert refused.returncode == 1
        assert why in refused.stderr


def test_the_code_of_the_guide_verifies_a_message() -> None:
    page = (ROOT / "docs/howto/react-to-events.md").read_text(encoding="utf8")
    code = next(code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "is_genuine" in code)
    found: dict[str, Any] = {}
    exec(code, found)
    for key in (base64.b64decode(SECRETS[0].removeprefix("whsec_")), b"k" * 40):
        sent = {"webhook-id": "1-ab", "webhook-timestamp": "1700000000"}
        sent["webhook-signature"] = " ".join(signature(each, "1-ab", 1700000000, b"{}") for each in (b"n" * 40, key))
        assert found["is_genuine"](sent, b"{}", key)
        assert not found["is_genuine"](sent, b"{ }", key)
        assert not found["is_genuine"](sent, b"{}", b"another")
