"""What the OpenAPI document says beside its paths: how the API works in general, its tags, and headers of answers."""

from typing import Any

DESCRIPTION = """
Markets, positions, trades, prices and oracle questions, as the chain has them; public, without a key.

**Amounts** are decimal strings of base units (of the collateral, `collateral.decimals` says how many make one;
outcome tokens have as many). They go up to 2^256-1: read them as big integers. **Prices** are JSON numbers from 0 to
1, collateral for one outcome token, or null where a pool has no liquidity. **Addresses** and 32-byte words are `0x`
and hex, lower case in answers, any case in requests. **Times** are ISO 8601 in UTC, such as `2026-01-31T12:00:00Z`.

**Pages.** Lists answer `{"results": […], "next": …, "previous": …}`. `next` and `previous` are addresses to ask as
they are, or null at an end; rows that arrive meanwhile neither repeat nor hide others. `limit` is 1 to 200, 50 if not
given. A cursor is good for the query that it came from.

**Errors** are `application/problem+json` (RFC 9457) with `status`, `title`, `detail` and `requestId`; what is wrong
with a request stands in `errors`, by the name of the parameter or field. Unknown parameters are errors too. Unknown
paths are 404, methods that a path does not have are 405 with `Allow`, both with such a body.

**Where an answer stands.** `X-Indexed-Block` is the block that an answer is true at, all of it. `ETag` changes with
it: send it back as `If-None-Match`, and hear 304 without a body while nothing has changed. `finality` says how sure a
row's block is: `pending` blocks may still be replaced.

**Limits.** Each answer says in `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (seconds) how many
requests are left, by user or client address. Beyond that it is 429, with `Retry-After` in seconds.

**Signing in** is with Ethereum (EIP-4361): a nonce, a signed message, then `Authorization: Bearer …`. It is needed
for what is a user's own, and never for reading the chain's data.

**News** come over the WebSocket at `/ws`, as they are indexed: [/api/asyncapi](/api/asyncapi) describes it (AsyncAPI
3.0), [/live](/live) shows it at work.
""".strip()

TAGS = [
    {"name": "markets", "description": "Markets, who holds their outcomes, and their trades."},
    {"name": "prices", "description": "Prices now and in the past, and what a trade would give."},
    {"name": "users", "description": "What an address holds and did."},
    {"name": "oracle", "description": "Questions that markets are resolved by: proposals, disputes, votes."},
    {"name": "accounts", "description": "Signing in, and what is a user's own."},
    {"name": "status", "description": "How far the chain is read."},
]


def _header(description: str, kind: str = "string", **schema: Any) -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind, **schema}}


HEADERS = {
    "X-Request-ID": _header("The request's id in our logs: yours, where you sent a plain one."),
    "RateLimit-Limit": _header("Requests that a window allows.", "integer", minimum=1),
    "RateLimit-Remaining": _header("Requests that are left in this window.", "integer", minimum=0),
    "RateLimit-Reset": _header("Seconds until the window ends.", "integer", minimum=1),
    "Retry-After": _header("Seconds to wait before asking again.", "integer", minimum=1),
    "WWW-Authenticate": _header("How to sign in.", examples=['Bearer realm="aurum"']),
    "X-Indexed-Block": _header("The block that the answer is true at.", "integer", minimum=0),
    "ETag": _header("For If-None-Match.", examples=['W/"12345678-ab12cd34ef56ab78-12345646-12345614-7"']),
}
EVERYWHERE = ("X-Request-ID", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
BY_STATUS = {"401": ("WWW-Authenticate",), "429": ("Retry-After",), "503": ("Retry-After",)}
COMPONENTS = {"headers": HEADERS}
