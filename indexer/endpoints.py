"""HTTP to the nodes: one endpoint's JSON-RPC, what is learnt of it, and the pool that chooses among several.

No message, log line or attribute that leaves this module holds an endpoint's URL, path or key: only its host.
"""

import json
import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from random import Random
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
import requests
from urllib3.exceptions import NewConnectionError

from indexer.chain import InconsistentAnswer, MalformedAnswer
from indexer.limits import Limit

logger = logging.getLogger(__name__)
logging.getLogger("urllib3").setLevel(logging.INFO)  # its debug lines hold the URL's path

Call = tuple[str, list[Any]]  # method and parameters
T = TypeVar("T")

CONNECT_TIMEOUT = 5.0  # seconds
TIMEOUT = 20.0  # seconds a request may take, the whole of its answer included
LARGEST_BODY = 32 * 2**20  # bytes; as Python objects it takes ten times as much
CHUNK = 2**18  # bytes that are read at once
BATCH_SIZE = 100  # calls in one HTTP request; public endpoints refuse more
ADDRESSES_PER_CALL = 500  # in one eth_getLogs
ROUNDS = 6  # over all endpoints, before the caller hears of it
PATIENCE = 45.0  # seconds after which a call starts no further round
FIRST_PAUSE = 0.25  # seconds; doubles with each failure
LONGEST_PAUSE = 8.0  # seconds between two rounds of one call
LONGEST_REST = 60.0  # seconds that a failing endpoint is passed over; its next call shows whether it is back
FIRST_QUARANTINE = 30.0  # seconds; doubles with each lie
LONGEST_QUARANTINE = 3600.0
BUSY = re.compile(r"rate.?limit|too many requests|throttl|compute units|per second|over capacity|quota", re.I)


class RpcError(Exception):
    """A node answered with an error, or not at all."""


class RpcRefused(RpcError):
    """The node answered, with an error: the request itself may be too large for it.

    `said` are the node's own words, redacted, without the host's name; `code` is JSON-RPC's.
    """

    def __init__(self, message: str, *, said: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.said = said
        self.code = code


class RpcStruggled(RpcError):
    """No whole answer in time: the node is broken, or was asked for too much."""


class RpcBusy(RpcError):
    """The node wants to be left alone, for `seconds` where it says how long."""

    def __init__(self, message: str, *, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class RpcUnavailable(RpcError):
    """No endpoint answered, after every attempt."""


class BatchRefused(RpcRefused):
    """The node answered a whole batch with one error: it may allow fewer calls in one request, or none."""


NULL = b"null"  # a result that is there and says nothing


class _Answer(msgspec.Struct):
    """One item of a JSON-RPC answer. The result stays as it came: whoever asked knows its form."""

    id: Any = None
    result: msgspec.Raw = msgspec.Raw()
    error: Any = None


_ANSWERS = msgspec.json.Decoder(_Answer | list[_Answer])


class Endpoint:
    """One node. `host` names it; its URL may hold a key and goes nowhere.

    `observe` is told of each request: host, first method, outcome (`ok` or an exception's name), seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float],
        random: Random,
        timeout: float,
        observe: Callable[[str, str, str, float], object],
    ) -> None:
        parts = urlsplit(url)
        self.host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
        self.failures = 0  # in a row
        self.lies = 0  # ever
        self.last_error = ""
        self.latency = 0.0  # seconds an answer takes, the late ones weighing most
        self.resting_until = 0.0
        self.busy_until = 0.0
        self.quarantined_until = 0.0
        self.batch = Limit(BATCH_SIZE)  # calls
        self.addresses = Limit(ADDRESSES_PER_CALL)
        self._url = url
        self._secrets = _secrets(url)
        self._keys = _tell_tales(self._secrets)
        self._clock = clock
        self._random = random
        self._timeout = timeout
        self._observe = observe
        self._session = requests.Session()
        self._asking = threading.Lock()  # one request at a time: a batch is read ahead while the head is looked at
        self._ids = count(1)

    # --- asking ----------------------------------------------------------------------------------------------------

    def ask(self, calls: Sequence[Call]) -> list[bytes]:
        """Each call's result as JSON, in order. Raises RpcError or a subclass, the first error of a batch."""
        with self._asking:
            try:
                return self._ask(calls)
            except RpcError as failure:
                error = failure
        # Raised anew here: the frames below, and what was caught there, hold the URL and what the node said.
        error.__context__ = None
        try:
            raise error.with_traceback(None)
        finally:
            del error  # it refers to this frame

    def _ask(self, calls: Sequence[Call]) -> list[bytes]:
        answers: list[bytes] = []
        while len(answers) < len(calls):
            some = calls[len(answers) : len(answers) + self.batch.value]
            try:
                answers += self._observed(some)
            except BatchRefused:
                if len(some) == 1:
                    raise
                self.batch.refused(len(some))
            except RpcStruggled:
                if len(some) > 10:  # fewer are no reason to struggle: one of them is
                    self.batch.refused(len(some))
                raise
            else:
                self.batch.allowed(len(some))
        return answers

    def _observed(self, calls: Sequence[Call]) -> list[bytes]:
        started, outcome = self._clock(), "ok"
        try:
            answers = self._results(calls, self._post(calls, first_id := next(self._ids) * 1000), first_id)
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            seconds = self._clock() - started
            self._observe(self.host, calls[0][0], outcome, seconds)
        self.latency = seconds if self.latency == 0 else 0.8 * self.latency + 0.2 * seconds
        return answers

    def _post(self, calls: Sequence[Call], first_id: int) -> _Answer | list[_Answer]:
        asked = [
            {"jsonrpc": "2.0", "id": first_id + place, "method": method, "params": params}
            for place, (method, params) in enumerate(calls)
        ]
        try:
            status, retry_after, body = self._send(json.dumps(asked if len(asked) > 1 else asked[0]).encode())
        except (requests.ConnectTimeout, requests.exceptions.SSLError) as error:
            raise RpcError(self._message(calls, type(error).__name__)) from None
        except (requests.Timeout, requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            raise RpcStruggled(self._message(calls, "the answer was late or cut")) from None
        except (requests.RequestException, OSError, ValueError) as error:
            # Their texts hold the URL.
            raise RpcError(self._message(calls, f"no connection ({_behind(error)})")) from None
        if status == 429 or (status == 503 and retry_after is not None):
            raise RpcBusy(self._message(calls, f"HTTP {status}"), seconds=retry_after)
        if status >= 500:
            raise RpcStruggled(self._message(calls, f"HTTP {status}"))
        if status == 413 or body is None:
            raise RpcRefused(self._message(calls, "the request or its answer is too large"))
        try:
            return _ANSWERS.decode(body)
        except msgspec.ValidationError:
            raise RpcError(self._message(calls, "the answer is no JSON-RPC object")) from None
        except (msgspec.DecodeError, RecursionError):
            kind = RpcStruggled if status == 200 else RpcError
            raise kind(self._message(calls, f"HTTP {status}, and the body is no JSON")) from None

    def _send(self, body: bytes) -> tuple[int, float | None, bytearray | None]:
        """Status, seconds of Retry-After, and the body: None where it is above LARGEST_BODY."""
        deadline = self._clock() + self._timeout
        with self._session.post(
            self._url,
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=(min(CONNECT_TIMEOUT, self._timeout), self._timeout),
            stream=True,
            allow_redirects=False,  # another host must not get the key
        ) as response:
            received = bytearray()
            for chunk in response.iter_content(CHUNK):
                received += chunk
                if len(received) > LARGEST_BODY:
                    return response.status_code, None, None
                if self._clock() > deadline:
                    raise requests.Timeout
            return response.status_code, _seconds(response.headers.get("Retry-After")), received

    def _results(self, calls: Sequence[Call], answer: _Answer | list[_Answer], first_id: int) -> list[bytes]:
        """The answer's results in the order of the calls, each of which must be answered exactly once."""
        if isinstance(answer, _Answer):
            if len(calls) > 1 and answer.error is not None:
                raise self._refusal(calls, answer.error, BatchRefused)
            answer = [answer]
        if len(calls) == 1 and len(answer) == 1 and answer[0].id is None and answer[0].error is not None:
            raise self._refusal(calls, answer[0].error)
        ids = [item.id for item in answer]
        expected = range(first_id, first_id + len(calls))
        if not all(type(number) is int for number in ids) or sorted(ids) != list(expected):
            raise RpcError(self._message(calls, f"{len(calls)} calls, and {len(ids)} answers that are not theirs"))
        by_id = dict(zip(ids, answer, strict=True))
        return [self._result(call, by_id[number]) for call, number in zip(calls, expected, strict=True)]

    def _result(self, call: Call, item: _Answer) -> bytes:
        if item.error is not None:
            raise self._refusal([call], item.error)
        if not item.result:
            raise RpcError(self._message([call], "the answer has neither result nor error"))
        result = bytes(item.result)
        if any(key in result for key in self._keys):
            raise RpcError(self._message([call], "the answer repeats a part of the URL"))
        return result

    def _refusal(self, calls: Sequence[Call], error: Any, kind: type[RpcRefused] = RpcRefused) -> RpcError:
        parts = error if isinstance(error, dict) else {"message": error}
        code = parts.get("code") if type(parts.get("code")) is int else None
        text = " ".join(str(parts[name]) for name in ("message", "data") if parts.get(name) is not None)
        said = self._redacted(text)
        message = self._message(calls, said if code is None else f"{said} (code {code})")
        return RpcBusy(message) if code == 429 or BUSY.search(text) else kind(message, said=said, code=code)

    def _message(self, calls: Sequence[Call], text: str) -> str:
        return f"{self.host}: {calls[0][0]}: {self._redacted(text)}"

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text[:300]

    # --- what is thought of it -------------------------------------------------------------------------------------

    def answered(self) -> None:
        self.failures, self.resting_until, self.busy_until = 0, 0.0, 0.0

    def failed(self, error: Exception) -> None:
        """Passes it over for a while, longer with each failure in a row."""
        self.failures += 1
        self.last_error = str(error)
        now = self._clock()
        pause = min(FIRST_PAUSE * 2 ** min(self.failures - 1, 20), LONGEST_REST)
        self.resting_until = now + pause * self._random.uniform(0.5, 1)
        if isinstance(error, RpcBusy) and error.seconds:
            self.busy_until = now + min(error.seconds, LONGEST_REST)
        logger.warning("RPC endpoint failed: %s", error)

    def rest(self, seconds: float, why: str) -> None:
        """Prefers others for `seconds`, without a fault of its own."""
        self.last_error = f"{self.host}: {why}"
        self.resting_until = self._clock() + seconds

    def quarantine(self, error: Exception) -> None:
        """Passes it over for longer with each time that another endpoint proved it wrong."""
        seconds = min(FIRST_QUARANTINE * 2 ** min(self.lies, 20), LONGEST_QUARANTINE)
        self.lies += 1
        self.last_error = f"{self.host}: {error}"
        self.quarantined_until = self._clock() + seconds
        logger.error("RPC endpoint quarantined for %.0f s, another proved it wrong: %s", seconds, self.last_error)

    @property
    def is_quarantined(self) -> bool:
        return self._clock() < self.quarantined_until

    def preference(self) -> tuple[bool, bool, float]:
        """Sorts endpoints: usable ones in their order, then those that rest by the end of it, then the quarantined."""
        now = self._clock()
        resting = max(self.resting_until, self.busy_until)
        return self.is_quarantined, now < resting, resting if now < resting else 0.0

    def health(self) -> dict[str, Any]:
        """For people: `quarantined_until` is an ISO time or None, `quarantines` how many there were since the process
        started, `latency_ms` milliseconds."""
        left = self.quarantined_until - self._clock()
        until = datetime.now(tz=UTC) + timedelta(seconds=left)
        return {
            "host": self.host,
            "healthy": self.failures == 0 and left <= 0,
            "quarantined_until": until.strftime("%Y-%m-%dT%H:%M:%SZ") if left > 0 else None,
            "quarantines": self.lies,
            "failures": self.failures,
            "last_error": self.last_error,
            "latency_ms": round(self.latency * 1000),
        }


class Pool:
    """Endpoints in order of preference. `pause` waits the given seconds; `clock` counts them."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        pause: Callable[[float], object] | None = None,
        clock: Callable[[], float] = monotonic,
        random: Random | None = None,
        timeout: float = TIMEOUT,
        observe: Callable[[str, str, str, float], object] = lambda host, method, outcome, seconds: None,
    ) -> None:
        if not urls:
            raise ValueError("RPC_URL is not set")
        self.random = random or Random()
        self.clock = clock
        self.pause = pause or threading.Event().wait
        self.endpoints = [
            Endpoint(url, clock=clock, random=self.random, timeout=timeout, observe=observe) for url in urls
        ]

    def attempt(self, work: Callable[[Endpoint], T], *, opinions: int = ROUNDS) -> T:
        """What `work` returns for the first endpoint with which it succeeds.

        Raises RpcRefused where one refused `opinions` times and no other did better meanwhile; after ROUNDS rounds or
        PATIENCE seconds what the last one's work raised, MalformedAnswer or InconsistentAnswer, else RpcUnavailable.
        """
        error: Exception | None = None
        refusal: Exception | None = None
        refusals: Counter[int] = Counter()
        for endpoints in self._rounds():
            for endpoint in endpoints:
                self._respect(endpoint)
                try:
                    result = work(endpoint)
                except (RpcError, MalformedAnswer, InconsistentAnswer) as failure:
                    error = failure
                    endpoint.failed(failure)
                    refusals[id(endpoint)] += isinstance(failure, RpcRefused)
                    refusal = failure if refusals[id(endpoint)] >= opinions else refusal
                else:
                    endpoint.answered()
                    return result
            if refusal is not None:
                raise refusal
        if isinstance(error, RpcError) or error is None:
            raise RpcUnavailable(f"no RPC endpoint answers: {error}")
        raise error

    def others(self, endpoint: Endpoint) -> list[Endpoint]:
        """The rest, the preferred ones first."""
        return sorted((other for other in self.endpoints if other is not endpoint), key=Endpoint.preference)

    def wait_before(self, round_: int) -> None:
        """The pause before a round of attempts, of which 0 is the first: longer each time."""
        if round_:
            self.pause(min(FIRST_PAUSE * 2 ** (round_ - 1), LONGEST_PAUSE) * self.random.uniform(0.5, 1))

    def _rounds(self) -> Iterator[list[Endpoint]]:
        """All endpoints, ever again, with growing pauses between."""
        deadline = self.clock() + PATIENCE
        for number in range(ROUNDS):
            self.wait_before(number)
            if number and self.clock() > deadline:
                return
            yield sorted(self.endpoints, key=Endpoint.preference)

    def _respect(self, endpoint: Endpoint) -> None:
        """Waits out what a node that is the best there is asked for, within reason."""
        wait = endpoint.busy_until - self.clock()
        if wait > 0:
            self.pause(min(wait, LONGEST_PAUSE))


def _behind(error: Exception) -> str:
    """The class of what no connection came about for: an unknown name, a refusal. Its text may hold the URL."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    refused = type(reason) is NewConnectionError and reason.__cause__
    return type(refused or reason or error).__name__


def _secrets(url: str) -> list[str]:
    """What of a URL must not be seen, the longest first: all but scheme, host, port and short words of the path."""
    parts = urlsplit(url)
    words = [parts.path, parts.query, parts.netloc if "@" in parts.netloc else ""]
    words += [parts.username or "", parts.password or "", *(value for _, value in parse_qsl(parts.query))]
    words += [word for word in parts.path.split("/") if len(word) >= 6]
    found = {word for word in words if len(word) > 2}
    return sorted(found | {url} if found else found, key=len, reverse=True)


def _tell_tales(secrets: Sequence[str]) -> list[bytes]:
    """What no honest answer has in it: secrets that are long, and longer where they could be hexadecimal digits.

    Of one that is a part of another the part alone: each answer is searched for all of them.
    """
    unlikely = [secret for secret in secrets if len(secret) >= (20 if re.fullmatch("[0-9a-fA-F]*", secret) else 8)]
    return [own.encode() for own in unlikely if not any(other != own and other in own for other in unlikely)]


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After, in seconds or as a date; None where it says nothing that can be read."""
    if retry_after is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", retry_after.strip()):
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(tz=UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
