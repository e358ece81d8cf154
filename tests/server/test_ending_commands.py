"""The commands that end sessions: they count exactly, and end at most a tenth more than was confirmed."""

from __future__ import annotations

import pytest
from support.people import fill_store

from tornado_sessions.server import commands
from tornado_sessions.server.cli import make_parser
from tornado_sessions.server.parts import Parts
from tornado_sessions.stores import paging


@pytest.mark.gen_test(timeout=30)
async def test_a_command_counts_exactly_and_pauses_rather_than_end_more_than_expected(
    parts: Parts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "MAX_EXAMINED_BY_COUNT", 10)
    await fill_store(parts, 40, "192.0.2.7", agent="Firefox/140.0")

    async def run(*words: str) -> tuple[int, str, str]:
        code = await commands.run(parts, make_parser().parse_args(words))
        printed = capsys.readouterr()
        return code, printed.out.strip(), printed.err

    ends = ("destroy-where", "--device", "Firefox", "--reason", "leak")
    assert (await run(*ends, "--dry-run"))[:2] == (0, "Would end: 40")
    code, out, told = await run(*ends, "--expect", "20")
    assert (code, out) == (1, "Ended: 0")
    assert "Paused: 40 sessions match, over a tenth more than the 20 confirmed." in told
    job = told.partition("resume-job ")[2].split()[0]
    _, listed, _ = await run("jobs")
    assert ("paused" in listed, "0/40" in listed) == (True, True)
    assert (await run("resume-job", job, "40"))[:2] == (0, "Ended: 40")
    await fill_store(parts, 3, "192.0.2.7", user="ada")
    assert (await run("destroy-user", "ada", "--expect", "3"))[:2] == (0, "Ended: 3")
    code, out, _ = await run("resume-job", "unknown", "1")
    assert (code, out) == (1, "There is no such job.")
