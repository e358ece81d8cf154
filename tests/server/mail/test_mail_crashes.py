"""kill -9 of the process that sends loses no mail and repeats none endlessly, and of several processes one sends each mail."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.amount import only_long
from support.clock import Clock
from support.mail_server import MailServer
from support.passwords import PASSWORD, SECRET
from support.programs import PROGRAMS
from support.tried import Tried
from support.urls import url_of
from support.waiting import until

from tornado_sessions.server.mail.service import Mail
from tornado_sessions.server.parts import Parts

ROOT = PROGRAMS.parents[2]
#: Longer than a mail is claimed.
LATER = 200.0


def sender(url: str, server: MailServer, ahead: float = 0.0) -> subprocess.Popen[bytes]:
    """Start a process that sends what is due, with a clock that is ahead."""
    options = {
        "store": url,
        "secret": [SECRET],
        "smtp_url": server.url,
        "public_url": "http://sessions.example",
        "allowed_hosts": ["127.0.0.1"],
    }
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / "mail_sender.py"), json.dumps({"options": options, "ahead": ahead})],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def ended(*processes: subprocess.Popen[bytes]) -> list[int]:
    await until(lambda: all(process.poll() is not None for process in processes), "the end of the processes")
    return [process.returncode for process in processes]


@pytest.fixture(params=["sqlite", *(pytest.param(kind, marks=only_long) for kind in ("redis", "mongo_motor"))])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that several processes share."""
    return url_of(request.param, request, tmp_path)


@pytest.mark.gen_test(timeout=60)
async def test_a_killed_process_loses_no_mail_and_one_of_two_others_sends_it(
    url: str, parts: Parts, mail: Mail, mail_server: MailServer, tried: Tried
) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, email_confirmed=True)
    await mail.recover("ada", "en_US")
    mail_server.release.clear()
    victim = sender(url, mail_server)
    await until(lambda: mail_server.begun == 1, "the mail")
    victim.send_signal(signal.SIGKILL)
    assert await ended(victim) == [-signal.SIGKILL]
    mail_server.release.set()
    assert await ended(sender(url, mail_server)) == [0]
    assert mail_server.mails == [], "it is claimed"
    assert await ended(*(sender(url, mail_server, LATER) for _ in range(2))) == [0, 0]
    assert mail_server.recipients == ["ada@example.org"]
    assert await parts.documents.all("mail") == []
    tried("processes killed while they sent a mail", times=1, lost=1 - len(mail_server.mails))


@pytest.mark.gen_test(timeout=30)
async def test_a_mail_whose_processes_always_die_is_given_up(
    parts: Parts, mail: Mail, mail_server: MailServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, email_confirmed=True)
    await mail.confirm(await parts.accounts.change_email("ada", PASSWORD, "new@example.org", "", must_confirm=True), "")
    mail_server.release.clear()
    for death in range(1, 7):
        sending = asyncio.ensure_future(mail.outbox.deliver())
        await until(lambda death=death: mail_server.begun == death, "the mail")  # type: ignore[misc]
        while not sending.done():
            # The first one lets it take leave of the server, which does not answer.
            sending.cancel()
            await asyncio.wait([sending], timeout=0.1)
        clock.ahead += 2000
    mail_server.release.set()
    await mail.outbox.deliver()
    assert mail_server.begun == 6
    assert "5 processes died" in caplog.text
    assert await parts.documents.all("mail") == []
    assert "new@" not in caplog.text


@pytest.mark.gen_test(timeout=30)
async def test_a_new_mail_is_sent_at_once_and_nobody_looks_every_second(
    parts: Parts, mail: Mail, mail_server: MailServer
) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, email_confirmed=True)
    looks = 0
    page = parts.documents.page

    async def counted(kind: str, **more: object) -> object:
        nonlocal looks
        looks += kind == "mail"
        return await page(kind, **more)  # type: ignore[arg-type]

    parts.documents.page = counted  # type: ignore[assignment,method-assign]
    await mail.outbox.open()
    try:
        await until(lambda: looks == 1, "the look at the start")
        await mail.recover("ada", "en_US")
        await until(lambda: len(mail_server.mails) == 1, "the mail", seconds=5)
        await until(lambda: looks == 3, "the look that found nothing more")
    finally:
        await mail.outbox.close()
