"""The settings of a Django project with users and sessions in SQLite, as ``django-admin startproject`` makes them."""

import atexit
import shutil
import tempfile

_folder = tempfile.mkdtemp(prefix="django-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)

SECRET_KEY = "of the Django project, in no way random"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{_folder}/db.sqlite3"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
#: The tests' own logging stays.
LOGGING_CONFIG = None
