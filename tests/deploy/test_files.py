"""The files of examples/deploy and the container image: read by the programs that will read them, and run as they will run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import RawConfigParser
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from docker.utils import exclude_paths
from packaging.requirements import Requirement
from support.needed import program

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "examples" / "deploy"
UNIT = DEPLOY / "tornado-sessions.service"
NOBODY = "65534"


def unit() -> dict[str, str]:
    """The last value of each setting of [Service]."""
    parser = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return dict(parser["Service"])


# --- systemd ---------------------------------------------------------------------------------------------------------


def test_systemd_finds_little_exposed_and_no_unknown_setting() -> None:
    systemd = program("systemd-analyze", "systemd")
    rating = subprocess.run(
        [systemd, "security", "--offline=true", "--no-pager", "--threshold=30", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rating.returncode == 0, rating.stdout[-300:]
    verified = subprocess.run([systemd, "verify", UNIT], capture_output=True, text=True, check=False)
    faults = [line for line in verified.stderr.splitlines() if "is not executable" not in line]
    assert not [line for line in faults if UNIT.name in line], faults


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The unit's command, as a user without rights, at the unit's paths: in a mount namespace of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can start the service as another user")
    unshare, setpriv = program("unshare", "util-linux"), program("setpriv", "util-linux")
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.chown(state, int(NOBODY), int(NOBODY))
    service = unit()
    command = service["ExecStart"] + " --port 0"
    mounts = ["mount -t tmpfs tmpfs /opt", "mkdir -p /opt/tornado-sessions/.venv /opt/state"]
    for name in ("tornado_sessions", "static", "templates"):
        mounts += [f"mkdir /opt/tornado-sessions/{name}", f"mount --bind {ROOT / name} /opt/tornado-sessions/{name}"]
    mounts += [
        f"cp {ROOT / 'server.py'} {ROOT / 'settings.py'} /opt/tornado-sessions",
        f"mount --bind {sys.prefix} /opt/tornado-sessions/.venv",
        f"mount --bind {state} /opt/state",
        "cd /opt/state",
        f"umask {service['UMask']}",
        f"ulimit -n {min(int(service['LimitNOFILE']), 4096)}",
        # As the unit: no capability, and no way to get one.
        f"exec {setpriv} --reuid {NOBODY} --regid {NOBODY} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "
        + command,
    ]
    process = subprocess.Popen(
        [unshare, "--mount", "sh", "-ec", "\n".join(mounts)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
    )
    yield process
    process.terminate()
    process.communicate(timeout=20)


def test_the_service_runs_as_a_user_without_rights(installed: subprocess.Popen[str], tmp_path: Path) -> None:
    assert installed.stdout is not None
    url = ""
    for line in installed.stdout:
        if found := re.search(r"Serving on (http://\S+)", line):
            url = found[1]
            break
    assert url, installed.stderr and installed.stderr.read()
    with urlopen(url + "/readyz", timeout=20) as answer:
        assert answer.status == 200
    data = tmp_path / "state" / "data"
    kept = {path.name: path.stat() for path in data.iterdir()}
    assert {"sessions.db", "secret"} <= set(kept)
    assert {entry.st_uid for entry in kept.values()} == {int(NOBODY)}
    assert all(entry.st_mode & 0o077 == 0 for entry in kept.values())
    installed.terminate()
    assert installed.wait(timeout=20) == 0


# --- containers ------------------------------------------------------------------------------------------------------


def compose(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    empty = folder / "empty.env"  # a developer's own .env must not decide
    empty.touch()
    environment = {"PATH": os.environ["PATH"], **variables}
    command = ["docker-compose"] if shutil.which("docker-compose") else [program("docker", "docker-compose"), "compose"]
    return subprocess.run(
        [*command, "--env-file", empty, "-f", DEPLOY / "compose.yml", "config", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_compose_accepts_the_file_with_its_secrets_only(tmp_path: Path) -> None:
    complete = {"SESSIONS_SECRET": "s" * 64, "VALKEY_PASSWORD": "p" * 64}
    accepted = compose(tmp_path, **complete)
    assert accepted.returncode == 0, accepted.stderr
    for name in complete:
        refused = compose(tmp_path, "--quiet", **{key: value for key, value in complete.items() if key != name})
        assert refused.returncode != 0
        assert name in refused.stderr + refused.stdout or "see the first lines" in refused.stderr
    services = yaml.safe_load(accepted.stdout)["services"]
    for name, service in services.items():
        for other, condition in (service.get("depends_on") or {}).items():
            assert condition == {"condition": "service_healthy"}, f"{name} does not wait until {other} is healthy"
    assert services["one"]["read_only"] is True


def context_of(folder: Path) -> set[str]:
    patterns = [
        line.strip()
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    return {path for path in exclude_paths(str(folder), patterns) if (folder / path).is_file()}


def test_no_secret_and_no_data_go_into_the_image(tmp_path: Path) -> None:
    secrets = [
        ".env", ".env.production", "data/secret", "data/sessions.db", "data/sessions.db-wal", "backup/sessions.db", "secret",
        "examples/deploy/.env", ".git/config", "key.pem", "static/.env", "tornado_sessions/.env", "templates/secret",
        "tornado_sessions/data/sessions.db", "static/key.pem",
    ]  # fmt: skip
    wanted = [
        "pyproject.toml",
        "requirements.lock",
        "README.md",
        "LICENSE",
        "tornado_sessions/mixin.py",
        "static/style.css",
        "templates/base.html",
    ]
    for name in [*secrets, *wanted]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert context_of(tmp_path) == set(wanted)


def test_all_files_that_the_wheel_is_built_from_go_into_the_image() -> None:
    folders = [ROOT / name for name in ("tornado_sessions", "static", "templates")]
    source = {str(path.relative_to(ROOT)) for folder in folders for path in folder.rglob("*.*") if path.is_file()}
    assert {path for path in source if not path.endswith(".pyc")} <= context_of(ROOT)


def test_the_image_does_not_run_as_root_and_reports_its_health() -> None:
    text = (ROOT / "Containerfile").read_text()
    last = text.rsplit("FROM ", 1)[1]
    user = re.search(r"^USER (\d+)$", last, re.MULTILINE)
    assert user
    assert int(user[1]) != 0
    check = re.search(r"^HEALTHCHECK .*\\\n\s+CMD \[.*\]$", last, re.MULTILINE)
    assert check


def test_the_pinned_packages_are_those_that_the_project_asks_for() -> None:
    pinned = dict(re.findall(r"^([\w.-]+)==([^ ;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = map(Requirement, [*project["dependencies"], *extras["server"], *extras["redis"], *extras["mongo"]])
    wrong = [str(each) for each in asked if pinned.get(each.name, "0") not in each.specifier]
    assert not wrong, "run `make lock`"
