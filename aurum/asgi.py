"""The ASGI application: HTTP to kept answers and Django, WebSockets to the hub's consumers."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aurum.settings")

from django.core.wsgi import get_wsgi_application

django_application = get_wsgi_application()  # sets Django up: what follows imports models

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import WebsocketDenier  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import path, re_path  # noqa: E402

import aurum.urls  # noqa: E402, F401 (the first request is not to wait for it)
from accounts.channel import authenticate  # noqa: E402
from aurum.answer_cache import AnswerCache  # noqa: E402
from aurum.channels import CHANNELS  # noqa: E402
from aurum.connections import ConnectionLimit  # noqa: E402
from aurum.database import connect_async, open_read_pool  # noqa: E402
from aurum.front import Front  # noqa: E402
from aurum.origins import OriginCheck  # noqa: E402
from aurum.request_id import SocketRequestId  # noqa: E402
from aurum.tally import Tally  # noqa: E402
from aurum.wsgi_bridge import WsgiBridge  # noqa: E402
from indexer.status import FEED_POSITION  # noqa: E402
from markets.consumers import FeedConsumer  # noqa: E402
from markets.direct_reads import DirectReads  # noqa: E402
from markets.hub import Hub  # noqa: E402
from markets.pages import ETAG_NOW, SERVERS, sources  # noqa: E402
from markets.wakeups import by_notify, by_redis  # noqa: E402

wakers = [by_notify(connect_async), *([by_redis(settings.REDIS_URL)] if settings.REDIS_URL else [])]
hub = Hub(connect_async, FEED_POSITION, wakers)
answers = AnswerCache(connect_async, ETAG_NOW, sources.hear)
direct_reads = DirectReads(lambda server: open_read_pool(SERVERS[server]), sources)
tally = Tally()

application = ProtocolTypeRouter(
    {
        "http": Front(answers, direct_reads, WsgiBridge(django_application), tally),
        "websocket": SocketRequestId(
            OriginCheck(
                ConnectionLimit(
                    URLRouter(
                        [
                            path("ws", FeedConsumer.as_asgi(hub=hub, kinds=CHANNELS, authenticate=authenticate)),
                            re_path("", WebsocketDenier.as_asgi()),
                        ]
                    )
                )
            )
        ),
    }
)
