"""PURE. Keeps secrets out of what is written down: those that are configured, and what looks like one.

A secret is hidden wherever it stands, also as URLs, JSON, Python's repr and HTTP's Basic write it. One with fewer than
SHORTEST characters would hide half the words there are: it is hidden where a password stands, as in `password=…`.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

SHOWN = "[redacted]"
SHORTEST = 6
LONGEST = 2**15  # characters of a text that are kept
DEEPEST = 6  # levels of lists and objects that are looked into
# Environment variables that hold a secret, and those whose URL can have one in it.
SECRET_NAME = re.compile(r"(?:SECRET|PASSWORD|TOKEN|KEY|DSN|HEADERS)$")
URL_NAME = re.compile(r"(?:URL|URLS|DSN|ENDPOINT)$")
# A word of a path that is a key: long, or letters and digits mixed.
KEY_WORD = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z]).{8,}|.{20,}")
# Fields whose value is hidden whatever it is.
SECRET_FIELD = re.compile(
    r"(?i)passw|secret|authorization|cookie|private.?key|api.?key|credential|^(?:access|refresh)?.?token$"
)

# What looks like a secret: first the words without which there is none, then what is hidden.
_LOOKS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (("bearer ", "basic "), re.compile(r"(?i)\b(bearer|basic)\s{1,5}[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {SHOWN}"),
    (("eyj",), re.compile(r"\beyJ[A-Za-z0-9_-]{5,400}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), SHOWN),
    (("://",), re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]*@"), f"{SHOWN}@"),
    (
        ("passw", "pwd", "secret", "private", "key", "token", "cookie", "authorization"),
        re.compile(
            r"(?i)((?:passw(?:or)?d|pwd|secret|private[_-]?key|api[_-]?key|access[_-]?key|(?:access|refresh|auth|[?&])[_-]?"
            r"token|set-cookie|cookie|authorization)[\w-]{0,20}(?:\\?[\"'])?\s{0,3}[=:]\s{0,3}(?:\\?[\"'])?)"
            r"(?!\[redacted\]|(?:bearer|basic) \[redacted\])[^\s\"'\\&,;)}\]]+"
        ),
        rf"\1{SHOWN}",
    ),
)
_WORDS = tuple(word for words, _, _ in _LOOKS for word in words)


class Redactor:
    """Replaces secrets in texts. Its repr does not tell them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: tuple[str, ...] = ()
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """Hides these, too, from now on."""
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
        self._secrets = tuple(sorted(forms.union(self._secrets), key=lambda form: (-len(form), form)))

    def suspects(self, text: str) -> bool:
        """Whether there may be something to hide, or to cut: a look that costs less than `text`."""
        if len(text) > LONGEST:
            return True
        for secret in self._secrets:
            if secret in text:
                return True
        lower = text.lower()
        for word in _WORDS:  # noqa: SIM110 (a generator takes twice as long)
            if word in lower:
                return True
        return False

    def text(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, SHOWN)
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]}…"
        lower = text.lower()
        for words, pattern, replacement in _LOOKS:
            if any(word in lower for word in words):
                text = pattern.sub(replacement, text)
        return text

    def value(self, value: Any, depth: int = 0) -> Any:
        """The value as JSON can hold it, without secrets; of what is none of JSON's kinds, its text."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if abs(value) < float("inf") else str(value)
        if isinstance(value, Mapping) and depth < DEEPEST:
            return dict(self._field(key, each, depth + 1) for key, each in value.items())
        if isinstance(value, list | tuple | set | frozenset) and depth < DEEPEST:
            return [self.value(each, depth + 1) for each in value]
        return self.text(_text_of(value))

    def _field(self, key: Any, value: Any, depth: int) -> tuple[str, Any]:
        name = self.text(_text_of(key))
        return name, SHOWN if value and SECRET_FIELD.search(name) else self.value(value, depth)


def secrets_in(environment: Mapping[str, str]) -> Iterator[str]:
    """The secrets that environment variables hold, by their names, and those in their URLs."""
    for name, value in environment.items():
        if SECRET_NAME.search(name):
            yield value
            yield from (part.partition("=")[2] for part in value.split(",") if name.endswith("HEADERS"))
        if URL_NAME.search(name):
            for url in value.split(","):
                yield from secrets_in_url(url.strip())


def secrets_in_url(url: str) -> Iterator[str]:
    """Passwords and keys of a URL: its user where there is no password, words of path and query that look like keys."""
    try:
        parts = urlsplit(url)
    except ValueError:
        yield url
        return
    user, password = parts.username or "", parts.password or ""
    if password:
        yield unquote(password)
        yield b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    elif user and parts.scheme in ("http", "https", "ws", "wss"):
        yield unquote(user)
    if parts.scheme in ("http", "https", "ws", "wss"):
        yield from (unquote(word) for word in parts.path.split("/") if KEY_WORD.fullmatch(word))
        yield from (word for _, word in parse_qsl(parts.query))
    else:
        yield from (word for name, word in parse_qsl(parts.query) if SECRET_FIELD.search(name))


def _forms(secret: str) -> Iterator[str]:
    """How a secret may stand in a text."""
    for form in {secret, secret.strip(), secret.removeprefix("0x") if len(secret) == 66 else secret}:
        yield form
        yield from (quote(form, safe=""), quote(form), quote_plus(form))
        yield from (json.dumps(form)[1:-1], repr(form)[1:-1])
        if re.fullmatch("[0-9a-fA-F]{64}", form):
            yield from (form.lower(), form.upper())


def _text_of(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # a log line is no place to fail at
        return f"<{type(value).__name__}>"
