"""The queue in web applications, over real sockets: many chats, clients that leave, a shutdown with work left."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from pathlib import Path

import aiohttp
import fastapi.routing
import pytest
import uvicorn
from aiohttp import web
from fastapi import FastAPI, Request, Response
from prometheus_client.parser import text_string_to_metric_families as parse

from reference_queue import MessageQueue, QueueClosed, QueueFull
from reference_queue.metrics import QueueMetrics

EXAMPLES = Path(__file__).parents[2] / "examples"
CHATS = "abcdefgh"


class Service:
    """A running application with its queue, as a client and a test see it."""

    def __init__(self, url, session):
        self.url = url
        self.session = session
        self.queue = None

    async def send(self, message):
        async with self.session.post(f"{self.url}/chats/{message[0]}", data=message) as answer:
            return answer.status, await answer.text()

    async def page(self):
        async with self.session.get(f"{self.url}/metrics") as answer:
            assert answer.status == 200
            return {
                (sample.name, *(sample.labels[name] for name in ("queue", "outcome") if name in sample.labels)): (
                    sample.value
                )
                for family in parse(await answer.text())
                for sample in family.samples
            }


@contextlib.asynccontextmanager
async def on_aiohttp(handler, **options):
    """An application on aiohttp, whose handlers are cancelled when their client leaves."""
    metrics = QueueMetrics()

    async def queue_of(_app):
        async with MessageQueue(handler, observer=metrics.observer("bot"), **options) as service.queue:
            metrics.add("bot", service.queue)
            yield

    async def receive(request):
        try:
            return web.Response(text=await service.queue.enqueue(request.match_info["chat"], await request.text()))
        except (QueueFull, QueueClosed):
            raise web.HTTPServiceUnavailable from None

    async def show(request):
        body, content_type = metrics.page(request.headers.get("Accept"))
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.cleanup_ctx.append(queue_of)
    app.add_routes([web.post("/chats/{chat}", receive), web.get("/metrics", show)])
    runner = web.AppRunner(app, handler_cancellation=True)
    async with aiohttp.ClientSession() as session:
        service = Service(None, session)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield service
        finally:
            await runner.cleanup()


@contextlib.asynccontextmanager
async def on_fastapi(handler, **options):
    """An application on FastAPI, served by uvicorn."""
    metrics = QueueMetrics()

    @contextlib.asynccontextmanager
    async def lifespan(_app):
        async with MessageQueue(handler, observer=metrics.observer("bot"), **options) as service.queue:
            metrics.add("bot", service.queue)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/chats/{chat}")
    async def receive(chat: str, request: Request):
        try:
            return Response(await service.queue.enqueue(chat, (await request.body()).decode()))
        except (QueueFull, QueueClosed):
            return Response(status_code=503)

    @app.get("/metrics")
    async def show(request: Request):
        body, content_type = metrics.page(request.headers.get("Accept"))
        return Response(body, media_type=content_type)

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on"))
    started = asyncio.Event()
    startup = server.startup

    async def start_and_tell(*arguments, **named):
        await startup(*arguments, **named)
        started.set()

    server.startup = start_and_tell
    async with aiohttp.ClientSession() as session:
        service = Service(None, session)
        serving = asyncio.create_task(server._serve())  # without its signal handlers, which are the test run's
        await started.wait()
        service.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield service
        finally:
            await session.close()  # a connection that is kept alive would be waited for
            server.should_exit = True
            await serving
            # FastAPI (0.165) keeps an entry for each function that ever was an endpoint; a program has one application.
            fastapi.routing._endpoint_context_cache.clear()


@pytest.fixture(params=[on_aiohttp, on_fastapi])
def serve(request):
    return request.param


async def test_chats_are_served_side_by_side_and_each_in_order(serve, script):
    async with serve(script, workers=4) as service:
        messages = [f"{chat}{number}" for number in range(5) for chat in CHATS]
        answers = await asyncio.gather(*map(service.send, messages))
        assert answers == [(200, message.upper()) for message in messages]
        assert script.most_of_a_chat == 1
        page = await service.page()
        assert page["reference_queue_messages_completed_total", "bot"] == len(messages)
        assert page["reference_queue_handling_seconds_count", "bot", "completed"] == len(messages)
        assert page["reference_queue_promises_pending", "bot"] == 0


async def test_a_client_that_leaves_withdraws_what_is_queued_and_lets_finish_what_has_begun(script):
    """With aiohttp's `handler_cancellation`; FastAPI's handlers, and aiohttp's by default, go on to their end."""
    async with on_aiohttp(script, workers=1) as service:
        script.hold("a1")
        clients = [asyncio.create_task(service.send("a1"))]
        await script.begun("a1")
        clients += [asyncio.create_task(service.send(message)) for message in ("a2", "b1")]
        await until(lambda: service.queue.get_memory_stats().total_queued == 2)
        for client in clients[:2]:
            client.cancel()
        await asyncio.wait(clients[:2])
        await until(lambda: service.queue.get_memory_stats().cancelled == 1)
        assert service.queue.get_memory_stats().pending_promises == 1
        script.release("a1")
        assert await clients[2] == (200, "B1")
        assert script.order == ["a1", "b1"]
        page = await service.page()
        assert page["reference_queue_wait_seconds_count", "bot", "cancelled"] == 1
        assert page["reference_queue_handling_seconds_count", "bot", "completed"] == 2


async def test_a_client_that_leaves_fastapi_changes_nothing_for_its_message(script):
    async with on_fastapi(script, workers=1) as service:
        script.hold("a1")
        client = asyncio.create_task(service.send("a1"))
        await script.begun("a1")
        queued = asyncio.create_task(service.send("a2"))
        await until(lambda: service.queue.get_memory_stats().total_queued == 1)
        for each in (client, queued):
            each.cancel()
        await asyncio.wait([client, queued])
        script.release("a1")
        await service.queue.join()
        assert script.order == ["a1", "a2"]
        assert service.queue.get_memory_stats().completed == 2


async def test_a_shutdown_handles_what_was_taken_in_and_leaves_nothing(serve, script):
    async with serve(script, workers=1) as service:
        script.hold("a1")
        queue = service.queue
        clients = [asyncio.create_task(service.send("a1"))]
        await script.begun("a1")
        clients += [asyncio.create_task(service.send(message)) for message in ("a2", "b1")]
        await until(lambda: queue.get_memory_stats().total_queued == 2)
        for client in clients:  # nobody waits any more, or the servers would let them finish first
            client.cancel()
        await asyncio.wait(clients)
        await queue.post("c", "c1")
        # In the midst of the shutdown, as a rule; what is true below is true whenever it comes. No event tells
        # when a server waits: uvicorn lets requests end before it closes the queue, aiohttp does not.
        asyncio.get_running_loop().call_later(0.05, script.release, "a1")
    stats = queue.get_memory_stats()
    assert (stats.total_chats, stats.workers, stats.pending_promises) == (0, 0, 0)
    assert stats.received == stats.completed + stats.cancelled == 4
    assert script.order[-1] == "c1"


async def test_the_example_answers_and_shows_its_figures(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    spec = importlib.util.spec_from_file_location("web_bot", EXAMPLES / "web_bot.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    runner = web.AppRunner(example.application())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            service = Service(f"http://127.0.0.1:{runner.addresses[0][1]}", session)
            assert await service.send("a1") == (200, "A1")
            page = await service.page()
            assert page["reference_queue_messages_completed_total", "bot"] == 1
    finally:
        await runner.cleanup()


async def until(condition):
    """Wait for what comes over a socket, which no event of this process tells."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nothing here could set an event
            await asyncio.sleep(0.001)
