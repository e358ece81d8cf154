"""Django's sessions in its Redis cache or in SQLite, run by gunicorn; ``SESSIONS`` is ``redis`` or ``sqlite``."""

from __future__ import annotations

import os
from pathlib import Path

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.test.utils import override_settings
from django.urls import path

IN_REDIS = os.environ["SESSIONS"] == "redis"
FOLDER = Path(os.environ["FOLDER"])

settings.configure(
    SECRET_KEY="x" * 40,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE=f"django.contrib.sessions.backends.{'cache' if IN_REDIS else 'db'}",
    CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["REDIS_URL"]}},
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": FOLDER / "django.db",
            # As its documentation advises for servers: write-ahead log, and a thread keeps its connection.
            "OPTIONS": {
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                "transaction_mode": "IMMEDIATE",
            },
            "CONN_MAX_AGE": None,
        }
    },
)
django.setup()
if not IN_REDIS:
    call_command("migrate", verbosity=0)


def bare(_: HttpRequest) -> HttpResponse:
    return HttpResponse("ada")


def log_in(request: HttpRequest) -> HttpResponse:
    request.session["name"] = "ada"
    request.session["n"] = 0
    return HttpResponse("ada")


def read(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.session.get("name", "nobody"))


def write(request: HttpRequest) -> HttpResponse:
    request.session["n"] += 1
    return HttpResponse(str(request.session["n"]))


urlpatterns = [path("bare", bare), path("login", log_in), path("read", read), path("write", write)]
with_sessions = WSGIHandler()
with override_settings(MIDDLEWARE=[]):
    without = WSGIHandler()


def application(environ, start_response):  # type: ignore[no-untyped-def]
    """Choose between the two, so that the bare route has no middleware."""
    chosen = without if environ["PATH_INFO"] == "/bare" else with_sessions
    return chosen(environ, start_response)
