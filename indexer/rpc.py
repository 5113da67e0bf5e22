"""The only module that talks JSON-RPC to nodes. Answers are checked (chain.py); errors never hold an endpoint's URL.

Several endpoints fail over: a call that one cannot answer goes to the next, with growing, jittered pauses.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from web3 import HTTPProvider
from web3.types import RPCEndpoint

from indexer.chain import MAX_BLOCK_NUMBER, Header, Log, MalformedAnswer, quantity

logger = logging.getLogger(__name__)

TIMEOUT = 20.0  # seconds a request may take
ATTEMPTS = 6  # over all endpoints, before the caller hears of it
FIRST_PAUSE = 0.25  # seconds; doubles with each attempt
LONGEST_PAUSE = 8.0
BATCH_SIZE = 100  # calls in one HTTP request; public endpoints refuse more
ADDRESSES_PER_CALL = 500  # in one eth_getLogs


class RpcError(Exception):
    """A node answered with an error, or not at all."""


class RpcRefused(RpcError):
    """The node answered, with a JSON-RPC error: the request itself may be too large for it."""


class RpcUnavailable(RpcError):
    """No endpoint answered, after every attempt."""


@dataclass(slots=True)
class Endpoint:
    """One node. `host` names it in logs; its URL may hold a key and goes nowhere."""

    url: str
    host: str
    provider: HTTPProvider
    failures: int = 0
    last_error: str = ""

    @classmethod
    def at(cls, url: str) -> "Endpoint":
        provider = HTTPProvider(url, request_kwargs={"timeout": TIMEOUT}, exception_retry_configuration=None)
        parts = urlsplit(url)
        return cls(
            url=url, host=f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname), provider=provider
        )

    def redacted(self, text: str) -> str:
        """`text` without this endpoint's URL, path or credentials."""
        parts = urlsplit(self.url)
        for secret in (self.url, parts.path, parts.query, parts.netloc if "@" in parts.netloc else ""):
            if len(secret) > 1:
                text = text.replace(secret, "[redacted]")
        return text[:300]


class Rpc:
    """Typed calls over one or more endpoints. `pause` waits the given seconds; tests pass one that does not."""

    def __init__(self, urls: Sequence[str], *, pause: Callable[[float], object] | None = None) -> None:
        if not urls:
            raise ValueError("RPC_URL is not set")
        self.endpoints = [Endpoint.at(url) for url in urls]
        self._current = 0
        self._pause = pause or threading.Event().wait

    # --- questions -------------------------------------------------------------------------------------------------

    def chain_id(self) -> int:
        return quantity(self._call("eth_chainId", []), "chain id", MAX_BLOCK_NUMBER)

    def head(self) -> Header:
        return Header.from_json(self._call("eth_getBlockByNumber", ["latest", False]))

    def header(self, number: int) -> Header:
        return self.headers([number])[number]

    def headers(self, numbers: Sequence[int]) -> dict[int, Header]:
        """The canonical headers at these heights. Raises MalformedAnswer where the node has none."""
        answers = self._calls([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
        headers = {number: Header.from_json(answer) for number, answer in zip(numbers, answers, strict=True)}
        for number, header in headers.items():
            if header.number != number:
                raise MalformedAnswer(f"asked for block {number}, the node answered with {header.number}")
        return headers

    def tagged_block(self, tag: str) -> int | None:
        """The height of `safe` or `finalized`; None where the node knows no such tag."""
        try:
            return Header.from_json(self._call("eth_getBlockByNumber", [tag, False])).number
        except (RpcRefused, MalformedAnswer):
            return None

    def logs(self, first: int, last: int, addresses: Sequence[str], topics: Sequence[str]) -> list[Log]:
        """Logs of these contracts with one of these first topics, blocks `first` to `last`, both included.

        Raises RpcRefused where the range is more than the node allows.
        """
        logs = []
        for start in range(0, len(addresses), ADDRESSES_PER_CALL):
            query = {
                "fromBlock": hex(first),
                "toBlock": hex(last),
                "address": list(addresses[start : start + ADDRESSES_PER_CALL]),
                "topics": [list(topics)],
            }
            answer = self._call("eth_getLogs", [query])
            if not isinstance(answer, list):
                raise MalformedAnswer(f"expected a list of logs, the node answered {str(answer)[:80]!r}")
            logs += [Log.from_json(item) for item in answer]
        return logs

    def eth_call(self, to: str, data: str, block: str = "latest") -> bytes | None:
        """What a contract answers; None where it reverts."""
        try:
            answer = self._call("eth_call", [{"to": to, "data": data}, block])
        except RpcRefused:
            return None
        return bytes.fromhex(answer[2:]) if isinstance(answer, str) and answer.startswith("0x") else None

    def health(self) -> list[dict[str, Any]]:
        """Each endpoint's host, whether it answers, and its last error."""
        return [
            {"host": endpoint.host, "healthy": endpoint.failures == 0, "last_error": endpoint.last_error}
            for endpoint in self.endpoints
        ]

    # --- transport -------------------------------------------------------------------------------------------------

    def _call(self, method: str, params: list[Any]) -> Any:
        return self._calls([(method, params)])[0]

    def _calls(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        answers: list[Any] = []
        for start in range(0, len(calls), BATCH_SIZE):
            answers += self._attempt(calls[start : start + BATCH_SIZE])
        return answers

    def _attempt(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        refusal: RpcRefused | None = None
        for endpoint, pause in self._attempts():
            try:
                answers = self._ask(endpoint, calls)
            except RpcRefused as error:
                # Deterministic on most nodes: a second opinion from another endpoint is enough.
                if refusal is not None or len(self.endpoints) == 1:
                    raise
                refusal = error
            except RpcError as error:
                endpoint.failures += 1
                endpoint.last_error = str(error)
                logger.warning("RPC endpoint failed: %s", error)
                self._pause(pause)
            else:
                endpoint.failures = 0
                return answers
        raise refusal or RpcUnavailable(
            f"no RPC endpoint answers {calls[0][0]}: {self.endpoints[self._current].last_error}"
        )

    def _attempts(self) -> Iterator[tuple[Endpoint, float]]:
        """Endpoints to try, in turn from the one that last answered, with the pause after a failure."""
        for attempt in range(max(ATTEMPTS, len(self.endpoints))):
            yield self.endpoints[self._current], min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE) * random.uniform(0.5, 1)
            self._current = (self._current + 1) % len(self.endpoints)

    def _ask(self, endpoint: Endpoint, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        try:
            if len(calls) == 1:
                responses = [endpoint.provider.make_request(RPCEndpoint(calls[0][0]), calls[0][1])]
            else:
                batch = [(RPCEndpoint(method), params) for method, params in calls]
                responses = endpoint.provider.make_batch_request(batch)  # type: ignore[assignment]
        except Exception as error:
            # Transport and JSON libraries raise what they like, and put the URL into it.
            raise RpcError(
                f"{endpoint.host}: {calls[0][0]}: {endpoint.redacted(f'{type(error).__name__}: {error}')}"
            ) from None
        if not isinstance(responses, list) or len(responses) != len(calls):
            raise RpcError(f"{endpoint.host}: {calls[0][0]}: the batch was not answered in full")
        return [
            self._result(endpoint, method, response) for (method, _), response in zip(calls, responses, strict=True)
        ]

    def _result(self, endpoint: Endpoint, method: str, response: Any) -> Any:
        if not isinstance(response, dict):
            raise RpcError(f"{endpoint.host}: {method}: the answer is no JSON-RPC object")
        if response.get("error") is not None:
            raise RpcRefused(f"{endpoint.host}: {method}: {endpoint.redacted(str(response['error']))}")
        if "result" not in response:
            raise RpcError(f"{endpoint.host}: {method}: the answer has neither result nor error")
        return response["result"]
