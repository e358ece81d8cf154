"""Which entries of the audit log the webhook reports, on every store; a collector takes the place of the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from support.people import fill_store
from support.waiting import until

from tornado_sessions import Theft
from tornado_sessions.server.documents import Document
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.selections import Handles, OfUser
from tornado_sessions.server.operations.webhook import DeliveryFailed, Webhook
from tornado_sessions.server.parts import Parts

OPERATOR = Actor("root", "192.0.2.9")


class Collector:
    """Keeps messages; refuses them while ``is_down``."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.attempts = 0
        self.is_down = False

    async def send(self, message_id: str, body: bytes) -> None:
        self.attempts += 1
        if self.is_down:
            raise DeliveryFailed("down")
        self.messages[message_id] = msgspec.json.decode(body)

    @property
    def told(self) -> list[tuple[str, str, Any]]:
        found = [(each["type"], each["data"]) for each in self.messages.values()]
        return [(kind, data["user"], data["ended"]) for kind, data in found]


def made(parts: Parts, collector: Collector) -> Webhook:
    return Webhook(parts.audit, parts.documents, Leases(parts.documents), parts.sessions.clock, collector.send)


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def webhook(parts: Parts, collector: Collector, io_loop: Any) -> Iterator[Webhook]:
    webhook = made(parts, collector)
    io_loop.run_sync(webhook.prepare)
    yield webhook
    io_loop.run_sync(webhook.close)


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=30)
async def test_bulk_ends_and_signs_of_theft_are_reported_and_nothing_else(
    parts: Parts, webhook: Webhook, collector: Collector
) -> None:
    await fill_store(parts, 5, "192.0.2.1", "ada")
    items = (await parts.sessions.find(user="ada")).items
    stolen = items[0]
    await parts.audit.suspect(Theft(at=0, handle=stolen.handle, user=stolen.user, ip="192.0.2.7", user_agent="thief"))
    await parts.actions.end(OPERATOR, Handles([items[0].handle]), "one")
    await parts.actions.end(OPERATOR, Handles([item.handle for item in items[:3]]), "some")
    await parts.actions.end(OPERATOR, OfUser("ada"), "all")
    await webhook.open()
    await until(lambda: len(collector.messages) >= 3, "three messages")
    theft, some, everything = (each["data"] for each in collector.messages.values())
    assert [kind for kind, *_ in collector.told] == ["session.theft_suspected", "sessions.ended", "sessions.ended"]
    assert (theft["user"], theft["ip"], theft["targets"]) == ("ada", "192.0.2.7", [items[0].handle])
    assert (some["ended"], some["reason"], len(some["targets"]), some["actor"]) == (2, "some", 3, "root")
    assert (everything["ended"], everything["user"]) == (2, "ada")


@pytest.mark.gen_test(timeout=30)
async def test_another_process_continues_where_the_last_delivery_was(
    parts: Parts, twin: Parts, webhook: Webhook, collector: Collector
) -> None:
    await fill_store(parts, 1, "192.0.2.1", "ada")
    await parts.actions.end(OPERATOR, OfUser("ada"), "first")
    await webhook.open()
    await until(lambda: collector.messages, "the first message")
    await webhook.close()
    await parts.actions.end(OPERATOR, OfUser("ada"), "second")
    other = Collector()
    second = made(twin, other)
    await second.prepare()
    await second.open()
    try:
        await until(lambda: other.messages, "the second message")
    finally:
        await second.close()
    assert [each["data"]["reason"] for each in other.messages.values()] == ["second"]


@pytest.mark.gen_test(timeout=30)
async def test_a_damaged_cursor_starts_again_and_a_failed_attempt_waits(
    parts: Parts, webhook: Webhook, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    await parts.documents.delete("webhook", "webhook")
    await parts.documents.put("webhook", Document("webhook", 1, b"{"))
    await webhook.prepare()
    assert "the cursor of the webhook is damaged" in caplog.text
    collector.is_down = True
    await fill_store(parts, 1, "192.0.2.1", "ada")
    await parts.actions.end(OPERATOR, OfUser("ada"), "first")
    await webhook.open()
    await until(lambda: collector.attempts, "an attempt")
    assert collector.attempts == 1
    collector.is_down = False
    await until(lambda: collector.messages, "the message")
    assert collector.attempts == 2
    assert caplog.text.count("messages of the webhook wait") == 1
