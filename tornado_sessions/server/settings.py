"""The server's settings. ``ServerOptions`` declares the name, default, bounds and description of each.

Flags, ``--help`` and environment variables are derived from it. It must not know what a setting is used for. It has more than 300
lines because one list of settings is the contract with those who run the server.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tornado_sessions.errors import ConfigError
from tornado_sessions.server.roles import Role

__all__ = ["ServerOptions", "Settings", "load", "variable_of"]

_PREFIX = "SESSIONS_"

_is_prefix = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?").fullmatch
_is_host = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?").fullmatch
_is_sender = re.compile(r"""[^@\s<>()\[\]\\,;:"]+@[A-Za-z0-9.-]+""").fullmatch

Seconds = Annotated[float, Field(gt=0)]
#: Comma separated in flags and variables. ``NoDecode`` because pydantic-settings would otherwise expect JSON.
TextList = Annotated[Sequence[str], NoDecode]


class ServerOptions(BaseModel):
    """The settings. The description of a field is its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field(default="sqlite:///data/sessions.db", repr=False, description="URL of the session store")
    users: str | None = Field(
        default=None, repr=False, description="URL of the account store, if it is a different one"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=3000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    secret: TextList = Field(
        default=(),
        repr=False,
        description="comma separated signing keys, newest first; by default, a key is created next to the SQLite file",
    )
    secret_file: str | None = Field(default=None, description="file with one signing key a line, newest first")
    encryption_key: TextList = Field(
        default=(),
        repr=False,
        description="comma separated keys that encrypt the values of sessions, newest first; values stored without one stay "
        "readable",
    )
    idle_timeout: Seconds = Field(default=1800, description="seconds without a request after which a session ends")
    absolute_timeout: Seconds = Field(default=43200, description="maximum lifetime of a session in seconds")
    store_timeout: Seconds = Field(
        default=5, description="seconds after which the store counts as down; operators' pages wait a fifth of that"
    )
    processes: int = Field(default=1, ge=1, le=256, description="number of worker processes")
    start_timeout: Annotated[float, Field(ge=0)] = Field(
        default=60, description="seconds to wait at start for a store that cannot be reached"
    )
    drain_delay: Annotated[float, Field(ge=0, le=600)] = Field(
        default=1, description="seconds between SIGTERM, when /readyz becomes 503, and the end of accepting connections"
    )
    drain_timeout: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=30, description="maximum number of seconds to wait for requests in progress before the end"
    )
    max_connections: int | None = Field(
        default=None,
        ge=16,
        description="maximum number of open connections of each process; by default 4096, or what the limit of open files allows",
    )
    # More than the sign-ins that may wait (256 for hashing, 64 to be slowed down): a flood of them must leave places for pages.
    max_requests: int = Field(
        default=512, ge=1, description="maximum number of requests in progress in each process; others get 503"
    )
    trusted_proxies: TextList = Field(
        default=(), description="comma separated addresses or networks of trusted proxies; unix: is a unix socket"
    )
    forwarded_header: Literal["X-Forwarded-For", "Forwarded"] = Field(
        default="X-Forwarded-For", description="header that trusted proxies write: X-Forwarded-For or Forwarded"
    )
    prefix: str = Field(
        default="",
        description="path below which a proxy serves this server, such as /sessions; by default, that of --public-url",
    )
    allowed_hosts: TextList = Field(
        default=(),
        description="comma separated host names that requests may name besides that of --public-url; by default, if neither "
        "is set, any",
    )
    cookie_name: str | None = Field(
        default=None, description="name of the session cookie; each of several servers on one host needs its own"
    )
    public_url: str | None = Field(
        default=None, description="address at which people reach the server, such as https://example.com; used in links"
    )
    smtp_url: str | None = Field(
        default=None,
        repr=False,
        description="mail server for recovery, confirmations and notices: smtp://NAME:PASSWORD@HOST:PORT or smtps://…; needs "
        "--public-url",
    )
    smtp_password_file: str | None = Field(default=None, description="file with the password of --smtp-url")
    mail_from: str | None = Field(
        default=None, description="address that mails come from; by default noreply@ and the host of --public-url"
    )
    takeover: str | None = Field(
        default=None,
        repr=False,
        description="take over the sessions of Express in this store: express+redis://HOST or express+mongodb://HOST/DATABASE, "
        "with prefix=, collection= or crypto_secret_file= in its query",
    )
    takeover_secret_file: str | None = Field(
        default=None, description="file with the secrets of express-session, one a line"
    )
    takeover_cookie: str = Field(default="connect.sid", description="name of the cookie of express-session")
    takeover_user_key: str | None = Field(
        default=None,
        description="where req.session contains the username, such as user.name; by default, users have to sign in again",
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="address of the OpenID provider at which people sign in, exactly as in its discovery document; needs "
        "--oidc-client-id and --public-url",
    )
    oidc_client_id: str | None = Field(default=None, description="ID of this server at the OpenID provider")
    oidc_client_secret_file: str | None = Field(
        default=None, description="file with the secret of this server at the OpenID provider; none for a public client"
    )
    oidc_roles: TextList = Field(
        default=(),
        description="comma separated GROUP=ROLE: roles by groups at the OpenID provider, at each sign-in; by default, admins "
        "give roles here",
    )
    oidc_groups_claim: str = Field(
        default="groups", description="claim that contains the groups, such as groups or realm_access.roles"
    )
    oidc_scopes: TextList = Field(
        default=("openid", "profile", "email"), description="comma separated scopes that are asked for"
    )
    oidc_name: str = Field(
        default="", description="name of the OpenID provider on the sign-in page; by default, its host name"
    )
    oidc_only: bool = Field(
        default=False, description="whether people sign in at the OpenID provider only: no passwords, no registration"
    )
    webhook_url: str | None = Field(
        default=None,
        repr=False,
        description="address that receives a signed message for each bulk action, role change and sign of theft: https, or http on "
        "this machine",
    )
    webhook_secret_file: str | None = Field(
        default=None, description="file with the secrets that sign messages of the webhook, newest first, one a line"
    )
    log_format: Literal["text", "json"] = Field(default="text", description="format of the log: text or json")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level that is logged: debug, info, warning or error"
    )
    keep_audit_for: Seconds = Field(default=31536000, description="seconds after which audit entries are deleted")
    min_password_length: int | None = Field(
        default=None,
        ge=8,
        le=64,
        description="minimum length of new passwords; if not set, 15, or 8 with two-step verification",
    )

    @field_validator(
        "secret", "encryption_key", "trusted_proxies", "allowed_hosts", "oidc_roles", "oidc_scopes", mode="before"
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        """Return the path without a final slash."""
        if not _is_prefix(value) or {".", ".."} & set(value.split("/")):
            raise ValueError("must be a path such as /sessions, of letters, digits and -._~")
        return value.rstrip("/")

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, value: Sequence[str]) -> Sequence[str]:
        if not all(map(_is_host, value)):
            raise ValueError("must be host names such as example.com, without a scheme or port")
        return [host.lower().strip("[]") for host in value]

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str | None) -> str | None:
        """Return the address in lower case, with its path but without a final slash."""
        if not value:
            return None
        try:
            url = urlsplit(value)
            host, port = url.hostname, url.port
        except ValueError:
            host = port = None
        if not host or url.scheme not in ("http", "https") or url.username is not None or url.query or url.fragment:
            raise ValueError("must be an address such as https://example.com or https://example.com/path")
        shown = f"[{host}]" if ":" in host else host
        return f"{url.scheme}://{shown}{'' if port is None else f':{port}'}{url.path.rstrip('/')}"

    @field_validator("webhook_url")
    @classmethod
    def _check_webhook(cls, value: str | None) -> str | None:
        try:
            url = urlsplit(value or "")
            is_safe = url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname or ""))
            is_url = bool(url.hostname) and url.username is None and not url.fragment and (url.port or 1) > 0
        except ValueError:
            is_safe = is_url = False
        if value and not (is_safe and is_url):
            raise ValueError("must be an address with https, or with http on this machine, without a name and password")
        return value or None

    @model_validator(mode="after")
    def _check_webhook_secret(self) -> Self:
        if (self.webhook_url is None) != (self.webhook_secret_file is None):
            raise ValueError("webhook_url and webhook_secret_file: set both or neither")
        return self

    @field_validator("mail_from")
    @classmethod
    def _check_sender(cls, value: str | None) -> str | None:
        if value and not _is_sender(value):
            raise ValueError("must be an address such as noreply@example.com")
        return value or None

    @model_validator(mode="after")
    def _check_mail(self) -> Self:
        if self.smtp_url and not self.public_url:
            raise ValueError("smtp_url: needs --public-url, because links in mails start with it")
        return self

    @model_validator(mode="after")
    def _check_paths(self) -> Self:
        path = urlsplit(self.public_url or "").path
        if self.prefix and path not in ("", self.prefix):
            raise ValueError("prefix: must equal the path of --public-url, if that has one")
        self._check_prefix(path)
        return self

    @model_validator(mode="after")
    def _check_open_id(self) -> Self:
        if self.oidc_issuer and not (self.oidc_client_id and self.public_url):
            raise ValueError("oidc_issuer: needs --oidc-client-id and --public-url as well")
        if self.oidc_only and not self.oidc_issuer:
            raise ValueError("oidc_only: needs --oidc-issuer as well")
        return self

    @field_validator("oidc_roles")
    @classmethod
    def _check_roles(cls, value: Sequence[str]) -> Sequence[str]:
        if not all(group and role in set(Role) for group, _, role in (pair.rpartition("=") for pair in value)):
            raise ValueError("must be pairs such as admins=admin,ops=operator; roles are viewer, operator and admin")
        return value

    @property
    def oidc_role_pairs(self) -> list[tuple[str, Role]]:
        """The pairs of group and role."""
        return [(group, Role(role)) for group, _, role in (pair.rpartition("=") for pair in self.oidc_roles)]

    @property
    def base_path(self) -> str:
        """The path below which the server is, without a final slash; empty for the root."""
        return self.prefix or urlsplit(self.public_url or "").path

    def base_url(self, listening: str) -> str:
        """Return the base of absolute links: the public URL, or else the address on which the server listens."""
        return (self.public_url or listening).removesuffix(self.base_path) + self.base_path


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings, ServerOptions):
    """The settings, read from flags, then the environment, then ``.env``."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_file=".env", frozen=True, extra="ignore")


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return _PREFIX + name.upper()


def load(flags: dict[str, Any]) -> Settings:
    """Read the settings.

    Args:
        flags: the values of command-line flags by setting; they override all other sources.

    Raises:
        ConfigError: settings are invalid. It has a sentence for each fault, without the values, which may be secrets.
    """
    try:
        return Settings(**flags)
    except ValidationError as error:
        faults = [
            # Pydantic puts "Value error, " before the messages of our own validators.
            ": ".join(filter(None, (".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, "))))
            for fault in error.errors(include_input=False)
        ]
        raise ConfigError(*faults) from None
