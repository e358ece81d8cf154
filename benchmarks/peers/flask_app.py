"""Flask-Session on Redis, run by gunicorn."""

from __future__ import annotations

import os

from flask import Flask, session
from flask_session import Session
from redis import Redis

app = Flask(__name__)
app.config.update(
    SECRET_KEY="x" * 40,
    SESSION_TYPE="redis",
    SESSION_REDIS=Redis.from_url(os.environ["REDIS_URL"]),
    SESSION_KEY_PREFIX="flask:",
    # Otherwise every read also writes the cookie and the session.
    SESSION_REFRESH_EACH_REQUEST=False,
)
Session(app)


@app.get("/login")
def log_in() -> str:
    session["name"] = "ada"
    session["n"] = 0
    return "ada"


@app.get("/read")
def read() -> str:
    return str(session.get("name", "nobody"))


@app.get("/write")
def write() -> str:
    session["n"] += 1
    return str(session["n"])


# Flask opens a session for every route of an application, so the bare route has an application of its own.
bare_app = Flask("bare")


@bare_app.get("/bare")
def bare() -> str:
    return "ada"


def application(environ, start_response):  # type: ignore[no-untyped-def]
    """Choose between the two."""
    chosen = bare_app if environ["PATH_INFO"] == "/bare" else app
    return chosen(environ, start_response)
