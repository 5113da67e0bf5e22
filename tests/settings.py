"""The project's settings for tests: a PostgreSQL of their own, and nothing from the developer's .env files."""

import os
from pathlib import Path

from aurum import embedded_postgres

POSTGRES_DIR = Path(
    os.environ.get("TEST_POSTGRES_DIR", Path(__file__).resolve().parent.parent / ".data" / "test-postgres")
)

os.environ["AURUM_ENV_FILES"] = ""
os.environ["DJANGO_ENV"] = "development"
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL") or embedded_postgres.start(POSTGRES_DIR)
os.environ["CHAIN_ID"] = "31337"
# The tests of limits set their own; every other test, and the servers that tests start, ask as often as they need.
os.environ["RATE_LIMIT_MAX"] = "1000000"

from aurum.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# A commit does not wait for the disk. Crashes of PostgreSQL itself have a server of their own, and processes.
DATABASES["default"]["OPTIONS"]["options"] = "-c synchronous_commit=off"  # noqa: F405
# A test's rows are seen in its own transaction alone.
READS = "default"
REPLICA = None
