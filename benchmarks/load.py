"""One slice of load on one route of one system, and the proof that its sessions were read and written.

It must not know which systems there are. The load generator is wrk, on core 1.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.systems import Missing

__all__ = ["Served", "Slice", "Target"]

SESSIONS = 64
#: Requests of a slice for each connection, at least: those that are under way at its end use CPU time and are not counted.
ROUNDS = 10
#: The script of wrk: the cookies in turn, and the result as JSON. Its latencies are in microseconds.
SCRIPT = """
local cookies = %s
local n = 0
if #cookies > 0 then
  request = function() n = n %% #cookies + 1; return wrk.format("GET", nil, {["Cookie"] = cookies[n]}) end
end
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"requests": %%d, "microseconds": %%d, "errors": %%d, "p50": %%d, "p99": %%d}\\n', summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Slice:
    """What one slice of load measured.

    Attributes:
        cpu: CPU microseconds of the server process per request.
        rps: requests per second.
        p50: median of the latency in milliseconds.
        p99: its 99th percentile.
        kept: of the writes that were answered, the share that is stored; ``None`` for other routes.
    """

    cpu: float
    rps: float
    p50: float
    p99: float
    kept: float | None = None


class Served(Protocol):
    """What answers on ``base``, an address without a path."""

    base: str

    @property
    def title(self) -> str:
        """Its name, for messages."""

    def cpu(self) -> float:
        """Return the CPU seconds that it has used."""


class Target:
    """A running system with signed-in sessions.

    Args:
        running: the system.
        folder: for the script of wrk.
    """

    def __init__(self, running: Served, folder: Path) -> None:
        if shutil.which("wrk") is None:
            raise Missing("the load generator wrk is not installed")
        self.running = running
        self._cookies = [self._log_in() for _ in range(SESSIONS)]
        self._scripts = {
            True: self._script(folder / f"{id(self)}-cookies.lua", self._cookies),
            False: self._script(folder / f"{id(self)}.lua", []),
        }
        self._counted = 0
        self.prove_reads()
        self._count()

    @staticmethod
    def _script(path: Path, cookies: list[str]) -> Path:
        path.write_text(SCRIPT % ("{" + ", ".join(json.dumps(cookie) for cookie in cookies) + "}"))
        return path

    def _log_in(self) -> str:
        with urllib.request.urlopen(self.running.base + "/login", timeout=10) as response:
            pairs = [line.partition(";")[0] for line in response.headers.get_all("Set-Cookie", [])]
        assert pairs, "no cookie"
        return "; ".join(pairs)

    def _get(self, route: str, cookie: str = "") -> str:
        request = urllib.request.Request(f"{self.running.base}/{route}", headers={"Cookie": cookie} if cookie else {})
        with urllib.request.urlopen(request, timeout=10) as response:
            return str(response.read().decode())

    def prove_reads(self) -> None:
        """Check that each session answers the name that is stored in it, and no session none."""
        assert {self._get("read", cookie) for cookie in self._cookies} == {"ada"}
        assert self._get("read") == "nobody"

    def _count(self) -> int:
        """Add one to each session's counter, and return the sum of what was added before."""
        total = sum(int(self._get("write", cookie)) for cookie in self._cookies)
        added = total - SESSIONS - self._counted
        self._counted = total
        return added

    def _run_for_long_enough(self, script: Path, route: str, seconds: float, connections: int) -> dict[str, float]:
        """Run wrk; run it again for longer if a slow store answered few requests in this time."""
        sent = 0.0
        while seconds < 60:
            command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s"]
            # An answer after wrk's usual two seconds is slow, not wrong.
            command += ["--timeout", "10s", "-s", str(script)]
            before = self.running.cpu()
            told = subprocess.run(
                [*command, f"{self.running.base}/{route}"], capture_output=True, text=True, check=True
            ).stdout
            found: dict[str, float] = json.loads(told.strip().splitlines()[-1])
            sent += found["requests"]
            if found["requests"] >= ROUNDS * connections or (found["requests"] and 3 * seconds >= 60):
                return {**found, "cpu": self.running.cpu() - before, "sent": sent}
            seconds *= 3
        raise AssertionError(f"{self.running.title} answers nothing on {route}")

    def load(self, path: str, seconds: float, connections: int = 32) -> Slice:
        """Send requests of one path for a time; raise ``AssertionError`` if an answer is wrong."""
        name, _, alone = path.partition(", ")
        route = {"no cookie": "none"}.get(name, name)
        many = 1 if alone else connections
        script = self._scripts[name in ("none", "read", "write", "floor")]
        found = self._run_for_long_enough(script, route, seconds, many)
        requests = found["requests"]
        assert not found["errors"], (self.running.title, path, found)
        kept = None
        if name == "write":
            kept = self._count() / found["sent"]
        elif name == "read":
            self.prove_reads()
        return Slice(
            cpu=1e6 * found["cpu"] / requests,
            rps=1e6 * requests / found["microseconds"],
            p50=found["p50"] / 1000,
            p99=found["p99"] / 1000,
            kept=kept,
        )
