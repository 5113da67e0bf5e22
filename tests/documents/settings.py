"""The project's settings for a server that is fuzzed."""

from aurum.settings import *  # noqa: F403

# Or every later answer of theirs were 429.
SIGN_IN_LIMIT = PASSWORD_LIMIT = (1_000_000, 60)
# Nobody reads the log while it runs, and a full pipe would stop the server.
LOGGING["loggers"]["django"] = {"level": "ERROR"}  # noqa: F405
