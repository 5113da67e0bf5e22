"""The web server as production runs it, on HOST and PORT; `--with-indexer` runs the indexer beside it."""

import signal
from contextlib import ExitStack
from typing import Any, NoReturn

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from prometheus_client.registry import Collector

from aurum import throttling
from aurum.child import Child
from aurum.front import FrontProtocol
from aurum.garbage import spare_the_collector
from aurum.metrics import WEB, ChildCollector, count_queries, exporting
from aurum.ports import free_or_exit, free_port
from aurum.server import Server
from aurum.socket_protocol import SocketProtocol
from aurum.web_metrics import DjangoCollector, PoolCollector, SocketCollector, django_pool

MAX_FRAME = 16 * 1024  # bytes of a WebSocket message
# When Python looks for cycles. Each closed connection is one of 20 kB, which is found only among the old.
LOOKS = (5_000, 5, 2)
GRACE = 10  # seconds for requests in flight after SIGTERM


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--with-indexer", action="store_true", help="also run the indexer, for a small deployment")

    def handle(self, *, with_indexer: bool, **options: Any) -> None:
        free_or_exit(settings.HOST, settings.PORT, "PORT")
        throttling.announce()
        # uvicorn takes these while it runs, and raises them again when it has stopped. They end us at every moment, but
        # not before the indexer is stopped.
        handle_signals(end)
        # The indexer's metrics are shown with ours, on the one port.
        indexers_port = free_port()
        indexer = Child("run_indexer", METRICS_HOST="127.0.0.1", METRICS_PORT=str(indexers_port))
        child = [ChildCollector(indexers_port)] if with_indexer else []
        try:
            if with_indexer:
                indexer.start()
            with ExitStack() as stack:
                if settings.METRICS_ENABLED:
                    count_queries()
                    collectors = (WEB, *child, *of_the_application())
                    stack.enter_context(exporting(*collectors, host=settings.METRICS_HOST, port=settings.METRICS_PORT))
                serve()
        finally:
            handle_signals(lambda *_: None)  # the indexer is being ended
            indexer.stop()


def of_the_application() -> list[Collector]:
    """What there is to say of the sockets, the pools, and the pages that Django makes."""
    from aurum import asgi

    pools = PoolCollector(lambda: {**django_pool(), **asgi.direct_reads.statistics()})
    return [DjangoCollector(), SocketCollector(asgi.hub), pools]


def serve() -> None:
    """Until a signal ends it."""
    from aurum import asgi  # which opens what the indexer's process must not inherit

    config = uvicorn.Config(
        asgi.application,
        http=type("Protocol", (FrontProtocol,), {"cache": asgi.answers, "tally": asgi.tally}),
        host=settings.HOST,
        port=settings.PORT,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws=SocketProtocol,
        ws_max_size=MAX_FRAME,
        # Doubles CPU and memory of a connection.
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE,
        backlog=4096,
    )
    spare_the_collector(*LOOKS)
    Server(config, asgi.hub).run()


def handle_signals(handler: Any) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def end(*_: Any) -> NoReturn:
    raise SystemExit(0)
