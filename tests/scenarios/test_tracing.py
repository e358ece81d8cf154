"""OpenTelemetry's own instrumentation traces the server, which imports nothing of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.request import Request, urlopen

import pytest
from support.server_process import ROOT, ServerProcess

TRACE = "0af7651916cd43dd8448eb211c80319c"


class TracedServer(ServerProcess):
    program = (str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable)
    more: Mapping[str, str] = MappingProxyType(
        {
            "OTEL_TRACES_EXPORTER": "console",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PYTHON_TORNADO_EXCLUDED_URLS": "setup/,invite/,password/,two-steps/,confirm/,healthz,readyz,metrics",
        }
    )


def spans(text: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    while (start := text.find("{\n")) >= 0:
        found, end = decoder.raw_decode(text[start:])
        yield found
        text = text[start + end :]


@pytest.mark.long
def test_a_request_is_a_span_of_the_proxys_trace_and_the_setup_link_is_in_none(tmp_path: Path) -> None:
    if not Path(TracedServer.program[0]).exists():
        pytest.skip("OpenTelemetry is not installed (pip install '.[otel]')")
    server = TracedServer(tmp_path)
    asked = Request(server.url + "/login", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    for request in (asked, server.url + server.setup_path):
        with urlopen(request, timeout=20) as answer:
            assert answer.status == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.process.stdout is not None
    with server.process.stdout:
        text = server.process.stdout.read()
    assert server.process.wait(timeout=30) == 0
    found = [span for span in spans(text) if span["kind"] == "SpanKind.SERVER"]
    assert [(span["name"], span["context"]["trace_id"]) for span in found] == [("GET /login", f"0x{TRACE}")]
    assert server.setup_path not in text


def test_without_it_nothing_of_opentelemetry_is_imported() -> None:
    code = "import sys, tornado_sessions.server.web.serve; print([n for n in sys.modules if 'opentelemetry' in n])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
