"""The live page: its own scripts and styles, and nothing else."""

import re

from django.test import Client


def test_the_page_loads_and_runs_only_what_is_ours(client: Client) -> None:
    page = client.get("/live")
    assert page.status_code == 200
    assert "'unsafe" not in page["Content-Security-Policy"]
    assert not re.search(r"""(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}|style=|\son\w+=""", page.text)
    assert all(not text.strip() for text in re.findall(r"<script[^>]*>(.*?)</script>", page.text, re.S))
    linked = re.findall(r"""(?:src|href)="(/static/[^"]+)\"""", page.text)
    assert len(linked) == 2
    for link in linked:
        assert client.get(link).status_code == 200, link


def test_its_client_is_the_one_that_we_give_away(client: Client) -> None:
    served = client.get("/static/live/aurum-socket.js")
    assert served["Content-Type"].startswith("text/javascript")
    assert b"export class AurumSocket" in served.getvalue()
    assert b'from "./aurum-socket.js"' in client.get("/static/live/live.js").getvalue()
