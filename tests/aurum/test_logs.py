"""Log lines as they are written: their shape, what they never hold, and that nobody can forge one."""

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.test import RequestFactory

from aurum.log_context import log_context
from aurum.logs import JsonFormatter, SafeFormatter, TerminalFormatter, escaped
from aurum.redaction import Redactor
from tests.processes import PROJECT

CANARIES = ("canary-configured-secret", "canary-bearer-token", "canary-password")
SAID = "it is canary-configured-secret, Authorization: Bearer canary-bearer-token, password=canary-password"
LOGGERS = (
    *("", "aurum.traffic", "indexer.runner", "resolver.wallet", "accounts", "urllib3.connectionpool", "web3.providers"),
    *("django", "django.request", "django.security.DisallowedHost", "django.server", "django.db.backends"),
    *("uvicorn", "uvicorn.error", "uvicorn.access", "daphne.server", "asyncio", "psycopg.pool", "py.warnings"),
)
HOSTILE = "a\nb\r\nc\x1b[31mred\x00\x85\u2028\u202ed\x7f\ud800 \u200be\t"
FORMATTERS = {"json": JsonFormatter, "terminal": TerminalFormatter}


@contextmanager
def writing(form: str) -> Iterator[io.StringIO]:
    """What the root's only handler writes, in this format; pytest's own would fail on what does not fit."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(FORMATTERS[form](Redactor(["canary-configured-secret"])))
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, [handler]
    try:
        yield stream
    finally:
        root.handlers = handlers


def formatted(formatter: type[SafeFormatter], message: str, *arguments: Any, **extra: Any) -> str:
    record = logging.makeLogRecord(
        {"name": "markets", "levelname": "INFO", "levelno": 20, "msg": message, "args": arguments, "created": 0.25}
    )
    vars(record).update(extra)
    return formatter(Redactor()).format(record)


# --- shape ------------------------------------------------------------------------------------------------------------


def test_json_has_the_shape_of_the_guide() -> None:
    with log_context(requestId="abc-123"):
        line = formatted(JsonFormatter, "Market %s", "created", marketId="0x1")
    assert json.loads(line) == {
        "level": "info",
        "message": "Market created",
        "marketId": "0x1",
        "timestamp": "1970-01-01T00:00:00.250Z",
        "requestId": "abc-123",
        "logger": "markets",
    }


@pytest.mark.parametrize(("name", "shown"), [("WARNING", "warn"), ("ERROR", "error"), ("CRITICAL", "critical")])
def test_levels_are_called_as_in_log_level(name: str, shown: str) -> None:
    assert json.loads(formatted(JsonFormatter, "", levelname=name))["level"] == shown


def test_a_terminal_shows_the_same_fields_briefly() -> None:
    with log_context(requestId="0123456789abcdef0123456789abcdef", marketId="0x1"):
        line = formatted(TerminalFormatter, "Market created", block=7)
    assert line[2:3] + line[8:] == ": INFO    markets: Market created [requestId=0123456789abcd… marketId=0x1 block=7]"


def test_extra_wins_over_the_context_and_nothing_over_what_every_line_has() -> None:
    with log_context(requestId="a", level="x", logger="y"):
        line = json.loads(formatted(JsonFormatter, "m", requestId="b", timestamp="z"))
    assert (line["requestId"], line["level"], line["logger"]) == ("b", "info", "markets")
    assert line["timestamp"] == "1970-01-01T00:00:00.250Z"


def test_values_of_every_kind_are_json() -> None:
    line = json.loads(formatted(JsonFormatter, "m", n=float("inf"), bytes=b"x", some={1, 2}, deep={"a": [None, 1.5]}))
    assert (line["n"], line["bytes"], line["some"], line["deep"]) == ("inf", "b'x'", [1, 2], {"a": [None, 1.5]})


def test_the_request_that_django_attaches_is_not_shown() -> None:
    request = RequestFactory().get("/path?token=canary")
    for formatter in FORMATTERS.values():
        line = formatted(formatter, "Not Found: %s", request.path, request=request, status_code=404)
        assert "canary" not in line
        assert "Not Found: /path" in line


def test_arguments_that_do_not_fit_are_a_line_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    for formatter in FORMATTERS.values():
        assert "canary" not in formatted(formatter, "%d of %d", "password=canary")
        assert "arguments that do not fit" in formatted(formatter, "%d of %d", "password=canary")
    assert capsys.readouterr() == ("", "")


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATTERS)
@pytest.mark.parametrize("name", LOGGERS)
def test_no_logger_tells_a_secret(form: str, name: str) -> None:
    with writing(form) as stream:
        tell(logging.getLogger(name))
    text = stream.getvalue()
    assert text.count("it failed") == 1
    assert text.count("[redacted]") > 15
    assert "Traceback" in text
    assert [canary for canary in CANARIES if canary in text] == []


def tell(logger: logging.Logger) -> None:
    """Secrets in each part of a record."""
    logger.error(SAID)
    logger.error("%s and %r", SAID, {"password": "canary-password"})
    logger.error("x", extra={"told": SAID, "listed": [{"deep": (SAID,)}], "password": "canary-password"})
    logger.error("no number: %d", SAID)
    logger.error("x", stack_info=True, extra={SAID: 1})
    try:
        try:
            raise KeyError(SAID)
        except KeyError as error:
            error.add_note(SAID)
            raise ConnectionError(SAID) from error
    except ConnectionError:
        logger.exception("it failed")
    with log_context(requestId="r", told=SAID):
        logger.error("x")


def test_the_settings_formatters_know_the_settings_secrets() -> None:
    for name in FORMATTERS:
        redactor = settings.LOGGING["formatters"][name]["redactor"]
        assert redactor.text(f"<{settings.JWT_SECRET}> <{settings.SECRET_KEY}>") == "<[redacted]> <[redacted]>"


# --- forgery ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATTERS)
def test_nothing_from_outside_makes_a_line_of_its_own(form: str) -> None:
    logger = logging.getLogger("aurum.traffic")
    with writing(form) as stream, log_context(requestId=HOSTILE):
        logger.error("GET %s", HOSTILE, extra={"path": HOSTILE, HOSTILE: HOSTILE, "list": [HOSTILE]})
        logger.error(HOSTILE)
    lines = stream.getvalue().removesuffix("\n").split("\n")
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert all(line.encode("utf-8") for line in lines)


@pytest.mark.parametrize("form", FORMATTERS)
def test_nor_does_the_text_of_an_error(form: str) -> None:
    with writing(form) as stream:
        try:
            raise ValueError(f"x\n12:00:00 INFO    aurum: forged\n{HOSTILE}")
        except ValueError:
            logging.getLogger("indexer").exception("failed")
    first, *others = stream.getvalue().removesuffix("\n").split("\n")
    assert "failed" in first
    assert first.isprintable()
    assert all(line.startswith("  | ") and line.isprintable() for line in others)


def test_json_gives_back_what_was_said() -> None:
    assert json.loads(formatted(JsonFormatter, "%s", HOSTILE))["message"] == HOSTILE


def test_people_can_read_other_scripts() -> None:
    assert escaped("Wird es regnen? Ja: 雨 🌧") == "Wird es regnen? Ja: 雨 🌧"


# --- processes --------------------------------------------------------------------------------------------------------


def ran(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program behind Django's set-up, with the settings of production's kind and no database."""
    ours = {"AURUM_ENV_FILES": "", "DATABASE_URL": "postgresql:///unused", "DJANGO_SETTINGS_MODULE": "aurum.settings"}
    return subprocess.run(
        [sys.executable, "-c", f"import django, logging; django.setup()\n{program}"],
        env={"PATH": "", **ours, **environment},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
    )


EVERY_LEVEL = """
import uvicorn
uvicorn.Config("x:y")  # as its own command does, it brings handlers
import logging.config; from django.conf import settings; logging.config.dictConfig(settings.LOGGING)
for name in ("aurum", "indexer.runner", "resolver", "django", "django.server", "django.request", "uvicorn.error",
             "daphne.server", "urllib3", "web3"):
    for level in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger(name), level)("said")
logging.getLogger("uvicorn.access").info("GET /?token=canary")
"""


@pytest.mark.parametrize(("level", "count"), [("error", 10), ("warn", 20), ("info", 30), ("debug", 33)])
def test_log_level_is_everybodys_and_each_line_is_ours(level: str, count: int) -> None:
    done = ran(EVERY_LEVEL, LOG_LEVEL=level, LOG_FORMAT="json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert (len(lines), done.returncode, done.stdout) == (count, 0, "")
    assert {line["message"] for line in lines} == {"said"}


UNCAUGHT = """
import threading; from aurum.logs import log_uncaught; log_uncaught()
def fail(): raise ValueError("password=canary")
thread = threading.Thread(target=fail, name="reader"); thread.start(); thread.join()
import warnings; warnings.warn("password=canary")
fail()
"""


def test_what_nobody_catches_is_a_line_too() -> None:
    done = ran(UNCAUGHT, LOG_FORMAT="json", LOG_LEVEL="info")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["level"], line["logger"]) for line in lines] == [
        ("error", "aurum.uncaught"),
        ("warn", "py.warnings"),
        ("critical", "aurum.uncaught"),
    ]
    assert [line["message"] for line in lines][::2] == ["the thread reader ends", "the process ends"]
    assert lines[2]["traceback"].endswith("ValueError: password=[redacted]")
    assert (done.returncode, "canary" in done.stderr) == (1, False)


@pytest.mark.parametrize(
    ("name", "module", "file"),
    [
        ("SENTRY_DSN", "sentry_sdk", "requirements-sentry.txt"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "opentelemetry", "requirements-otel.txt"),
    ],
)
def test_an_extra_that_is_set_and_not_installed_is_one_clear_line(name: str, module: str, file: str) -> None:
    program = (
        f"import sys; sys.modules['{module}'] = None\nsys.argv = ['manage.py', 'check']\nimport manage; manage.main()"
    )
    environment = {"AURUM_ENV_FILES": "", "DATABASE_URL": "postgresql:///unused", name: "https://canary@x.example/1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=120
    )
    said = re.sub(r"and \S+ is", f"and {module} is", done.stderr)
    assert said == f"{name} is set, and {module} is not installed: pip install -r {file}\n"
    assert (done.returncode, done.stdout) == (1, "")


def test_extras_that_are_not_set_are_not_loaded() -> None:
    done = ran("import sys; print({'sentry_sdk', 'opentelemetry'} & set(sys.modules))", LOG_LEVEL="warn")
    assert (done.stdout, done.stderr) == ("set()\n", "")
