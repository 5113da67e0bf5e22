"""The environment as operators get it wrong: one line that names the variable, and no secret in it."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql.base import DatabaseWrapper

from aurum import environment
from aurum.database import DJANGO_ONLY

PROJECT = Path(__file__).resolve().parent.parent.parent
ADDRESS = "0x" + "aB" * 20
STRONG = "q7Zt9vXc2LkM4nBp8sWd6fGh1jRy3eUa"
CANARY = "c4n4ry"
DATABASE = {"DATABASE_URL": f"postgresql://aurum:{CANARY}@localhost:5432/aurum"}
PRODUCTION = DATABASE | {"DJANGO_ENV": "production", "JWT_SECRET": STRONG, "ALLOWED_HOSTS": "api.aurumlabs.io"}
# The deployment guide's own example.
GUIDE = """\
# Server Configuration
NODE_ENV=development
PORT=3001
HOST=0.0.0.0

# Database
DATABASE_URL=postgresql://aurum:password@localhost:5432/aurum_dev

# Authentication
JWT_SECRET=your-development-jwt-secret
JWT_EXPIRES_IN=7d

# CORS
CORS_ORIGIN=http://localhost:5173

# Blockchain Configuration
RPC_URL=https://sepolia.base.org
CHAIN_ID=84532
PRIVATE_KEY=0x... # Backend wallet for transactions

# Contract Addresses
CONDITIONAL_TOKENS_ADDRESS=0x...
MARKET_FACTORY_ADDRESS=0x...
AURUM_TOKEN_ADDRESS=0x...
AURUM_ORACLE_ADDRESS=0x...
FEE_COLLECTOR_ADDRESS=0x...

# Indexer Configuration
INDEXER_START_BLOCK=0
INDEXER_BATCH_SIZE=1000

# Rate Limiting
RATE_LIMIT_WINDOW=60000
RATE_LIMIT_MAX=100
"""


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> environ.Env:
    """The environment without anything that these tests set."""
    for name in (
        "DJANGO_ENV",
        "NODE_ENV",
        "JWT_SECRET",
        "ALLOWED_HOSTS",
        "THE_NAME",
        "SIWE_DOMAINS",
        "RENDER_EXTERNAL_HOSTNAME",
    ):
        monkeypatch.delenv(name, raising=False)
    return environ.Env()


def refusal(read: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(ImproperlyConfigured) as refused:
        read(*arguments, **options)
    message = str(refused.value)
    assert "\n" not in message
    return message


def start(variables: dict[str, str], expression: str = "'started'") -> subprocess.CompletedProcess[str]:
    """Imports the settings in a process with nothing but these variables, and prints an expression of them."""
    return subprocess.run(
        [sys.executable, "-c", f"from aurum import settings; print({expression})"],
        env={"PATH": os.environ["PATH"], "AURUM_ENV_FILES": "", **variables},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


# --- single values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("", ""),
        (ADDRESS, ADDRESS.lower()),
        (f" {ADDRESS} ", ADDRESS.lower()),
        (ADDRESS.upper().replace("X", "x"), ADDRESS.lower()),
    ],
)
def test_address(env: environ.Env, monkeypatch: pytest.MonkeyPatch, value: str, read: str) -> None:
    monkeypatch.setenv("THE_NAME", value)
    assert environment.address(env, "THE_NAME") == read


@pytest.mark.parametrize(
    "value", ["0x12", ADDRESS[2:], ADDRESS + "0", "0x" + "zz" * 20, "0x" + "00" * 20, "vitalik.eth"]
)
def test_a_bad_address(env: environ.Env, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("THE_NAME", value)
    assert "THE_NAME" in refusal(environment.address, env, "THE_NAME")


@pytest.mark.parametrize(("value", "read"), [(None, 5), ("1", 1), ("10", 10), (" 7 ", 7), ("007", 7)])
def test_integer(env: environ.Env, monkeypatch: pytest.MonkeyPatch, value: str | None, read: int) -> None:
    if value is not None:
        monkeypatch.setenv("THE_NAME", value)
    assert environment.integer(env, "THE_NAME", default=5, minimum=1, maximum=10) == read


@pytest.mark.parametrize("value", ["0", "11", "-1", "1.5", "1e3", "", "0x1", "ten", "٣", "9" * 5000])
def test_a_bad_integer(env: environ.Env, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("THE_NAME", value)
    message = refusal(environment.integer, env, "THE_NAME", default=5, minimum=1, maximum=10)
    assert message.startswith("THE_NAME must be a whole number from 1 to 10")


@pytest.mark.parametrize(
    ("value", "read"),
    [(None, True), ("", True), ("false", False), (" FALSE ", False), ("0", False), ("no", False), ("off", False)]
    + [(value, True) for value in ("true", "True", "1", "yes", "on")],
)
def test_boolean(env: environ.Env, monkeypatch: pytest.MonkeyPatch, value: str | None, read: bool) -> None:
    if value is not None:
        monkeypatch.setenv("THE_NAME", value)
    assert environment.boolean(env, "THE_NAME", default=True) is read


@pytest.mark.parametrize("value", ["maybe", "2", "-", "truefalse", "enabled"])
def test_a_bad_boolean(env: environ.Env, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("THE_NAME", value)
    assert refusal(environment.boolean, env, "THE_NAME", default=False).startswith("THE_NAME must be true or false")


@pytest.mark.parametrize(
    ("value", "seconds"), [("7d", 604_800), ("15m", 900), ("12h", 43_200), ("2w", 1_209_600), ("90s", 90), ("60", 60)]
)
def test_duration(env: environ.Env, monkeypatch: pytest.MonkeyPatch, value: str, seconds: int) -> None:
    monkeypatch.setenv("THE_NAME", value)
    assert environment.duration(env, "THE_NAME", default="7d") == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["", "0", "0d", "-1d", "7 days", "d", "1.5h", "7D", "9999999999s"])
def test_a_bad_duration(env: environ.Env, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("THE_NAME", value)
    assert refusal(environment.duration, env, "THE_NAME", default="7d").startswith("THE_NAME must be a duration")


def test_urls(env: environ.Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_NAME", " https://a.example/v2/key , http://localhost:8545,, ")
    assert environment.urls(env, "THE_NAME", schemes=("http", "https")) == [
        "https://a.example/v2/key",
        "http://localhost:8545",
    ]


@pytest.mark.parametrize("value", [f"ws://a/{CANARY}", CANARY, f"https://{' '}{CANARY}", f"https://a,ftp://{CANARY}"])
def test_a_bad_url_keeps_its_key_to_itself(env: environ.Env, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("THE_NAME", value)
    message = refusal(environment.urls, env, "THE_NAME", schemes=("http", "https"))
    assert "THE_NAME" in message
    assert CANARY not in message


def test_one_url(env: environ.Env, monkeypatch: pytest.MonkeyPatch) -> None:
    schemes = ("redis", "rediss")
    assert environment.url(env, "THE_NAME", schemes=schemes) == ""
    monkeypatch.setenv("THE_NAME", f" rediss://:{CANARY}@redis.example:6380/1 ")
    assert environment.url(env, "THE_NAME", schemes=schemes) == f"rediss://:{CANARY}@redis.example:6380/1"
    for value in (f"http://{CANARY}", CANARY, f"redis://a/{CANARY},redis://b"):
        monkeypatch.setenv("THE_NAME", value)
        message = refusal(environment.url, env, "THE_NAME", schemes=schemes)
        assert "THE_NAME" in message
        assert CANARY not in message


def test_pages_that_people_sign_in_on(env: environ.Env, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "http://localhost:5173"
    assert environment.sign_in_origins(env, [page]) == {page}
    monkeypatch.setenv("SIWE_DOMAINS", "app.aurumlabs.io, Beta.aurumlabs.io:8443,")
    assert environment.sign_in_origins(env, [page]) == {
        page,
        "https://app.aurumlabs.io",
        "https://beta.aurumlabs.io:8443",
    }
    for value in ("https://app.aurumlabs.io", "*", "*.aurumlabs.io", "a/b", "a b"):
        monkeypatch.setenv("SIWE_DOMAINS", value)
        assert "SIWE_DOMAINS" in refusal(environment.sign_in_origins, env, [page])


# --- the database -----------------------------------------------------------------------------------------------------

DEFAULTS = environment.CONNECTION_OPTIONS
CLUSTER = "target_session_attrs=read-write"
PRIMARY = {"target_session_attrs": "read-write"}


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("postgresql://u:p%40ss@a:5433/db", {"user": "u", "password": "p@ss", "host": "a", "port": 5433}),
        ("postgresql://u@a/db?connect_timeout=9", {"user": "u", "host": "a", "connect_timeout": 9}),
        ("postgresql:///db?host=/run/pg&user=u", {"user": "u", "host": "/run/pg"}),
        # Several hosts: libpq reads these lists, and an empty port is its own default.
        ("postgresql://u:p@a:1,b:2/db", {"user": "u", "password": "p", "host": "a,b", "port": "1,2"}),
        ("postgresql://u@a:1,b/db", {"user": "u", "host": "a,b", "port": "1,"}),
        ("postgresql://u@a,b:2/db", {"user": "u", "host": "a,b", "port": ",2"}),
        ("postgresql://u@[::1]:1,[fe80::2]/db", {"user": "u", "host": "::1,fe80::2", "port": "1,"}),
        (f"postgresql://u@a,b/db?{CLUSTER}", {"user": "u", "host": "a,b", "port": ",", **PRIMARY}),
        (f"postgresql:///db?host=/x/a,/x/b&port=1,2&{CLUSTER}", {"host": "/x/a,/x/b", "port": "1,2", **PRIMARY}),
    ],
)  # fmt: skip
def test_what_a_database_url_connects_to(url: str, read: dict[str, Any]) -> None:
    settings = environment.database(url) | {"TIME_ZONE": None}
    parameters = DatabaseWrapper(settings, "default").get_connection_params()
    ours = {name: parameters[name] for name in parameters if name not in (*DJANGO_ONLY, "client_encoding")}
    assert ours == DEFAULTS | read | {"dbname": "db"}


@pytest.mark.parametrize(
    ("url", "timeout"),
    [
        ("postgresql://u@a/db", 4),
        ("postgresql://u@a,b,c/db", 10),
        ("postgresql:///db?host=/x/a,/x/b&connect_timeout=5", 11),
    ],
)
def test_a_request_waits_for_the_last_of_the_hosts(url: str, timeout: int) -> None:
    assert environment.database_pool(environment.database(url))["timeout"] == timeout


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{CANARY}@a/db",
        f"postgresql://u:{CANARY}@a:port/db",
        f"postgresql://u:{CANARY}@a:1,b:2/db?pool=true",
        f"postgresql://u:{CANARY}@a/db?connect_timeout=0",
        f"postgresql://u:{CANARY}@a/db?connect_timeout={CANARY}",
    ],
)
def test_a_bad_database_url_keeps_its_password_to_itself(url: str) -> None:
    message = refusal(environment.database, url)
    assert message.startswith("DATABASE_URL")
    assert CANARY not in message


POOLER = f"postgresql://u:{CANARY}@pooler:6432/db?options=-c%20x%3D1"
SERVER = f"postgresql://u:{CANARY}@server:5432/db"
OPTIONS = "[(name, d['HOST'], d['OPTIONS'].get('prepare_threshold', 0), d['OPTIONS'].get('options')) for name, d in "
OPTIONS += "settings.DATABASES.items()], settings.DIRECT"
LIMITED = "-c statement_timeout=10000"


@pytest.mark.parametrize(
    ("command", "databases", "direct"),
    [
        (
            "serve",
            [("default", "pooler", None, None), ("direct", "server", 0, None), ("reads", "pooler", None, None)],
            "direct",
        ),
        ("run_indexer", [("default", "server", 0, None), ("reads", "server", 2, LIMITED)], "default"),
        ("migrate_once", [("default", "server", 0, None), ("reads", "server", 2, LIMITED)], "default"),
    ],
)
def test_requests_alone_go_through_a_pooler(command: str, databases: list[Any], direct: str) -> None:
    """By name: host, prepare_threshold (None: never), options that would be startup parameters."""
    code = f"import sys; sys.argv = ['manage.py', {command!r}]; from aurum import settings; print(({OPTIONS}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "PATH": os.environ["PATH"],
            "AURUM_ENV_FILES": "",
            "DATABASE_URL": POOLER,
            "DATABASE_DIRECT_URL": SERVER,
        },
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == repr((databases, direct))


def test_a_replica_has_connections_of_its_own() -> None:
    done = start(DATABASE | {"DATABASE_REPLICA_URL": "postgresql://u@replica/db"}, OPTIONS)
    assert done.stdout.split("\n")[0] == (
        "[('default', 'localhost', 0, None), "
        f"('reads', 'localhost', 2, '{LIMITED}'), ('replica', 'replica', 2, '{LIMITED}')] default"
    )


@pytest.mark.parametrize("name", ["DATABASE_REPLICA_URL", "DATABASE_DIRECT_URL"])
def test_a_bad_second_database_is_named(name: str) -> None:
    done = start(DATABASE | {name: f"mysql://u:{CANARY}@a/db"})
    assert done.returncode != 0
    assert f"{name} must be a postgresql:// URL" in done.stderr
    assert CANARY not in done.stderr


# --- which environment ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "development"),
        ({"NODE_ENV": "production"}, "production"),
        ({"DJANGO_ENV": "staging"}, "staging"),
        ({"DJANGO_ENV": "staging", "NODE_ENV": "production"}, "staging"),
        ({"DJANGO_ENV": "", "NODE_ENV": "production"}, "production"),
    ],
)
def test_environment_name(
    env: environ.Env, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], name: str
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert environment.environment_name(env) == name


@pytest.mark.parametrize("name", ["prod", "Production", "test"])
def test_an_unknown_environment(env: environ.Env, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("NODE_ENV", name)
    assert "DJANGO_ENV" in refusal(environment.environment_name, env)


# --- secrets ----------------------------------------------------------------------------------------------------------

WEAK = [
    "",
    "short-q7Zt9vXc2LkM",
    "a" * 64,
    "ab" * 32,
    "your-production-jwt-secret-goes-here-1234567890",
    "changeme-q7Zt9vXc2LkM4nBp8sWd6fGh1jRy3eUa",
    "Password-q7Zt9vXc2LkM4nBp8sWd6fGh1jRy3eUa",
]


@pytest.mark.parametrize("where", ["staging", "production"])
@pytest.mark.parametrize("secret", WEAK)
def test_a_weak_secret_is_refused_and_not_repeated(
    env: environ.Env, monkeypatch: pytest.MonkeyPatch, where: str, secret: str
) -> None:
    monkeypatch.setenv("JWT_SECRET", secret)
    message = refusal(environment.jwt_secret, env, where)
    assert message.startswith("JWT_SECRET")
    assert not secret or secret not in message


def test_a_strong_secret_is_taken_as_it_is(env: environ.Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", STRONG)
    assert environment.jwt_secret(env, "production") == STRONG


@pytest.mark.parametrize("secret", ["", "dev", "your-development-jwt-secret"])
def test_development_takes_any_secret_and_signs_with_32_bytes(
    env: environ.Env, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("JWT_SECRET", secret)
    assert len(environment.jwt_secret(env, "development")) >= 32


@pytest.mark.parametrize(
    ("variables", "where", "hosts"),
    [
        ({}, "development", ["*"]),
        ({"ALLOWED_HOSTS": "a.io,b.io"}, "production", ["a.io", "b.io", "localhost", "127.0.0.1", "[::1]"]),
        (
            {"RENDER_EXTERNAL_HOSTNAME": "x.onrender.com"},
            "production",
            ["x.onrender.com", "localhost", "127.0.0.1", "[::1]"],
        ),
    ],
)
def test_allowed_hosts(
    env: environ.Env, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], where: str, hosts: list[str]
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert environment.allowed_hosts(env, where) == hosts


def test_production_must_name_its_hosts(env: environ.Env) -> None:
    assert refusal(environment.allowed_hosts, env, "production").startswith("ALLOWED_HOSTS")


# --- a whole start ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        (DATABASE | {"PORT": "70000"}, "PORT"),
        (DATABASE | {"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        (DATABASE | {"METRICS_ENABLED": "maybe"}, "METRICS_ENABLED"),
        (DATABASE | {"METRICS_PORT": "0"}, "METRICS_PORT"),
        (DATABASE | {"NODE_ENV": "prod"}, "DJANGO_ENV"),
        (DATABASE | {"CHAIN_ID": "0x14a34"}, "CHAIN_ID"),
        (DATABASE | {"INDEXER_BATCH_SIZE": "0"}, "INDEXER_BATCH_SIZE"),
        (DATABASE | {"RATE_LIMIT_MAX": "0"}, "RATE_LIMIT_MAX"),
        (DATABASE | {"RATE_LIMIT_WINDOW": "1m"}, "RATE_LIMIT_WINDOW"),
        (DATABASE | {"TRUSTED_PROXIES": "-1"}, "TRUSTED_PROXIES"),
        (DATABASE | {"REDIS_URL": f"memcached://{CANARY}"}, "REDIS_URL"),
        (DATABASE | {"SIWE_DOMAINS": "https://app.aurumlabs.io"}, "SIWE_DOMAINS"),
        (DATABASE | {"MARKET_FACTORY_ADDRESS": "0x12"}, "MARKET_FACTORY_ADDRESS"),
        (DATABASE | {"RPC_URL": f"wss://node/{CANARY}"}, "RPC_URL"),
        ({"DATABASE_URL": f"mysql://aurum:{CANARY}@localhost/aurum"}, "DATABASE_URL"),
        (PRODUCTION | {"JWT_SECRET": f"{CANARY}"}, "JWT_SECRET"),
        (PRODUCTION | {"DATABASE_URL": ""}, "DATABASE_URL"),
        (PRODUCTION | {"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS"),
    ],
)
def test_a_bad_value_stops_the_start(variables: dict[str, str], named: str) -> None:
    result = start(variables)
    assert result.returncode != 0
    last_line = result.stderr.strip().rpartition("\n")[2]
    assert last_line.startswith(f"django.core.exceptions.ImproperlyConfigured: {named} ")
    assert CANARY not in result.stderr


@pytest.mark.parametrize(
    "variables",
    [
        {"DATABASE_URL": "garbage"},
        {"DATABASE_URL": "postgresql://aurum:pw@localhost:port/aurum"},
        DATABASE | {"JWT_EXPIRES_IN": "999999999w"},
    ],
    ids=["no scheme", "port", "duration"],
)
def test_a_bad_value_that_a_library_notices_is_named_too(variables: dict[str, str]) -> None:
    assert "ImproperlyConfigured" in start(variables).stderr.strip().rpartition("\n")[2]


def test_the_guides_env_file_works_in_development(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(GUIDE)
    variables = {"AURUM_ENV_FILES": str(tmp_path / ".env")}
    names = ("PORT", "CHAIN_ID", "DATABASES['default']['NAME']", "RATE_LIMIT_WINDOW", "RATE_LIMIT_MAX")
    result = start(variables, ", ".join(f"settings.{name}" for name in names))
    assert result.stderr == ""
    assert result.stdout == "3001 84532 aurum_dev 60000 100\n"


def test_the_guides_env_file_works_with_its_addresses_filled_in(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(GUIDE.replace("_ADDRESS=0x...", f"_ADDRESS={ADDRESS}"))
    names = ("ENVIRONMENT", "HOST", "PORT", "DATABASES['default']['PASSWORD']", "RPC_URLS")
    shown = ", ".join(f"settings.{name}" for name in names)
    result = start({"AURUM_ENV_FILES": str(tmp_path / ".env")}, shown)
    assert (
        result.stdout == "development 0.0.0.0 3001 password ['https://sepolia.base.org/…']\n"
    )  # what follows may be a key


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=3001\nCHAIN_ID=1\n")
    variables = DATABASE | {"AURUM_ENV_FILES": str(tmp_path / ".env"), "PORT": "4000"}
    assert start(variables, "settings.PORT, settings.CHAIN_ID").stdout == "4000 1\n"


@pytest.mark.parametrize(
    ("where", "level", "origin"),
    [
        ("development", "debug", "http://localhost:5173"),
        ("staging", "info", "https://staging.aurumlabs.io"),
        ("production", "warn", "https://app.aurumlabs.io"),
    ],
)
def test_defaults_by_environment(where: str, level: str, origin: str) -> None:
    variables = PRODUCTION | {"DJANGO_ENV": "", "NODE_ENV": where}
    shown = "settings.ENVIRONMENT, settings.LOG_LEVEL, *settings.CORS_ALLOWED_ORIGINS"
    assert start(variables, shown).stdout == f"{where} {level} {origin}\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7"])  # noqa: S104
def test_metrics_are_off_and_nobody_elses_even_where_the_server_is(host: str) -> None:
    shown = "settings.HOST, settings.METRICS_ENABLED, settings.METRICS_HOST, settings.METRICS_PORT"
    assert start(PRODUCTION | {"HOST": host}, shown).stdout == f"{host} False 127.0.0.1 9090\n"


def test_production_starts_hardened() -> None:
    names = ("DEBUG", "SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_HSTS_SECONDS")
    result = start(PRODUCTION, ", ".join(f"settings.{name}" for name in names))
    assert result.stdout == "False True True True 31536000\n"


@pytest.mark.parametrize(
    ("variables", "is_asked_for"),
    [
        (DATABASE, False),
        (DATABASE | {"ADMIN_TOTP": "true"}, True),
        (PRODUCTION | {"DJANGO_ENV": "staging"}, True),
        (PRODUCTION, True),
        (PRODUCTION | {"ADMIN_TOTP": "false"}, False),
    ],
)
def test_where_a_second_factor_is_asked_for(variables: dict[str, str], is_asked_for: bool) -> None:
    assert start(variables, "settings.ADMIN_TOTP").stdout == f"{is_asked_for}\n"


# As Django has them, its own defaults included.
COOKIES = """*(
    getattr(__import__("django.conf").conf.settings, f"{kind}_COOKIE_{name}")
    for kind in ("SESSION", "CSRF") for name in ("NAME", "SECURE", "HTTPONLY", "SAMESITE", "PATH", "DOMAIN")
)"""


@pytest.mark.parametrize(
    ("variables", "cookies"),
    [
        (PRODUCTION, "__Host-session True True Lax / None __Host-csrf True True Strict / None"),
        (DATABASE, "sessionid False True Lax / None csrftoken False True Strict / None"),
    ],
    ids=["production", "development"],
)
def test_cookies(variables: dict[str, str], cookies: str) -> None:
    """`__Host-` asks for HTTPS, the path /, and no domain."""
    result = start(variables | {"DJANGO_SETTINGS_MODULE": "aurum.settings"}, COOKIES)
    assert result.stdout == f"{cookies}\n"


def test_the_signing_key_is_not_the_token_secret() -> None:
    shown = "settings.SECRET_KEY != settings.JWT_SECRET, len(settings.SECRET_KEY)"
    assert start(PRODUCTION, shown).stdout == "True 128\n"
