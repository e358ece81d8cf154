"""A real server in a process of its own, on a free port, and a browser without a screen."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from http.cookiejar import CookieJar
from pathlib import Path
from types import MappingProxyType
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from argon2.profiles import CHEAPEST
from support.forked_server import ForkedServer
from support.passwords import PASSWORD, SECRET

from tornado_sessions.server import cli
from tornado_sessions.server.accounts.passwords import Passwords

ROOT = Path(__file__).parents[2]
_CHEAP_HASHES = Path(__file__).parent / "programs/cheap_hashes.py"


class Client:
    """A browser without a screen."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.jar = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self.jar))

    def get(self, path: str, data: bytes | None = None) -> tuple[str, str]:
        try:
            with self._opener.open(self.url + path, data, timeout=20) as response:
                return response.url, response.read().decode()
        except HTTPError as error:
            with error:
                return error.url, error.read().decode()

    def post(self, path: str, **fields: str) -> tuple[str, str]:
        found = re.search(r'name="xsrf-token" content="([^"]+)"', self.get("/home")[1])
        assert found
        return self.get(path, urlencode({"_xsrf": found[1], **fields}).encode())

    def is_in(self) -> bool:
        return self.get("/account")[0] == self.url + "/account"

    def enter(self, name: str = "ada") -> None:
        self.post("/login", username=name, password=PASSWORD)
        assert self.is_in()


def secret_for(flags: Sequence[str]) -> list[str]:
    """The flags that a server or command needs besides these, if it uses a store that is shared between machines."""
    stores = [flags[at + 1] for at, flag in enumerate(flags) if flag in ("--store", "--users")]
    is_shared = any(not url.startswith(("sqlite:", "memory:")) for url in stores)
    has_secret = any(flag.startswith("--secret") for flag in flags)
    # A comma separates two keys.
    return ["--secret", SECRET.replace(",", "")] if is_shared and not has_secret else []


def run_command(folder: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of ``server.py`` in a folder, without a process of its own.

    Args:
        folder: where the command is started, and the server's data is.
        arguments: flags and the command.
        given: what the command reads from its standard input.
    """
    said, errors, log = io.StringIO(), io.StringIO(), logging.getLogger("redis")
    level = log.level
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(errors):
        patch.chdir(folder)
        patch.setattr(sys, "stdin", io.StringIO(given))
        patch.setattr(Passwords.__init__, "__defaults__", (CHEAPEST,))
        for name in os.environ:
            if name.startswith("SESSIONS_"):
                patch.delenv(name)
        try:
            code = cli.main([*arguments, *secret_for(arguments)])
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
    log.setLevel(level)
    return subprocess.CompletedProcess(arguments, code, said.getvalue(), errors.getvalue())


def environment() -> dict[str, str]:
    """Return the variables of a server's process, without settings of whoever runs the tests."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("SESSIONS_")},
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        # No balancer watches, so nobody has to be told before the end. Tests of draining set the flag.
        "SESSIONS_DRAIN_DELAY": "0",
    }


class ServerProcess:
    """``server.py`` in a directory and a process of its own, forked from one that has imported it already.

    Args:
        folder: where its data goes.
        flags: further flags.

    Attributes:
        program: what starts ``server.py``, if it is not forked.
        more: further variables of its environment.
        printed: the lines that it has printed while it started.
    """

    program: tuple[str, ...] = ()
    more: Mapping[str, str] = MappingProxyType({})

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.flags = flags
        self.environment = {**environment(), **self.more}
        self.setup_link = self.setup_path = ""
        self.printed: list[str] = []
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str] | ForkedServer:
        arguments = [str(ROOT / "server.py"), "--port", "0", *self.flags, *secret_for(self.flags)]
        with (self.folder / "stderr").open("a") as errors:
            process = self._run(arguments, errors)
        assert process.stdout is not None
        for line in process.stdout:
            self.printed.append(line)
            if found := re.search(r"\S+(/setup/\S+)", line):
                self.setup_link, self.setup_path = found[0], found[1]
            if found := re.search(r"Serving on (http://\S+)", line):
                self.url = found[1]
                return process
        process.stdout.close()
        process.wait(timeout=20)
        raise AssertionError((self.folder / "stderr").read_text())

    def _run(self, arguments: Sequence[str], errors: IO[str]) -> subprocess.Popen[str] | ForkedServer:
        if not self.program:
            return ForkedServer(arguments, self.folder, self.environment, errors)
        return subprocess.Popen(
            [*self.program, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    def command(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command on the same data, in this process: it takes a tenth of the time."""
        return run_command(self.folder, *self.flags, *arguments, given=given)

    def command_process(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the same data as a program of its own."""
        return subprocess.run(
            [sys.executable, str(ROOT / "server.py"), *self.flags, *arguments, *secret_for(self.flags)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again on the same data."""
        self.process = self._start()

    def stop(self) -> int:
        """End it as an operator would. Returns its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


class StartedServer(ServerProcess):
    """The same, started as a program, for tests of the start and the end."""

    program = (sys.executable, str(_CHEAP_HASHES))


class ShippedServer(ServerProcess):
    """``python server.py`` with hashes that cost what they cost, for tests of many sign-ins at a time."""

    program = (sys.executable,)
