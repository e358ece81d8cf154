"""The signing keys of an installation: where they come from, and which are refused."""

from __future__ import annotations

import logging
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from support.passwords import SECRET

from tornado_sessions import ConfigError
from tornado_sessions.server.secret_file import secrets_in, signing_keys
from tornado_sessions.server.settings import ServerOptions


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/sessions.db"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file for keys, which only its owner can read."""
    made = tmp_path / "keys"
    made.touch(mode=0o600)
    return made


def keys_of(store: str, **options: object) -> list[str]:
    return signing_keys(ServerOptions.model_validate({"store": store, **options}))


class TestMadeByTheServer:
    def test_the_key_is_created_once_beside_the_data_and_only_its_owner_can_read_it(
        self, store: str, tmp_path: Path
    ) -> None:
        (key,) = keys_of(store)
        assert len(key) >= 32
        assert keys_of(store) == [key]
        assert [file.name for file in (tmp_path / "data").iterdir()] == ["secret"]
        assert (tmp_path / "data" / "secret").stat().st_mode & 0o777 == 0o600

    def test_servers_that_start_at_once_agree_on_one_key(self, store: str) -> None:
        with ThreadPoolExecutor(8) as pool:
            assert len({key for keys in pool.map(keys_of, [store] * 50) for key in keys}) == 1

    def test_a_store_in_memory_keeps_no_key(self) -> None:
        assert keys_of("memory://") != keys_of("memory://")

    def test_accounts_in_a_file_keep_the_key_beside_them(self, store: str, tmp_path: Path) -> None:
        assert keys_of("memory://", users=store) == [(tmp_path / "data" / "secret").read_text()]

    def test_a_new_key_is_written_above_the_made_one(self, store: str, tmp_path: Path) -> None:
        old, new = keys_of(store)[0], secrets.token_urlsafe(48)
        (tmp_path / "data" / "secret").write_text(f"{new}\n{old}\n")
        assert keys_of(store) == [new, old]

    def test_a_key_that_cannot_be_kept_is_an_error_that_names_the_remedy(self, store: str, tmp_path: Path) -> None:
        (tmp_path / "data").touch()
        with pytest.raises(ConfigError, match="--secret"):
            keys_of(store)
        (tmp_path / "data").unlink()
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "secret").touch()
        with pytest.raises(ConfigError, match="is empty"):
            keys_of(store)


SHARED = [
    "redis://h", "rediss://h", "unix:///run/redis", "redis+sentinel://h/main", "rediss+cluster://h", "mongodb://h/db", "mongodb+srv://h/db",
    "dual://?primary=sqlite%3A%2F%2F%2Fa&fallback=sqlite%3A%2F%2F%2Fb", "vendor://h",
]  # fmt: skip


class TestSharedStore:
    @pytest.mark.parametrize("url", SHARED)
    def test_it_needs_a_key_that_every_machine_has(self, url: str, store: str) -> None:
        for options in ({"store": url}, {"store": store, "users": url}, {"store": "memory://", "users": url}):
            with pytest.raises(ConfigError, match=r"--secret-file.*SESSIONS_SECRET.*openssl rand -base64 48"):
                signing_keys(ServerOptions.model_validate(options))
        assert keys_of(url, secret=[SECRET]) == [SECRET]

    def test_a_key_that_this_folder_used_earlier_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "secret").write_text(SECRET)
        with pytest.raises(ConfigError, match="used so far is in data/secret") as caught:
            keys_of("redis://h")
        assert SECRET not in str(caught.value)


class TestFile:
    def test_it_has_one_key_a_line_newest_first(self, file: Path) -> None:
        new, old = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
        file.write_text(f"\n {new} \r\n\n{old}\n")
        assert keys_of("redis://h", secret_file=str(file)) == [new, old]

    @pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o644, 1), (0o604, 1)])
    def test_others_who_can_read_it_are_a_warning(
        self, file: Path, mode: int, warned: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        file.write_text(SECRET)
        file.chmod(mode)
        with caplog.at_level(logging.WARNING):
            keys_of("memory://", secret_file=str(file))
        assert caplog.text.count("chmod 600") == warned
        assert SECRET not in caplog.text

    @pytest.mark.parametrize(
        ("content", "fault"), [(b"", "is empty"), (b"\n \n", "is empty"), (b"\xff\xfe", "text file")]
    )
    def test_a_useless_file_is_refused_with_its_name(self, file: Path, content: bytes, fault: str) -> None:
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=fault) as caught:
            keys_of("memory://", secret_file=str(file))
        assert str(file) in str(caught.value)

    def test_a_missing_file_and_a_folder_are_refused_with_their_name(self, tmp_path: Path) -> None:
        for path in (tmp_path / "missing", tmp_path):
            with pytest.raises(ConfigError, match=f"cannot read {path}"):
                keys_of("memory://", secret_file=str(path))

    def test_two_sources_of_keys_are_refused(self, file: Path) -> None:
        file.write_text(SECRET)
        with pytest.raises(ConfigError, match="not both"):
            keys_of("memory://", secret=[SECRET], secret_file=str(file))


WEAK = [
    "abc", "", "secret", "changeme", "keyboard cat", "x" * 31, "x" * 40, "abc" * 20, "0123456789" * 4, "password" * 5,
    "changeme" * 4, "keyboard cat " * 4, "secret-" * 6, "supersecretsupersecretsupersecret12",
    "abcdefghijklmnopqrstuvwxyz0123456789", "0" * 33 + "1",
    "qwertyuiopasdfghjklzxcvbnm123456", "aaaaaaaabbbbbbbbccccccccdddddddd", "your-secret-key-here-change-me-in-production",
    "replace this with the output of: openssl rand -base64 48", "change me: at least 32 random characters", " " * 40, "-" * 40,
    "django-insecure-secret-key-do-not-use", "MySuperSecretSessionCookieSigningKey!!", "秘密" * 20,
    "__TODO:_GENERATE_YOUR_OWN_RANDOM_VALUE_HERE__", "61oETzKXQAGaYdkL5gEmGeJJFuYh7EQnp2XdTP1o/Vo=",
    "your-256-bit-secret-your-256-bit-secret", "The quick brown fox jumps over the lazy dog.",
    "REPLACE_ME_WITH_A_LONG_RANDOM_STRING_PLEASE",
]  # fmt: skip


@pytest.mark.parametrize("key", WEAK)
def test_weak_and_well_known_keys_are_refused_without_being_shown(key: str, file: Path) -> None:
    file.write_text(f"{key}\n{secrets.token_urlsafe(48)}" if key.strip() else SECRET[:9])
    for options in ({"secret": [key]}, {"secret": [secrets.token_urlsafe(48), key]}, {"secret_file": str(file)}):
        with pytest.raises(ConfigError, match="openssl rand -base64 48") as caught:
            keys_of("memory://", **options)
        if len(key) > 6:
            assert key not in str(caught.value).replace("openssl rand -base64 48", "")


@pytest.mark.parametrize(
    "key",
    [SECRET, "a secret of the tests, long enough", "cc033c687e950c3270b2be44e3d93438", "correct horse battery staple, twice over",
     secrets.token_urlsafe(24)],
    ids=range(5),  # the last one is new in each process
)  # fmt: skip
def test_good_keys_are_accepted(key: str) -> None:
    assert keys_of("memory://", secret=[key]) == [key]


@pytest.mark.parametrize("password", ["p@ss/word", "p#ss?word", "p ss:w/o@rd", "hunter2"])
def test_the_log_knows_every_password_in_the_settings(password: str, file: Path) -> None:
    file.write_text(f"{SECRET}-in-a-file")
    users = f"dual://?primary=redis%3A%2F%2F%3A{password}%40h%2F0&fallback=memory%3A%2F%2F"
    found = secrets_in(ServerOptions(store=f"redis://ada:{password}@h:1/0", users=users, secret_file=str(file)))
    assert {password, f"{SECRET}-in-a-file"} <= found
    assert password in secrets_in(ServerOptions(store="memory://", users=users))
    assert repr(ServerOptions(store=f"redis://:{password}@h", users=users, secret=[SECRET])).count(password) == 0


def test_passwords_in_options_of_a_store_are_secrets() -> None:
    sentinel = "rediss+sentinel://:first@h/main?sentinel_password=second%26more&db=1"
    mongo = "mongodb://h/db?tlsCertificateKeyFilePassword=third"
    found = secrets_in(ServerOptions(store=f"dual://?primary={quote(sentinel, '')}&fallback={quote(mongo, '')}"))
    assert found >= {"first", "second&more", "second%26more", "third"}
    assert secrets_in(ServerOptions(store=sentinel)) >= {"first", "second&more"}
