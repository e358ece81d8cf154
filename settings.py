"""Settings of the server: flags, then environment (``SESSIONS_…``), then ``.env``, then defaults.

It must not know what they are for; ``tornado_sessions.server.parts`` does.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tornado_sessions.errors import ConfigError
from tornado_sessions.server.parts import ServerOptions

__all__ = ["Settings", "load"]

Listed = Annotated[list[str], NoDecode]


class Settings(BaseSettings):
    """What can be set; each field is a flag of ``server.py`` and a variable with the prefix ``SESSIONS_``."""

    model_config = SettingsConfigDict(env_prefix="SESSIONS_", env_file=".env", extra="ignore")

    store: str = Field("sqlite:///data/sessions.db", description="URL of the session store")
    users: str | None = Field(None, description="URL of the account store; default: the same as the store")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(3000, ge=0, le=65535, description="port to listen on")
    secret: Listed = Field(default_factory=list, repr=False, description="signing keys, newest first, comma separated")
    idle_timeout: float = Field(1800, gt=0, description="seconds without use after which a session ends")
    absolute_timeout: float = Field(43200, gt=0, description="seconds after which a session ends in any case")
    store_timeout: float = Field(
        5, gt=0, description="seconds after which the store counts as down; an operator's page may take a fifth of it"
    )
    processes: int = Field(1, ge=1, le=256, description="worker processes")
    trusted_proxies: Listed = Field(
        default_factory=list,
        description="addresses or networks of proxies whose forwarding header counts, comma separated; unix: is a unix socket",
    )
    forwarded_header: Literal["X-Forwarded-For", "Forwarded"] = Field(
        "X-Forwarded-For", description="the header that those proxies write: X-Forwarded-For or Forwarded"
    )
    keep_audit_for: float = Field(
        31536000, gt=0, description="seconds after which entries of the audit log are forgotten"
    )

    @field_validator("secret", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    def options(self) -> ServerOptions:
        """What the application is built from."""
        return ServerOptions(
            store=self.store,
            users=self.users,
            secret=self.secret,
            idle_timeout=self.idle_timeout,
            absolute_timeout=self.absolute_timeout,
            store_timeout=self.store_timeout,
            trusted_proxies=self.trusted_proxies,
            forwarded_header=self.forwarded_header,
            keep_audit_for=self.keep_audit_for,
        )


def load(flags: dict[str, Any]) -> Settings:
    """Settings with these flags above everything else.

    Raises:
        ConfigError: one sentence for each fault; a secret is never shown.
    """
    try:
        return Settings(**flags)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_input=False)]
        raise ConfigError(*faults) from None
