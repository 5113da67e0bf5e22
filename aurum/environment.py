"""Turns the environment into checked values; a bad one is one line that names the variable."""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from aurum.secret import Secret, SecretUrl

ENVIRONMENTS = ("development", "staging", "production")
# Of the group of secp256k1 (SEC 2, 2.4.1): a key is a number below it.
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ZERO_ADDRESS = "0x" + "00" * 20
WEAK_SECRETS = ("secret", "changeme", "change-me", "your-", "example", "password", "development", "insecure")
TRUE = ("true", "1", "yes", "on")
FALSE = ("false", "0", "no", "off")
TAKEN = ("api", "health", "live", "static", "ws")  # paths of ours
DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "": 1}
LONGEST_DURATION = 10 * 365 * 86400  # seconds
# libpq's parameters, where the URL does not say otherwise. A database server that is gone without a word must be
# noticed in time for another one to take its place: after 3 s when connecting to it, 10 s while waiting for it.
CONNECTION_OPTIONS = {
    "connect_timeout": 3,  # seconds, for each host
    "keepalives_idle": 4,  # seconds
    "keepalives_interval": 2,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds without an acknowledgement of what was sent
}


READ_TIMEOUT = 10_000  # milliseconds of a statement that reads an answer


def read_env_files(base_dir: Path) -> None:
    """Loads `.env`, then the fragment that the development chain writes; the real environment wins over both."""
    for name in os.environ.get("AURUM_ENV_FILES", ".env,.data/devchain.env").split(","):
        path = base_dir / name
        if name and path.is_file():
            environ.Env.read_env(path, overwrite=False)


def environment_name(env: environ.Env) -> str:
    """`DJANGO_ENV`, or its synonym `NODE_ENV`."""
    name = env.str("DJANGO_ENV", default="") or env.str("NODE_ENV", default="development")
    if name not in ENVIRONMENTS:
        raise ImproperlyConfigured(f"DJANGO_ENV must be one of {', '.join(ENVIRONMENTS)}; it is {name!r}")
    return name


def address(env: environ.Env, name: str) -> str:
    """A contract address in lower case; empty when it is not set, or still the guide's placeholder `0x...`."""
    value = env.str(name, default="").strip().lower()
    if value == "0x...":
        return ""
    if value and not re.fullmatch(r"0x[0-9a-f]{40}", value):
        raise ImproperlyConfigured(f"{name} must be 0x and 40 hexadecimal digits")
    if value == ZERO_ADDRESS:
        raise ImproperlyConfigured(f"{name} must not be the zero address")
    return value


def integer(env: environ.Env, name: str, *, default: int, minimum: int, maximum: int) -> int:
    """A whole number within its bounds."""
    raw = env.str(name, default=str(default)).strip()
    if not re.fullmatch(r"[0-9]{1,18}", raw) or not minimum <= int(raw) <= maximum:
        raise ImproperlyConfigured(f"{name} must be a whole number from {minimum} to {maximum}; it is {raw!r}")
    return int(raw)


def boolean(env: environ.Env, name: str, *, default: bool) -> bool:
    """`true` or `false`, or what else means one of them; an empty value is the default."""
    raw = env.str(name, default="").strip().lower()
    if raw and raw not in (*TRUE, *FALSE):
        raise ImproperlyConfigured(f"{name} must be true or false; it is {raw!r}")
    return raw in TRUE if raw else default


def path(env: environ.Env, name: str, *, default: str) -> str:
    """The part of a URL below which something stands, such as `admin` or `ops/admin`; without slashes around it."""
    value = env.str(name, default=default).strip().strip("/")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}", value) or value.split("/")[0] in TAKEN:
        raise ImproperlyConfigured(
            f"{name} must be a path such as admin or ops/admin, none of {', '.join(TAKEN)}; it is {value!r}"
        )
    return value


def duration(env: environ.Env, name: str, *, default: str) -> timedelta:
    """A span such as `15m`, `12h` or `7d`; a bare number is seconds."""
    raw = env.str(name, default=default).strip()
    match = re.fullmatch(r"([0-9]{1,9})([smhdw]?)", raw)
    seconds = int(match[1]) * DURATION_UNITS[match[2]] if match else 0
    if not 0 < seconds <= LONGEST_DURATION:
        raise ImproperlyConfigured(f"{name} must be a duration such as 15m, 12h or 7d; it is {raw!r}")
    return timedelta(seconds=seconds)


def urls(env: environ.Env, name: str, *, schemes: tuple[str, ...]) -> list[str]:
    """A comma-separated list of URLs. Neither the message nor their repr repeats them: they may hold a key."""
    values: list[str] = [SecretUrl(value.strip()) for value in env.str(name, default="").split(",") if value.strip()]
    for value in values:
        if not re.match(rf"(?:{'|'.join(schemes)})://[^\s/]+", value):
            raise ImproperlyConfigured(f"{name} must hold URLs that start with {' or '.join(schemes)}://")
    return values


def url(env: environ.Env, name: str, *, schemes: tuple[str, ...]) -> str:
    """One URL; empty when it is not set."""
    values = urls(env, name, schemes=schemes)
    if len(values) > 1:
        raise ImproperlyConfigured(f"{name} must be one URL")
    return values[0] if values else ""


def private_key(env: environ.Env) -> Secret | None:
    """`PRIVATE_KEY`; None when it is not set, or still the guide's placeholder `0x...`."""
    text = Secret(env.str("PRIVATE_KEY", default="").strip())
    return None if not text.reveal() or text.reveal().startswith("0x...") else checked_key(text, "PRIVATE_KEY")


def checked_key(text: Secret, name: str) -> Secret:
    """0x and 64 digits of what may lack the 0x. The message never repeats the text; nor do its frames hold it."""
    form = re.fullmatch(r"\s*(?:0x)?[0-9a-fA-F]{64}\s*", text.reveal()) is not None
    if not form or not 0 < int(text.reveal().strip()[-64:], 16) < SECP256K1_ORDER:
        raise ImproperlyConfigured(f"{name} must be a secp256k1 key: 0x and 64 hexadecimal digits")
    return Secret("0x" + text.reveal().strip()[-64:].lower())


def kms_key_id(env: environ.Env) -> str:
    """`KMS_KEY_ID`: an id, alias or ARN of a key in AWS KMS; empty when it is not set."""
    value = env.str("KMS_KEY_ID", default="").strip()
    if value and not re.fullmatch(r"[A-Za-z0-9:/_-]{1,2048}", value):
        raise ImproperlyConfigured("KMS_KEY_ID must be a key's id, alias/… or ARN")
    return value


def at_most_one(**values: object) -> None:
    """Refuses more than one of the variables, by name."""
    given = [name for name, value in values.items() if value]
    if len(given) > 1:
        raise ImproperlyConfigured(f"only one of {', '.join(given)} can be set: there is one signer")


def sign_in_origins(env: environ.Env, cors_origins: list[str]) -> frozenset[str]:
    """Origins of the pages that people may sign in on: those of CORS_ORIGIN, and `SIWE_DOMAINS` (by https)."""
    domains = [domain.strip().lower() for domain in env.str("SIWE_DOMAINS", default="").split(",") if domain.strip()]
    for domain in domains:
        if not re.fullmatch(r"[a-z0-9.-]+(:[0-9]{1,5})?", domain):
            raise ImproperlyConfigured(f"SIWE_DOMAINS must hold domains such as app.aurumlabs.io; one is {domain!r}")
    return frozenset([*cors_origins, *(f"https://{domain}" for domain in domains)])


def database(url: str, name: str = "DATABASE_URL") -> dict[str, Any]:
    """Django's settings for a PostgreSQL URL. The message never repeats the URL: it holds a password.

    Several hosts are tried in turn: `postgresql://user:password@a:5432,b:5432/name?target_session_attrs=read-write`.
    """
    try:
        settings = environ.Env.db_url_config(url)
        if "," in settings.get("HOST", ""):
            # Read by libpq itself: environ loses which host a port belongs to, and the form of IPv6 addresses.
            parameters = conninfo_to_dict(url)
            settings |= {"HOST": parameters["host"], "PORT": parameters["port"]}
    except (KeyError, ValueError, ProgrammingError):
        settings = {}
    if settings.get("ENGINE") != "django.db.backends.postgresql":
        raise ImproperlyConfigured(f"{name} must be a postgresql:// URL (amounts need NUMERIC(78,0))") from None
    settings["OPTIONS"] = CONNECTION_OPTIONS | settings.get("OPTIONS", {})
    timeout = settings["OPTIONS"]["connect_timeout"]
    if not isinstance(timeout, int) or timeout < 1:
        raise ImproperlyConfigured(f"{name}: connect_timeout must be a whole number of seconds, 1 or more")
    return settings | {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True}


def reads_database(env: environ.Env, primary: dict[str, Any]) -> dict[str, Any]:
    """Django's settings for reading answers: from `DATABASE_REPLICA_URL`, else from the primary."""
    url = env.str("DATABASE_REPLICA_URL", default="")
    settings = database(url, "DATABASE_REPLICA_URL") if url else primary
    options = {name: value for name, value in settings["OPTIONS"].items() if name != "pool"}
    # Milliseconds: nobody waits longer for a page, and what takes so long must not hold a thread.
    limited = f"{options.get('options', '')} -c statement_timeout={READ_TIMEOUT}".strip()
    return settings | {
        "OPTIONS": options | {"server_side_binding": True, "prepare_threshold": 2, "options": limited},
        # Seconds: whichever server a name leads to by then, it is found.
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": False,
        "TEST": {"MIRROR": "default"},
    }


def database_pool(settings: dict[str, Any]) -> dict[str, Any]:
    """psycopg's pool for what `database` made of the URL. Times in seconds."""
    hosts = str(settings["HOST"] or settings["OPTIONS"].get("host", "")).count(",") + 1
    # A request waits until every host but the last has been found to be gone.
    timeout = settings["OPTIONS"]["connect_timeout"] * hosts + 1
    # Then the pool gives up, and the next request connects at once. By default it goes on by itself for five minutes,
    # with pauses that double: back after two minutes, the database would be missed for two minutes more.
    return {"min_size": 1, "max_size": 10, "timeout": timeout, "reconnect_timeout": timeout}


def jwt_secret(env: environ.Env, environment: str) -> str:
    """`JWT_SECRET`; outside development it must be there, have 32 bytes and not look like an example."""
    value = env.str("JWT_SECRET", default="")
    if environment == "development":
        return value.ljust(32, "=") if value else "development-only-insecure-secret-of-48-characters"
    if len(value.encode()) < 32:
        raise ImproperlyConfigured(f"JWT_SECRET must have at least 32 bytes in {environment}")
    if len(set(value)) < 10 or any(word in value.lower() for word in WEAK_SECRETS):
        raise ImproperlyConfigured(f"JWT_SECRET is guessable; {environment} needs a random one")
    return value


def allowed_hosts(env: environ.Env, environment: str) -> list[str]:
    """`ALLOWED_HOSTS`; hosting platforms that announce the public host need none."""
    hosts = env.list("ALLOWED_HOSTS", default=[])
    announced = [
        os.environ.get(name, "") for name in ("RENDER_EXTERNAL_HOSTNAME", "RAILWAY_PUBLIC_DOMAIN", "APP_DOMAIN")
    ]
    hosts += [host for host in announced if host]
    if hosts:
        return [*hosts, "localhost", "127.0.0.1", "[::1]"]
    if environment == "development":
        return ["*"]
    raise ImproperlyConfigured(f"ALLOWED_HOSTS must name the hosts that {environment} answers for")
