"""What counts as a secret, and that none of its forms is left."""

import json
from base64 import b64encode
from urllib.parse import quote, quote_plus

import pytest

from aurum.redaction import LONGEST, SHOWN, Redactor, secrets_in, secrets_in_url

AWKWARD = 'cänary "p/w\\ +%'
KEY = "0x" + "c4" * 32
ENVIRONMENT = {
    "JWT_SECRET": "canary-jwt-secret",
    "DATABASE_URL": f"postgresql://aurum:{quote(AWKWARD, safe='')}@db1:5432,db2:5432/aurum?sslpassword=canary-ssl",
    "DATABASE_REPLICA_URL": "postgresql://aurum:canary-replica@db3/aurum",
    "REDIS_URL": "redis://:canary-redis@cache:6379/0",
    "RPC_URL": "https://base.example/v2/canaryKey123, https://canary-user@two.example/canaryword456?apikey=canary-query",
    "RPC_WS_URL": "wss://base.example/ws/canaryWs7890",
    "PRIVATE_KEY": KEY,
    "SENTRY_DSN": "https://canarydsn0123456@sentry.example/1",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=canary-otlp",
    "POSTGRES_PASSWORD": "canary-postgres",
    "AURUM_TOKEN_ADDRESS": "0x" + "11" * 20,
    "CORS_ORIGIN": "https://app.example",
    "INDEXER_START_BLOCK": "12345678",
}


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(secrets_in(ENVIRONMENT))


def test_each_secret_of_the_environment_is_known_and_nothing_else(redactor: Redactor) -> None:
    told = " ".join(f"{name} {value}" for name, value in ENVIRONMENT.items())
    hidden = redactor.text(told)
    assert "canary" not in hidden
    assert KEY not in hidden
    for shown in ("aurum", "db1:5432", "cache:6379", "base.example", "two.example", "0x" + "11" * 20, "12345678"):
        assert shown in hidden


@pytest.mark.parametrize(
    "form",
    [
        AWKWARD,
        quote(AWKWARD, safe=""),
        quote(AWKWARD),
        quote_plus(AWKWARD),
        json.dumps({"it": AWKWARD}),
        repr(AWKWARD),
        b64encode(f"aurum:{AWKWARD}".encode()).decode(),
        KEY.upper().replace("0X", ""),
        KEY[2:],
    ],
)
def test_however_it_is_written(redactor: Redactor, form: str) -> None:
    hidden = redactor.text(f"before {form} behind")
    assert (hidden.startswith("before "), hidden.endswith(" behind")) == (True, True)
    assert hidden.count(SHOWN) == 1
    assert "nary" not in hidden
    assert "c4c4" not in hidden.lower()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [redacted]"),
        ("authorization='Basic YTpiYzpkZWZn'", "authorization='Basic [redacted]'"),
        ("password=hunter2 and more", "password=[redacted] and more"),
        ('{"password": "hunter2", "name": "x"}', '{"password": "[redacted]", "name": "x"}'),
        ("{'db_password': 'hunter2'}", "{'db_password': '[redacted]'}"),
        ("/x?api_key=k1&y=2", "/x?api_key=[redacted]&y=2"),
        ("/x?token=t1&y=2", "/x?token=[redacted]&y=2"),
        ("redis://:pw@host:1/0", "redis://[redacted]@host:1/0"),
        ("postgresql://me:pw@host/db", "postgresql://[redacted]@host/db"),
        ("Cookie: __Host-session=abc; a=b", "Cookie: [redacted]; a=b"),
        ("it is eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIweDEifQ.c2ln", "it is [redacted]"),
        ("PRIVATE_KEY=0xabcdef", "PRIVATE_KEY=[redacted]"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_unknown_as_it_is(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown
    assert Redactor().text(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "indexed 1000 blocks to 21500999",
        "AurumToken: collateral token 0x" + "11" * 20 + " of market 0x" + "ab" * 32,
        "GET /api/markets/0x" + "ab" * 32 + " 200",
        "https://host.example:8545/: eth_getLogs: key not found",
        "a basic check, the bearer of it",
        "user@example.org wrote",
        "",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_short_secrets_do_not_hide_words() -> None:
    redactor = Redactor(["aurum", ""])
    assert redactor.text("aurum-backend postgresql://me:aurum@host") == "aurum-backend postgresql://[redacted]@host"


def test_one_may_be_learnt_later_and_the_repr_tells_none() -> None:
    redactor = Redactor(["canary-one"])
    redactor.learn("canary-two")
    assert redactor.text("canary-one canary-two") == f"{SHOWN} {SHOWN}"
    assert "canary" not in repr(redactor)


def test_a_secret_within_another_leaves_no_rest() -> None:
    assert Redactor(["canary", "canary-and-more"]).text("canary-and-more") == SHOWN


def test_values_of_every_kind() -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise ValueError("canary")

    loop: dict[str, object] = {}
    loop["again"] = loop
    value = {
        "list": ["canary-word", 1, 2.5, None, True],
        "canary-word": ("x",),
        "password": "x",
        "token": "y",
        "tokenId": 7,
        "nan": float("nan"),
        "bytes": b"canary-word",
        "odd": Unprintable(),
        "loop": loop,
    }
    clean = Redactor(["canary-word"]).value(value)
    assert "canary" not in json.dumps(clean, allow_nan=False)
    assert clean["list"] == [SHOWN, 1, 2.5, None, True]
    assert clean[SHOWN] == ["x"]
    assert (clean["password"], clean["token"], clean["tokenId"], clean["nan"]) == (SHOWN, SHOWN, 7, "nan")
    assert clean["odd"] == "<Unprintable>"


def test_a_text_without_end_is_cut_behind_its_secrets() -> None:
    text = "x" * (LONGEST - 3) + "canary-secret" + "y" * LONGEST
    assert Redactor(["canary-secret"]).text(text) == "x" * (LONGEST - 3) + "[re…"


def test_a_url_that_is_none_is_hidden_whole() -> None:
    assert list(secrets_in_url("http://[canary")) == ["http://[canary"]
