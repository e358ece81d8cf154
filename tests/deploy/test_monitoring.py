"""The alert rules and the board: they load, and ask only for metrics that the server has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.passwords import SECRET

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.application import make_application

DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"


def rules() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["remedy"], f"{rule['alert']} does not say what to do"
            yield rule["alert"], rule["expr"]


def panels() -> Iterator[tuple[str, str]]:
    for panel in json.loads((DEPLOY / "grafana.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.fixture(scope="module")
def text() -> str:
    """What the server exposes before its first request."""
    parts = Parts(ServerOptions(store="memory://", secret=[SECRET]))
    make_application(parts)
    return parts.metrics.exposition().decode()


@pytest.fixture(scope="module")
def series(text: str) -> set[str]:
    """All names of series."""
    return set(re.findall(r"^([a-z_]+)(?:\{[^}]*\})? ", text, re.MULTILINE))


@pytest.mark.parametrize(("title", "query"), [*rules(), *panels()])
def test_each_query_asks_for_series_that_exist(title: str, query: str, series: set[str]) -> None:
    asked = set(re.findall(r"\b((?:tornado_sessions|process)_[a-z_]+)\b", query)) - {"tornado_sessions"}
    assert asked or "up{" in query
    assert asked <= series, f"{title} asks for what the server does not expose"


def test_each_label_value_in_a_query_exists(text: str) -> None:
    for title, query in [*rules(), *panels()]:
        for name, value in re.findall(r'\b(status|operation|name)=~?"([^"$]+)"', query):
            for one in value.split("|"):
                assert f'{name}="{one}"' in text, title


def test_prometheus_reads_the_alert_rules_and_the_token_of_a_file() -> None:
    configuration = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    assert [(DEPLOY / name).exists() for name in configuration["rule_files"]] == [True]
    assert "credentials_file" in configuration["scrape_configs"][0]["authorization"]
