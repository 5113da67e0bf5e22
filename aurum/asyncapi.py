"""The AsyncAPI 3.0 document of `/ws`, made of the channels (channels.py) and of what is said on them (messages.py).

One connection carries all channels: in the document all have the address `/ws`, and `connection` is what concerns none
of them. Snapshots have the schemas of REST's OpenAPI document.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aurum.channels import CHANNELS
from markets import examples
from markets.messages import (
    ADDRESS,
    BLOCK,
    BYTES32,
    COMMANDS,
    CONNECTION,
    ERROR,
    OWN_ID,
    SEQ,
    MessageType,
    Schema,
    Snapshot,
    described,
)
from markets.protocol import MAX_IDS
from markets.snapshots import Kind

DESCRIPTION = """
Pushes what the indexer has committed, as it commits it. One message is one JSON object in one text frame. All channels
come over one connection: `subscribe` says which.

`seq` rises by exactly one from one message of a channel to the next, across connections, restarts and reorganisations:
a gap is seen, and `since` fills it. More fields may come: ignore those that you don't know.

Operations are the server's: it receives what you send.
""".strip()
PATH = "/ws"
CONNECTION_CHANNEL = "connection"
TOKEN = "accessToken"  # noqa: S105 (a security scheme's name)
# Of the keys that name a channel: its form in answers, and an example.
KEYS: Mapping[str, tuple[Schema, str]] = {
    "marketId": (BYTES32, examples.MARKET_ID),
    "address": (ADDRESS, examples.USER),
    "questionId": (BYTES32, str(examples.MARKET["questionId"])),
}
PLACE: Mapping[str, Schema] = {"blockNumber": BLOCK, "safeBlock": BLOCK, "finalizedBlock": BLOCK}
PLACE_SHOWN = {"blockNumber": 12345678, "safeBlock": 12345646, "finalizedBlock": 12345614}


def document(version: str, schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The document of this version; `schemas` are the components of the OpenAPI document."""
    parts = [*(_part_of(name, kind) for name, kind in CHANNELS.items()), _part_of_connection()]
    messages = {part.full_name(name): _message(each) for part in parts for name, each in part.messages.items()}
    components = {"messages": messages, "schemas": dict(_referred(messages, schemas))}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Aurum WebSocket", "version": version, "description": DESCRIPTION},
        "servers": {
            "ours": {
                "host": "{host}",
                "protocol": "wss",
                "description": "The same as REST's. On a laptop it is `ws`.",
                "variables": {"host": {"default": "127.0.0.1:3001"}},
            }
        },
        "defaultContentType": "application/json",
        "channels": {part.name: part.channel() for part in parts},
        "operations": {name: each for part in parts for name, each in part.described_operations()},
        "components": components | {"securitySchemes": {TOKEN: _token()}},
    }


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What the server does: it sends some of its channel's messages, or receives one that it answers by `replies`."""

    name: str
    messages: Iterable[str]
    replies: Iterable[str] = ()
    needs_token: bool = False


@dataclass(frozen=True, kw_only=True)
class Part:
    """A channel of the document: its messages by the names that they have in it, and what is done with them.

    Of messages, those in `own` are said here alone, others on other channels as well.
    """

    name: str
    summary: str
    messages: Mapping[str, MessageType]
    own: Collection[str]
    operations: Iterable[Operation]

    def full_name(self, message: str) -> str:
        return f"{self.name}.{message}" if message in self.own else message

    def channel(self) -> dict[str, Any]:
        references = {name: {"$ref": f"#/components/messages/{self.full_name(name)}"} for name in self.messages}
        binding = {"ws": {"method": "GET", "bindingVersion": "0.1.0"}}
        return {"address": PATH, "summary": self.summary, "messages": references, "bindings": binding}

    def described_operations(self) -> Iterator[tuple[str, dict[str, Any]]]:
        channel = {"$ref": f"#/channels/{self.name}"}
        for each in self.operations:
            operation: dict[str, Any] = {
                "action": "receive" if each.replies else "send",
                "channel": channel,
                "messages": self._references(each.messages),
            }
            if each.replies:
                operation["reply"] = {"channel": channel, "messages": self._references(each.replies)}
            if each.needs_token:
                operation["security"] = [{"$ref": f"#/components/securitySchemes/{TOKEN}"}]
            yield f"{self.name}.{each.name}", operation

    def _references(self, messages: Iterable[str]) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/{self.name}/messages/{message}"} for message in messages]


# --- the channels -----------------------------------------------------------------------------------------------------


def _part_of(name: str, kind: Kind) -> Part:
    frames, answers = _Frames(name, kind), _Answers(name, kind)
    subscribe, subscribed = frames.subscribe(), answers.subscribed()
    unsubscribe, unsubscribed = frames.unsubscribe(), answers.unsubscribed()
    own = subscribe | subscribed | unsubscribe | unsubscribed | {"resync": answers.resync()}
    pushes = {each.type: each for each in kind.pushes}
    operations = (
        Operation(
            name="subscribe",
            messages=subscribe,
            replies=(*subscribed, "resync", "error"),
            needs_token=kind.is_private,
        ),
        Operation(name="unsubscribe", messages=unsubscribe, replies=(*unsubscribed, "error")),
        Operation(name="push", messages=(*pushes, "resync")),
    )
    messages = own | pushes | {"error": ERROR}
    return Part(name=name, summary=kind.summary, messages=messages, own=own, operations=operations)


def _part_of_connection() -> Part:
    messages = {each.type: each for each in (*CONNECTION, ERROR)}
    operations = [Operation(name="tell", messages=tuple(messages))]
    own: dict[str, MessageType] = {}
    for command in COMMANDS:
        asked, answer = command.frame.type, f"{command.frame.type}.answer"
        own |= {asked: command.frame, answer: command.answer}
        operations.append(
            Operation(name=asked, messages=[asked], replies=[answer, "error"], needs_token=command.needs_token)
        )
    summary = "What concerns the connection, not one of its channels."
    return Part(name=CONNECTION_CHANNEL, summary=summary, messages=messages | own, own=own, operations=operations)


@dataclass(frozen=True, kw_only=True)
class _Way:
    """A way in which frames name channels: by one key, or by several. `suffix` tells messages' names apart."""

    suffix: str = ""
    fields: Mapping[str, Schema]
    shown: Mapping[str, Any]
    resumes_by_key: bool = False


class _Frames:
    """What clients send to a channel."""

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.form = kind.form

    def _ways(self) -> Iterator[_Way]:
        form = self.form
        if not form.key:
            yield _Way(fields={}, shown={}, resumes_by_key=form.resumes_by_key)
            return
        any_case = {"type": "string", "pattern": f"^{form.pattern.pattern}$"}
        _, shown = KEYS[form.key]
        yield _Way(fields={form.key: any_case}, shown={form.key: shown})
        if form.keys:
            several = {"type": "array", "items": any_case, "minItems": 1, "maxItems": MAX_IDS, "uniqueItems": True}
            yield _Way(suffix=".several", fields={form.keys: several}, shown={form.keys: [shown]}, resumes_by_key=True)

    def subscribe(self) -> dict[str, MessageType]:
        return {f"subscribe{way.suffix}": self._subscribe(way) for way in self._ways()}

    def _subscribe(self, way: _Way) -> MessageType:
        since = {**SEQ, "description": "The last `seq` that you have: what came after it comes again."}
        shown: Any = 41
        if way.resumes_by_key:
            since = {"type": "object", "additionalProperties": since, "description": "By market id."}
            shown = {examples.MARKET_ID: shown}
        return self._command("subscribe", "Asks for a channel.", way, {"since": since}, {"since": shown})

    def unsubscribe(self) -> dict[str, MessageType]:
        summary = "Ends a subscription."
        return {f"unsubscribe{way.suffix}": self._command("unsubscribe", summary, way, {}, {}) for way in self._ways()}

    def _command(
        self, command: str, summary: str, way: _Way, more: Mapping[str, Schema], more_shown: Mapping[str, Any]
    ) -> MessageType:
        return MessageType(
            type=command,
            summary=summary,
            fields={"channel": {"const": self.name}, **way.fields, **more, "id": OWN_ID},
            example={"channel": self.name, **way.shown, **more_shown, "id": 7},
            optional=("id", *more, *(way.fields if self.form.is_optional else ())),
        )


class _Answers:
    """What is answered to them."""

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind
        self.form = kind.form
        self.key = "marketId" if kind.is_private else kind.form.key
        schema, shown = KEYS.get(self.key, ({}, ""))
        self.named: dict[str, Schema] = {self.key: schema} if self.key else {}
        self.named_shown = {self.key: shown} if self.key else {}

    def subscribed(self) -> dict[str, MessageType]:
        state = {**self.named, **_state(self.kind.snapshot)}
        shown = {**self.named_shown, "seq": 41, "snapshot": self.kind.snapshot.example}
        listed: dict[str, Schema] = {"subscriptions": {"type": "array", "items": described(state)}}
        if self.kind.is_private:
            return {"subscribed": self._subscribed(listed, {"subscriptions": [shown]})}
        answers = {"subscribed": self._subscribed(state, shown)}
        if self.form.keys:
            answers["subscribed.several"] = self._subscribed(listed, {"subscriptions": [shown]})
        if self.kind.snapshot_of_all is not None:
            of_all = self.kind.snapshot_of_all
            answers["subscribed.all"] = self._subscribed(_state(of_all), {"seq": 41, "snapshot": of_all.example})
        return answers

    def _subscribed(self, state: Mapping[str, Schema], shown: Mapping[str, Any]) -> MessageType:
        return self._answer("subscribed", "From here on messages come.", {**PLACE, **state}, {**PLACE_SHOWN, **shown})

    def unsubscribed(self) -> dict[str, MessageType]:
        summary = "Nothing comes behind this."
        named, shown = ({}, {}) if self.kind.is_private else (self.named, self.named_shown)
        answer = self._answer("unsubscribed", summary, named, shown, named if self.form.is_optional else ())
        answers = {"unsubscribed": answer}
        if self.form.keys:
            [(schema, example)] = [KEYS[self.key]]
            several: dict[str, Schema] = {self.form.keys: {"type": "array", "items": schema}}
            answers["unsubscribed.several"] = self._answer(
                "unsubscribed", summary, several, {self.form.keys: [example]}
            )
        return answers

    def resync(self) -> MessageType:
        summary = "The subscription has ended, as messages of it are lost. Subscribe anew, without `since`."
        optional = ("seq", *(self.named if self.form.is_optional else ()))
        return self._answer("resync", summary, {**self.named, "seq": SEQ}, {**self.named_shown, "seq": 41}, optional)

    def _answer(
        self,
        name: str,
        summary: str,
        fields: Mapping[str, Schema],
        shown: Mapping[str, Any],
        optional: Iterable[str] = (),
    ) -> MessageType:
        return MessageType(
            type=name,
            summary=summary,
            fields={"channel": {"const": self.name}, **fields, "id": OWN_ID},
            example={"channel": self.name, **shown, "id": 7},
            optional=("id", *optional),
        )


def _state(snapshot: Snapshot) -> dict[str, Schema]:
    """`snapshot` is null where the channel was resumed."""
    return {"seq": SEQ, "snapshot": {"oneOf": [snapshot.schema, {"type": "null"}]}}


# --- parts of the document --------------------------------------------------------------------------------------------


def _message(message: MessageType) -> dict[str, Any]:
    return {
        "name": message.type,
        "title": message.type,
        "summary": message.summary,
        "payload": message.schema(),
        "examples": [{"payload": message.shown()}],
    }


def _token() -> dict[str, Any]:
    description = "An access token of /api/auth, sent in an `auth` frame: never in the URL."
    return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description}


def _referred(value: Any, schemas: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schemas that `value` refers to, and those that they refer to."""
    names = sorted(_names(value))
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name not in seen:
            seen.add(name)
            yield name, schemas[name]
            names += sorted(_names(schemas[name]))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        reference = value.get("$ref", "")
        if isinstance(reference, str) and reference.startswith("#/components/schemas/"):
            yield reference.rpartition("/")[2]
        for each in value.values():
            yield from _names(each)
    elif isinstance(value, list):
        for each in value:
            yield from _names(each)
