"""The process that wallets are forked from: Django is imported, nothing is connected. It speaks like tests/zygote.py.

`start` forks a wallet that works until nothing is left to do; `fault` says where it dies, or stops.
"""

import gc
import json
import os
import secrets
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import django

from tests.zygote import die_at, exit_code

POINTS = (
    "before sign",
    "after sign",
    "after store",
    "before broadcast",
    "after broadcast",
    "before receipt",
    "after receipt",
)
MOST_STEPS = 40


def main() -> None:
    django.setup()
    from tests.resolver import wallets  # noqa: F401 (imported before the fork)

    gc.freeze()
    children: set[int] = set()
    try:
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "start":
                answer = os.fork() or live(request)
                children.add(answer)
            else:
                answer = exit_code(request["pid"])
                children.discard(request["pid"])
            print(json.dumps(answer), flush=True)
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def live(request: dict[str, Any]) -> NoReturn:
    """The wallet's life, in the forked process."""
    code = 1
    try:
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        work(request)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def work(request: dict[str, Any]) -> None:
    from django.conf import settings
    from django.db import Error, connection

    from resolver.models import OVER, WalletAction
    from tests.resolver.wallets import Clock, build

    settings.DATABASES["default"]["OPTIONS"]["application_name"] = f"wallet {os.getpid()} {secrets.token_hex(3)}"
    fault = Fault(request.get("point", ""), request.get("nth", 1), request.get("signal", signal.SIGKILL))
    if request.get("exchange"):
        die_at(request["exchange"], since=('FROM "wallet_actions"', '"state" ='))
    clock = Clock()
    more = {name: request[name] for name in ("url", "key", "oracle", "lock", "stale")}
    wallet = build(clock=clock, wrap_chain=fault.chain, wrap_signer=fault.signer, kind=fault.wallet(), **more)
    for _ in range(MOST_STEPS):
        try:
            wallet.step()
            if not WalletAction.objects.exclude(state__in=OVER).exists():
                return
        except Error as error:  # it was paused for too long, and its connection was ended
            print("the database:", error)
            connection.close()
        clock.advance()
        wallet._chain.mine()  # type: ignore[attr-defined]


class Fault:
    """Sends itself a signal the n-th time that it comes to a point."""

    def __init__(self, point: str, nth: int, number: int) -> None:
        self._point = point
        self._left = nth
        self._number = number

    def at(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._number)

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.at(f"before {name}")
            answer = call(*arguments, **options)
            self.at(f"after {name}")
            return answer

        return wrapped

    def chain(self, chain: Any) -> Any:
        from indexer.endpoints import Endpoint

        chain.send = self.around("broadcast", chain.send)
        chain.receipt = self.around("receipt", chain.receipt)
        endpoint: Endpoint = chain._pool.endpoints[0]
        chain.mine = lambda: endpoint.ask([("evm_mine", [])])
        return chain

    def signer(self, signer: Any) -> Any:
        signer.sign = self.around("sign", signer.sign)
        return signer

    def wallet(self) -> Any:
        from resolver.wallet import Wallet

        fault = self

        class Faulty(Wallet):
            def _store(self, *arguments: Any) -> None:
                super()._store(*arguments)
                fault.at("after store")

        return Faulty


if __name__ == "__main__":
    main()
