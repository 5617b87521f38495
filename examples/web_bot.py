"""The bot behind HTTP: each chat's messages in order, many chats side by side, and a page for Prometheus.

Run it with `python -m aiohttp.web -P 8080 web_bot:application`, then
`curl -d hello localhost:8080/chats/1` and `curl localhost:8080/metrics`.
"""

from aiohttp import web
from bot import answer

from reference_queue import MessageQueue, QueueClosed, QueueFull
from reference_queue.metrics import QueueMetrics

QUEUE = web.AppKey("QUEUE", MessageQueue)
METRICS = web.AppKey("METRICS", QueueMetrics)


async def queue_of(app):
    metrics = app[METRICS] = QueueMetrics()
    async with MessageQueue(answer, max_queued=1_000, policy="reject", observer=metrics.observer("bot")) as queue:
        app[QUEUE] = metrics.add("bot", queue)
        yield  # on leaving, every message that was taken in is handled first


async def receive(request):
    try:
        text = await request.app[QUEUE].enqueue(request.match_info["chat"], await request.text(), deadline=30)
    except (QueueFull, QueueClosed):
        raise web.HTTPServiceUnavailable(headers={"Retry-After": "1"}) from None
    except TimeoutError:
        raise web.HTTPGatewayTimeout from None
    return web.Response(text=text)


async def show_metrics(request):
    body, content_type = request.app[METRICS].page(request.headers.get("Accept"))
    return web.Response(body=body, headers={"Content-Type": content_type})


def application(_arguments=()):
    app = web.Application()
    app.cleanup_ctx.append(queue_of)
    app.add_routes([web.post("/chats/{chat}", receive), web.get("/metrics", show_metrics)])
    return app
