"""A provider that signs what a test tells it to: for tokens and answers that a real provider would never send."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey, import_key
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

EVENTS: dict[str, object] = {"http://schemas.openid.net/event/backchannel-logout": {}}
CLIENT = "client-1"
#: Of the client; the false tokens with a shared secret are signed with it.
SECRET = "a secret of the client that has 32 characters"
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


class FalseProvider:
    """The provider, on a port of its own.

    Attributes:
        issuer: its address.
        key: signs its tokens; ``published`` are those that it shows.
        claims, header: replace those of the next ID tokens; a value of ``None`` removes one.
        metadata: replaces values of the discovery document.
        answers: by path: status and body to send instead of the usual answer.
        userinfo: the answer of the user info endpoint, which the discovery document names only by ``metadata``.
        asked: how often each path was asked for.
        authentication: the only way in which the client may prove who it is; empty for any.
        hanging, dripping: paths that never answer, and that send one byte after another without an end.
    """

    def __init__(self) -> None:
        self.key = self.new_key("first")
        self.published = [self.key]
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: dict[str, int] = {}
        self.userinfo: dict[str, Any] = {"sub": "ada"}
        self.authentication = ""
        self.hanging: set[str] = set()
        self.dripping: set[str] = set()
        self.stopped = asyncio.Event()
        self.nonce = ""
        (free,) = bind_sockets(0, "127.0.0.1")
        self.issuer = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.server = HTTPServer(Application([("(/.*)", _Answer, {"provider": self})]))
        self.server.add_sockets([free])

    @staticmethod
    @cache
    def new_key(key_id: str, algorithm: str = "RS256") -> Key:
        """Return a key of this name for an algorithm, which is made once in a run."""
        parameters: Any = {"kid": key_id, "use": "sig", "alg": algorithm}
        if algorithm.startswith("ES"):
            return ECKey.generate_key(_CURVES[algorithm], parameters=parameters)
        if algorithm.startswith("Ed"):
            return OKPKey.generate_key("Ed25519", parameters=parameters)
        return RSAKey.generate_key(2048, parameters=parameters)

    def replace_key(self, key_id: str, algorithm: str = "RS256") -> None:
        """Sign with another key from now on, and publish only that one."""
        self.key = self.new_key(key_id, algorithm)
        self.published = [self.key]

    def stop(self) -> None:
        """Stop answering."""
        self.stopped.set()
        self.server.stop()

    def asked_for(self, url: str) -> str:
        """Take the nonce of a request of the client, and return the query of the answer, with its state."""
        query = parse_qs(urlsplit(url).query)
        self.nonce = query["nonce"][0]
        return f"state={query['state'][0]}&code=c"

    def id_token(self) -> str:
        """Return an ID token."""
        now = int(time.time())
        usual = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "ada",
            "nonce": self.nonce,
            "iat": now,
            "exp": now + 300,
            "sid": "s1",
        }
        return self.sign({**usual, **self.claims}, self.header)

    def logout_token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a logout token."""
        now = int(time.time())
        usual = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "ada",
            "sid": "s1",
            "jti": "j1",
            "iat": now,
            "exp": now + 120,
        }
        return self.sign({**usual, "events": EVENTS, **claims}, {"typ": "logout+jwt", **(header or {})})

    def sign(self, claims: dict[str, Any], header: dict[str, Any]) -> str:
        """Sign claims; those that are ``None`` are left out."""
        left = {name: value for name, value in claims.items() if value is not None}
        full = {"alg": self.key.as_dict(private=False)["alg"], "kid": self.key.kid, **header}
        full = {name: value for name, value in full.items() if value is not None}
        if full["alg"] == "none":
            parts = (json.dumps(part).encode() for part in (full, left))
            return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."
        if full["alg"].startswith("HS"):
            secret = OctKey.import_key(SECRET)
            return jwt.encode(full, left, secret, algorithms=[full["alg"]])
        key = json.dumps({**self.key.as_dict(private=True), "alg": full["alg"]})
        return jwt.encode(full, left, _read(key), algorithms=[full["alg"]])


@cache  # the primes of a private key are checked whenever it is read, which takes as long as ten requests
def _read(key: str) -> Key:
    return import_key(json.loads(key))


class _Answer(RequestHandler):
    def initialize(self, provider: FalseProvider) -> None:
        self.provider = provider

    async def get(self, path: str) -> None:
        made = self.provider
        made.asked[path] = made.asked.get(path, 0) + 1
        if path in made.hanging:
            await made.stopped.wait()
        while path in made.dripping and not made.stopped.is_set():
            self.write(b" ")
            await self.flush()
            await asyncio.wait({asyncio.ensure_future(made.stopped.wait())}, timeout=0.05)
        if path in made.answers:
            status, body = made.answers[path]
            self.set_status(status)
            if 300 <= status < 400:
                self.set_header("Location", path)
            self.finish(body)
            return
        if path == "/token" and made.authentication not in ("", self._authentication()):
            self.set_status(401)
            self.finish({"error": "invalid_client"})
            return
        base = made.issuer
        discovery = {
            "issuer": base, "authorization_endpoint": f"{base}/auth", "token_endpoint": f"{base}/token", "jwks_uri": f"{base}/jwks",
        }  # fmt: skip
        bodies: dict[str, Any] = {
            "/.well-known/openid-configuration": {**discovery, **made.metadata},
            "/jwks": {"keys": [key.as_dict(private=False) for key in made.published]},
            "/token": {"id_token": made.id_token(), "access_token": "a", "token_type": "Bearer"},
            "/userinfo": made.userinfo,
        }
        self.finish(bodies[path])

    post = get

    def _authentication(self) -> str:
        if "Authorization" in self.request.headers:
            return "client_secret_basic"
        return "client_secret_post" if "client_secret" in self.request.body_arguments else "none"
