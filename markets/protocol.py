"""PURE. What clients say on `/ws`: frames -> commands, and every way in which a frame can be wrong."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_IDS = 100  # of one frame
MAX_SEQ = 2**63 - 1
LONGEST_ID = 200  # characters of a client's own `id`

# Each error's `code`, and what it means. docs/sockets.md shows this table, a test compares them.
ERRORS: dict[str, str] = {
    "bad_json": "The frame is not JSON.",
    "bad_frame": "The frame is JSON, but not an object, or a field has a value that it can't have.",
    "binary_frame": "Frames must be text.",
    "unknown_type": "There is no such `type` of frame.",
    "unknown_channel": "There is no such `channel`.",
    "bad_market_id": "`marketId` must be 0x and 64 hexadecimal digits; `marketIds` 1 to 100 of them, each once.",
    "bad_address": "`address` must be 0x and 40 hexadecimal digits.",
    "bad_question_id": "`questionId` must be 0x and 64 hexadecimal digits, or left out.",
    "bad_since": "`since` must be a `seq`; with `marketIds`, and of the watchlist, an object of them by market id.",
    "unknown_market": "There is no such market (yet). With `marketIds`, the error's name those that there are not.",
    "unknown_question": "There is no such question (yet).",
    "not_subscribed": "There is nothing to unsubscribe from.",
    "too_many_subscriptions": "A connection may have 100 subscriptions; the watchlist counts as one.",
    "too_many_commands": "A connection may send 10 frames a second. This one was not looked at.",
    "unauthenticated": "The token is invalid, has expired or was revoked, or there is none. The connection is closed.",
    "unavailable": "The database does not answer. Try again in a moment.",
}


class FrameError(Exception):
    """A frame that can't be served, by its code in ERRORS. `details` are more fields of the answer."""

    def __init__(self, code: str, message: str = "", **details: Any) -> None:
        super().__init__(message or ERRORS[code])
        self.code = code
        self.details = details


@dataclass(frozen=True, kw_only=True)
class Form:
    """How frames name a channel of some kind: by `key`, or several at once by `keys`. Without a key there is one."""

    key: str = ""
    keys: str = ""
    pattern: re.Pattern[str] = field(default=re.compile(""))
    error: str = "bad_frame"
    is_optional: bool = False  # the key may be left out: all of them
    resumes_by_key: bool = False  # `since` is an object, though no key is given


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a frame subscribes to or unsubscribes from: channels of one kind, by their keys ("" is all)."""

    channel: str
    keys: tuple[str, ...]
    is_batch: bool
    since: Mapping[str, int]


def read_frame(text: str | None) -> dict[str, Any]:
    """The frame as an object. Raises FrameError."""
    if text is None:
        raise FrameError("binary_frame")
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise FrameError("bad_json") from None
    if not isinstance(frame, dict):
        raise FrameError("bad_frame", "the frame must be a JSON object")
    return frame


def echoed(frame: Mapping[str, Any]) -> dict[str, Any]:
    """The client's own `id`, for the answer: a text or an integer."""
    own = frame.get("id")
    if isinstance(own, bool) or not isinstance(own, str | int):
        return {}
    return {"id": own} if len(str(own)) <= LONGEST_ID else {}


def read_target(frame: Mapping[str, Any], forms: Mapping[str, Form]) -> Target:
    """The channels that a frame names. Raises FrameError."""
    channel = frame.get("channel")
    if not isinstance(channel, str) or channel not in forms:
        raise FrameError("unknown_channel", f"channel must be one of {', '.join(forms)}")
    form = forms[channel]
    is_batch = bool(form.keys) and form.keys in frame
    keys = _batch(frame, form) if is_batch else (_single(frame, form),)
    return Target(channel=channel, keys=keys, is_batch=is_batch, since=_since(frame, form, keys, is_batch))


def _single(frame: Mapping[str, Any], form: Form) -> str:
    value = frame.get(form.key) if form.key else None
    if value is None and (form.is_optional or not form.key):
        return ""
    if not isinstance(value, str) or not form.pattern.fullmatch(value):
        raise FrameError(form.error)
    return value.lower()


def _batch(frame: Mapping[str, Any], form: Form) -> tuple[str, ...]:
    values = frame[form.keys]
    if form.key in frame or not isinstance(values, list) or not 1 <= len(values) <= MAX_IDS:
        raise FrameError(form.error)
    keys = tuple(_single({form.key: value}, form) for value in values)
    if len(set(keys)) < len(keys):
        raise FrameError(form.error)
    return keys


def _since(frame: Mapping[str, Any], form: Form, keys: tuple[str, ...], is_batch: bool) -> dict[str, int]:
    since = frame.get("since")
    if since is None:
        return {}
    if not (is_batch or form.resumes_by_key):
        since = {keys[0]: since}
    if not isinstance(since, dict):
        raise FrameError("bad_since")
    # JSON's 1e3 is a float, and its true an int of Python's.
    if any(type(seq) is not int or not 0 <= seq <= MAX_SEQ for seq in since.values()):
        raise FrameError("bad_since")
    read = {key.lower(): seq for key, seq in since.items()}
    if is_batch and not read.keys() <= set(keys):
        raise FrameError("bad_since")
    return read
