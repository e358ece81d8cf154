"""The public surface: names, documented options, the built wheel."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile
from pathlib import Path

import tornado_sessions
from tornado_sessions import SessionConfig

ROOT = Path(__file__).parents[2]


def test_the_public_names_are_these() -> None:
    assert set(tornado_sessions.__all__) == {
        "Cause",
        "Session",
        "SessionConfig",
        "SessionMixin",
        "Sessions",
        "State",
        "Store",
        "open_store",
    }


def test_every_option_is_in_the_readme_and_in_its_docstring() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    names = [field.name for field in dataclasses.fields(SessionConfig)]
    assert len(names) <= 25
    for name in names:
        assert f"`{name}`" in readme, name
        assert name in (SessionConfig.__doc__ or ""), name


def test_the_wheel_holds_templates_static_files_and_types(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, timeout=110)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for name in ("py.typed", "templates/base.html", "static/style.css", "translations/zh.csv", "stores/redis/save.lua"):
        assert f"tornado_sessions/{name}" in names
