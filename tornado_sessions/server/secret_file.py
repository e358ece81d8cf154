"""The signing key of an installation, created at the first start in a file that only its owner can read.

It must not know what the key signs.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tornado_sessions.drivers.sqlite.database import database_path
from tornado_sessions.errors import ConfigError

__all__ = ["installation_secret"]

_KEY_BYTES = 48


def installation_secret(store: str) -> str:
    """Return the key stored next to a store's data, and create it first if necessary.

    Args:
        store: the URL of the session store. A store in memory gets a new key each time.

    Raises:
        ConfigError: the file cannot be created or read, or is empty.
    """
    if store.startswith("memory:"):
        return secrets.token_urlsafe(_KEY_BYTES)
    folder = Path(database_path(store).path).parent if store.startswith("sqlite:") else Path("data")
    path = folder / "secret"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create_once(path)
        kept = path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"cannot create or read {path}: {error.strerror}; set --secret instead") from None
    if not kept:
        raise ConfigError(f"{path} is empty; remove it, or set --secret")
    return kept


def _create_once(path: Path) -> None:
    # Processes that start at the same time must agree on one key. Each writes a complete file with its own name. The hard
    # link is atomic and succeeds only for the first, so no process ever reads a partly written file.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(_KEY_BYTES))
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
