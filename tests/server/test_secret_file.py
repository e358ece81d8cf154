"""The signing key of an installation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tornado_sessions import ConfigError
from tornado_sessions.server.secret_file import installation_secret


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/sessions.db"


def test_the_key_is_created_once_beside_the_data_and_only_its_owner_can_read_it(store: str, tmp_path: Path) -> None:
    key = installation_secret(store)
    assert len(key) >= 32
    assert installation_secret(store) == key
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["secret"]
    assert (tmp_path / "data" / "secret").stat().st_mode & 0o777 == 0o600


def test_servers_that_start_at_once_agree_on_one_key(store: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(installation_secret, [store] * 50))) == 1


def test_a_store_elsewhere_has_its_key_in_the_folder_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    key = installation_secret("redis://localhost")
    assert (tmp_path / "data" / "secret").read_text() == key


def test_a_store_in_memory_keeps_no_key() -> None:
    assert installation_secret("memory://") != installation_secret("memory://")


def test_a_key_that_cannot_be_kept_is_an_error_that_names_the_remedy(store: str, tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(ConfigError, match="--secret"):
        installation_secret(store)
    (tmp_path / "data").unlink()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secret").touch()
    with pytest.raises(ConfigError, match="is empty"):
        installation_secret(store)
