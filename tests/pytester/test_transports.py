"""Connections, servers and subprocesses: what is still open when its owner has ended, and what is nobody's fault."""

from __future__ import annotations

import re

import pytest

QUIET = "outlived"
"""The word that every report of a leak has, and that a clean run never shows."""

PRELUDE = """\
import asyncio
import os
import socket
import pytest
import pytest_asyncio
import {module}

KEPT = []
MODULE = {module}
run = {module}.run


async def serve(reader, writer):
    await reader.read()
    writer.close()


@pytest.fixture(scope="module")
def peer():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()


@pytest.fixture(autouse=True)
def the_loop_is_meant():
    loop = MODULE.new_event_loop()
    loop.close()
    assert type(loop).__module__.startswith("{module}")


"""

UVLOOP = """
import uvloop


def pytest_asyncio_loop_factories(config, item):
    return {"uvloop": uvloop.new_event_loop}
"""

PEM = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjQUxNzU2dLPIteNs
KNRHmOnFiLThdhDSsmg8xaNT8bahRANCAATBXoZ8gSx1h2XfoHCUZajhXYbO1aWR
aQcl8IDz3QBOAuO6DQC5Ddvl58c2GS42EIhjHTyqjrFYDWqz6pUphbjU
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUSkhf5LdKLtCLh6JZXfZmjGSWCcIwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDE2MjI0NVoYDzIxMjYxMDMx
MTYyMjQ1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATBXoZ8gSx1h2XfoHCUZajhXYbO1aWRaQcl8IDz3QBOAuO6DQC5Ddvl
58c2GS42EIhjHTyqjrFYDWqz6pUphbjUo1MwUTAdBgNVHQ4EFgQUv2HrCSB45nY/
bKgKzmjMuhyAeRcwHwYDVR0jBBgwFoAUv2HrCSB45nY/bKgKzmjMuhyAeRcwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA3B4a2W9p/cVT8NV5IInJ
2dP1sYWNVFarNtDSptP8Tp8CICUveOj0fAAhii5VwGM0cJfegM7crYO8lYK8gfvJ
/x6R
-----END CERTIFICATE-----
"""
"""A key for nothing else, and the certificate that it signed itself."""


@pytest.fixture(params=["asyncio", "uvloop"])
def on(request, project, judged):
    """Run a user's tests on each kind of loop: their final words, and the output as one line with `…` for numbers."""
    prelude = PRELUDE.replace("{module}", request.param)
    if request.param == "uvloop":
        project.write("conftest.py", UVLOOP, prelude="")

    def on(source, *args):
        # What is left there for good, descriptors and processes, must not be left in this process.
        words, text = judged(source, *args, prelude=prelude, apart=True)
        assert "a defect of the plugin" not in text, text
        return words, re.sub(r"(127\.0\.0\.1:|fd |pid )\d+", r"\1…", " ".join(text.split()))

    on.module = request.param
    return on


# -- what is left open


def test_each_kind_left_in_a_function_loop_fails_its_test(on):
    words, text = on(
        """
        async def test_connection(peer):
            KEPT.append(await asyncio.open_connection(*peer))

        async def test_connection_on_a_socket_of_ones_own(peer):
            KEPT.append(await asyncio.open_connection(sock=socket.create_connection(peer)))

        async def test_udp():
            loop = asyncio.get_running_loop()
            KEPT.append(await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)))

        async def test_pipe():
            end, _ = os.pipe()
            KEPT.append(await asyncio.get_running_loop().connect_read_pipe(asyncio.Protocol, open(end, "rb")))

        async def test_server():
            KEPT.append(await asyncio.start_server(serve, "127.0.0.1", 0))

        async def test_server_never_started():
            KEPT.append(await asyncio.start_server(serve, "127.0.0.1", 0, start_serving=False))

        async def test_unix(tmp_path):
            path = os.path.relpath(tmp_path / "s")
            KEPT.append(await asyncio.start_unix_server(serve, path))

        async def test_subprocess():
            KEPT.append(await asyncio.create_subprocess_exec("sleep", "30", stdout=asyncio.subprocess.PIPE))

        async def test_shell():
            KEPT.append(await asyncio.create_subprocess_shell("exec sleep 30"))

        def test_ends_them():
            for process in KEPT[-2:]:
                os.kill(process.pid, 9)
    """.replace("end, KEPT[:] = os.pipe()", "end, _ = os.pipe()")
    )
    assert words.pop("test_ends_them") == "PASSED"
    assert set(words.values()) == {"FAILED"}
    for line in (
        "1 transport outlived `test_connection`: TCP connection to 127.0.0.1:…, still open",
        "1 transport outlived `test_connection_on_a_socket_of_ones_own`: TCP connection to 127.0.0.1:…, still open",
        "1 transport outlived `test_udp`: UDP socket bound to 127.0.0.1:…, still open",
        "1 transport outlived `test_pipe`: pipe, still open",
        "1 server outlived `test_server`: TCP server on 127.0.0.1:…, still serving",
        "1 server outlived `test_server_never_started`: TCP server on 127.0.0.1:…, never started, and not closed",
        "1 server outlived `test_unix`: unix server on ",
        "1 subprocess outlived `test_subprocess`: subprocess `sleep 30`, still running",
        "1 subprocess outlived `test_shell`: subprocess `exec sleep 30`, still running",
    ):
        assert line in text
    assert "TCP connection to 127.0.0.1:…: still open (fd …)" in text
    assert "subprocess `sleep 30`: still running (pid …)" in text


def test_each_kind_closed_properly_is_clean(on):
    words, text = on("""
        async def test_connection(peer):
            reader, writer = await asyncio.open_connection(*peer)
            writer.close()
            await writer.wait_closed()

        async def test_connection_whose_end_is_not_awaited(peer):
            KEPT.append(await asyncio.open_connection(*peer))
            KEPT[-1][1].close()

        async def test_udp():
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
            transport.close()

        async def test_pipe():
            end, other = os.pipe()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(asyncio.Protocol, open(end, "rb"))
            KEPT.append(transport)
            os.close(other)  # and its end comes within the grace

        async def test_server(tmp_path):
            async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
                KEPT.append(server)
                _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.close()

        async def test_server_whose_end_is_not_awaited():
            KEPT.append(await asyncio.start_server(serve, "127.0.0.1", 0))
            KEPT[-1].close()

        async def test_subprocess():
            process = await asyncio.create_subprocess_exec("true")
            assert await process.wait() == 0

        async def test_subprocess_with_pipes():
            process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
            assert await process.communicate(b"x") == (b"x", None)

        async def test_subprocess_killed_and_not_awaited():
            KEPT.append(await asyncio.create_subprocess_exec("sleep", "30"))
            KEPT[-1].kill()
    """)
    assert set(words.values()) == {"PASSED"}
    assert QUIET not in text


def test_what_a_test_leaves_in_a_module_loop_fails_that_test_only(on):
    words, text = on("""
        pytestmark = pytest.mark.asyncio(loop_scope="module")

        async def test_leaves_a_connection(peer):
            KEPT.append(await asyncio.open_connection(*peer))

        async def test_leaves_a_server():
            KEPT.append(await asyncio.start_server(serve, "127.0.0.1", 0))

        async def test_leaves_a_subprocess():
            KEPT.append(await asyncio.create_subprocess_exec("sleep", "30"))

        async def test_comes_after():
            KEPT[0][1].close()
            KEPT[1].close()
            KEPT[2].kill()
            await KEPT[2].wait()
    """)
    assert words == {
        "test_leaves_a_connection": "FAILED",
        "test_leaves_a_server": "FAILED",
        "test_leaves_a_subprocess": "FAILED",
        "test_comes_after": "PASSED",
    }
    assert "1 transport outlived `test_leaves_a_connection`: TCP connection to 127.0.0.1:…, still open" in text
    assert "1 server outlived `test_leaves_a_server`: TCP server on 127.0.0.1:…, still serving" in text
    assert "1 subprocess outlived `test_leaves_a_subprocess`: subprocess `sleep 30`, still running" in text
    assert "3 causes, 1 leaked transport, 1 leaked server and 1 leaked subprocess in 3 tests" in text


def test_what_a_run_in_a_sync_test_leaves_fails_it(on):
    words, text = on("""
        async def leave(peer):
            KEPT.append(await asyncio.open_connection(*peer))

        def test_leaks(peer):
            run(leave(peer))

        async def close(peer):
            _, writer = await asyncio.open_connection(*peer)
            writer.close()

        def test_is_clean(peer):
            run(close(peer))
    """)
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 transport outlived `test_leaks`: TCP connection to 127.0.0.1:…, still open" in text
    assert "in leave" in text


@pytest.mark.parametrize("phase", ["call", "teardown"])
def test_a_loop_closed_by_hand_over_an_open_connection(on, phase):
    words, text = on(
        """
        @pytest.fixture
        def loop():
            loop = MODULE.new_event_loop()
            yield loop
            loop.close()

        def test_leaks(loop, peer):
            KEPT.append(loop.run_until_complete(asyncio.open_connection(*peer)))
            if PHASE == "call":
                loop.close()

        def test_is_clean(loop, peer):
            _, writer = loop.run_until_complete(asyncio.open_connection(*peer))
            writer.close()
            if PHASE == "call":
                loop.close()
        """.replace("PHASE", repr(phase))
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 transport outlived `test_leaks`: TCP connection to 127.0.0.1:…, still open" in text


def test_the_line_is_told_through_a_timeout_and_a_library(on):
    """`wait_for` makes a task of it on 3.11, and anyio connects in a task group of its own."""
    words, text = on("""
        import anyio

        async def test_wait_for(peer):
            KEPT.append(await asyncio.wait_for(asyncio.open_connection(*peer), 5))

        async def connect(peer):
            KEPT.append(await anyio.connect_tcp(*peer))

        async def test_anyio(peer):
            await connect(peer)
    """)
    assert words == {"test_wait_for": "FAILED", "test_anyio": "FAILED"}
    assert "> KEPT.append(await asyncio.wait_for(asyncio.open_connection(*peer), 5))" in text
    assert "> KEPT.append(await anyio.connect_tcp(*peer))" in text
    assert "2 causes, 2 leaked transports in 2 tests" in text


# -- TLS


TLS = """
    import ssl

    @pytest.fixture(scope="module")
    def contexts(tmp_path_factory):
        pem = tmp_path_factory.mktemp("tls") / "both.pem"
        pem.write_text({pem!r})
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(pem)
        asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        asking.check_hostname = False
        asking.verify_mode = ssl.CERT_NONE
        return serving, asking

    @pytest_asyncio.fixture
    async def address(contexts):
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=contexts[0]) as server:
            yield server.sockets[0].getsockname()
            if KEPT:
                KEPT.pop()[1].transport.abort()  # a server waits for its connections from 3.12 on

    @pytest.fixture
    def first_of_all(address):
        pass

    async def test_closed(address, contexts):
        reader, writer = await asyncio.open_connection(*address, ssl=contexts[1])
        writer.close()
        await writer.wait_closed()

    async def test_closed_and_not_awaited(address, contexts):
        reader, writer = await asyncio.open_connection(*address, ssl=contexts[1])
        writer.close()

    LEFT = []

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def listening(contexts):
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=contexts[0])
        yield server.sockets[0].getsockname()
        for writer in LEFT:
            writer.transport.abort()
        server.close()

    @pytest.mark.asyncio(loop_scope="module")
    async def test_left(listening, contexts):
        reader, writer = await asyncio.open_connection(*listening, ssl=contexts[1])
        LEFT.append(writer)

    @pytest.mark.asyncio(loop_scope="module")
    async def test_comes_after(listening):
        await asyncio.sleep(0)
"""


def test_a_connection_under_tls_is_one_connection(on):
    words, text = on(TLS.replace("{pem!r}", repr(PEM)))
    assert words == {
        "test_closed": "PASSED",
        "test_closed_and_not_awaited": "PASSED",
        "test_left": "FAILED",
        "test_comes_after": "PASSED",
    }
    assert "1 transport outlived `test_left`: TCP connection to 127.0.0.1:…, still open" in text
    assert "1 cause, 1 leaked transport in 1 test" in text


def test_a_connection_that_goes_on_under_tls_is_one_connection(on):
    words, text = on(
        TLS.replace("{pem!r}", repr(PEM)).partition("    @pytest_asyncio.fixture")[0]
        + """
    async def serve_tls(sock, context):
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(asyncio.Protocol, sock=sock)
        return await loop.start_tls(transport, protocol, context, server_side=True)

    @pytest.mark.parametrize("leaves", [False, True])
    async def test_upgraded(contexts, leaves):
        left, right = socket.socketpair()
        far = asyncio.create_task(serve_tls(right, contexts[0]))
        reader, writer = await asyncio.open_connection(sock=left)
        await writer.start_tls(contexts[1])
        KEPT[:] = [writer, await far]
        if not leaves:
            KEPT[0].close()
            KEPT[1].close()
    """
    )
    assert words == {"test_upgraded[False]": "PASSED", "test_upgraded[True]": "FAILED"}
    assert "2 transports from 2 causes outlived `test_upgraded[True]`: unix connection, still open" in text


# -- whose it is


def test_a_fixture_that_never_closes_is_named(on):
    words, text = on("""
        @pytest_asyncio.fixture
        async def server():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            yield server
            KEPT.append(server)

        async def test_uses_it(server):
            pass

        @pytest_asyncio.fixture
        async def client(peer):
            KEPT.append(await asyncio.open_connection(*peer))
            return KEPT[-1]

        async def test_asks(client):
            pass

        async def test_does_without():
            pass
    """)
    assert words == {"test_uses_it": "FAILED", "test_asks": "FAILED", "test_does_without": "PASSED"}
    assert "1 server outlived fixture `server`: TCP server on 127.0.0.1:…, still serving" in text
    assert "1 transport outlived fixture `client`: TCP connection to 127.0.0.1:…, still open" in text


def test_a_fixture_closes_what_its_test_opened(on):
    words, text = on("""
        @pytest_asyncio.fixture
        async def clients():
            clients = []
            yield clients
            for _, writer in clients:
                writer.close()

        async def test_opens(clients, peer):
            clients.append(await asyncio.open_connection(*peer))
    """)
    assert words == {"test_opens": "PASSED"}
    assert QUIET not in text


def test_a_sync_fixture_may_close_after_the_loop(on):
    """Its loop is gone by then, and what it closes does not know it; that it tried is what counts."""
    words, text = on("""
        import contextlib

        @pytest.fixture
        def opened():
            opened = []
            yield opened
            for thing in opened:
                with contextlib.suppress(RuntimeError):
                    thing.close()

        async def test_opens_a_connection(opened, peer):
            opened.append((await asyncio.open_connection(*peer))[1])

        async def test_opens_a_server(opened):
            opened.append(await asyncio.start_server(serve, "127.0.0.1", 0))

        @pytest.fixture
        def started():
            started = []
            yield started
            for process in started:
                os.kill(process.pid, 9)

        async def test_starts_a_subprocess(started):
            started.append(await asyncio.create_subprocess_exec("sleep", "30"))
    """)
    assert set(words.values()) == {"PASSED"}
    assert QUIET not in text


def test_a_pool_in_a_module_fixture_adopts_connections_until_its_end(on):
    words, text = on("""
        class Pool:
            def __init__(self, address):
                self.address, self.idle = address, []

            async def ask(self):
                if not self.idle:
                    self.idle.append(await asyncio.open_connection(*self.address))

        @pytest_asyncio.fixture(scope="class", loop_scope="module", params=["closes", "leaks"])
        async def pool(request, peer):
            pool = Pool(peer)
            yield pool
            KEPT.append(pool)
            for _, writer in pool.idle:
                if request.param == "closes":
                    writer.close()

        @pytest.mark.asyncio(loop_scope="module")
        class TestPool:
            async def test_connects(self, pool):
                await pool.ask()

            async def test_asks_again(self, pool):
                await pool.ask()
    """)
    passed = {name: word for name, word in words.items() if word == "PASSED"}
    assert len(words) == 4
    assert len(passed) == 3
    assert words["TestPool::test_asks_again[leaks]"] != "PASSED"
    assert "1 transport outlived fixture `pool` (class scope): TCP connection to 127.0.0.1:…, still open" in text
    assert "1 cause, 1 leaked transport in 1 test" in text


def test_what_a_module_fixtures_server_does_for_a_request_is_not_the_tests(on):
    words, text = on("""
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def proxy(peer):
            upstream = []

            async def forward(reader, writer):
                upstream.append(await asyncio.open_connection(*peer))
                writer.write(b"!")
                await reader.read()
                writer.close()

            server = await asyncio.start_server(forward, "127.0.0.1", 0)
            yield server.sockets[0].getsockname()
            for _, writer in upstream:
                writer.close()
            server.close()

        @pytest.mark.asyncio(loop_scope="module")
        @pytest.mark.parametrize("number", range(3))
        async def test_asks(proxy, number):
            reader, writer = await asyncio.open_connection(*proxy)
            await reader.readexactly(1)
            writer.close()
            await writer.wait_closed()
    """)
    assert set(words.values()) == {"PASSED"}
    assert QUIET not in text


def test_a_session_of_aiohttp(on):
    """Its pool keeps a connection alive; only one that nobody closes is left."""
    words, text = on("""
        import aiohttp
        from aiohttp import web

        async def hello(request):
            return web.Response(text="hello")

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def url():
            app = web.Application()
            app.router.add_get("/", hello)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
            await runner.cleanup()

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def session():
            async with aiohttp.ClientSession() as session:
                yield session

        pytestmark = pytest.mark.asyncio(loop_scope="module")

        async def get(session, url):
            async with session.get(url) as response:
                assert await response.text() == "hello"

        @pytest.mark.parametrize("number", range(2))
        async def test_shares(session, url, number):
            await get(session, url)

        async def test_closes(url):
            async with aiohttp.ClientSession() as session:
                await get(session, url)

        async def test_leaks(url):
            KEPT.append(aiohttp.ClientSession())
            await get(KEPT[0], url)

        async def test_comes_last():
            await KEPT[0].close()
    """)
    assert words.pop("test_leaks") == "FAILED"
    assert set(words.values()) == {"PASSED"}
    assert "1 transport outlived `test_leaks`: TCP connection to 127.0.0.1:…, still open" in text
    assert "in get" in text
    assert "1 cause, 1 leaked transport in 1 test" in text


def test_a_block_is_told_what_it_leaves(on):
    words, text = on("""
        from pytest_taskleak import assert_no_leaks

        async def test_leaks(peer):
            async with assert_no_leaks():
                KEPT.append(await asyncio.open_connection(*peer))

        async def test_closes(peer):
            async with assert_no_leaks():
                KEPT.append(await asyncio.open_connection(*peer))
                KEPT[-1][1].close()

        async def read(peer):
            reader, writer = await asyncio.open_connection(*peer)
            await reader.read()

        async def test_leaks_a_task(peer):
            async with assert_no_leaks():
                KEPT.append(asyncio.create_task(read(peer)))
                await asyncio.sleep(0.05)

        def test_looks_again():
            pass
    """)
    assert words == {
        "test_leaks": "FAILED",
        "test_closes": "PASSED",
        "test_leaks_a_task": "FAILED",
        "test_looks_again": "PASSED",
    }
    assert "1 transport outlived the block `assert_no_leaks` at test_it.py:" in text
    assert "1 task outlived the block `assert_no_leaks` at test_it.py:" in text


# -- told once


def test_a_connection_that_a_leaked_task_works_with_is_told_with_the_task(on):
    words, text = on("""
        class Client:
            async def run(self, peer):
                self.reader, self.writer = await asyncio.open_connection(*peer)
                await self.reader.readline()

        async def test_leaks(peer):
            KEPT.append(asyncio.create_task(Client().run(peer), name="client"))
            await asyncio.sleep(0.05)

        async def serve_on():
            async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
                await server.serve_forever()

        async def test_serves():
            KEPT.append(asyncio.create_task(serve_on(), name="server"))
            await asyncio.sleep(0.05)
    """)
    assert words == {"test_leaks": "FAILED", "test_serves": "FAILED"}
    assert "2 causes, 2 leaked tasks in 2 tests" in text


def test_accepted_connections_are_told_with_their_server(on):
    words, text = on("""
        async def ignore(reader, writer):
            KEPT.append(writer)

        async def test_leaks():
            server = await asyncio.start_server(ignore, "127.0.0.1", 0)
            sock = socket.create_connection(server.sockets[0].getsockname())
            KEPT.extend([server, sock])
            await asyncio.sleep(0.05)
    """)
    assert words == {"test_leaks": "FAILED"}
    assert "1 cause, 1 leaked server in 1 test" in text
    if on.module == "asyncio":
        assert "still serving (fd …, 1 connection open)" in text


# -- nobody's fault


def test_a_connection_is_given_its_turns(on):
    words, text = on("""
        async def test_the_peer_goes_at_the_same_time():
            with socket.create_server(("127.0.0.1", 0)) as listening:
                loop = asyncio.get_running_loop()
                KEPT.append(await loop.create_connection(asyncio.Protocol, *listening.getsockname()))
                listening.accept()[0].close()

        async def test_its_end_is_a_timers_business(peer):
            _, writer = await asyncio.open_connection(*peer)
            asyncio.get_running_loop().call_later(0.02, writer.close)

        async def test_a_subprocess_that_is_about_to_end():
            KEPT.append(await asyncio.create_subprocess_exec("sleep", "0.02"))
    """)
    assert set(words.values()) == {"PASSED"}
    assert QUIET not in text


def test_a_socket_closed_underneath_is_no_open_connection(on):
    words, text = on("""
        async def test_it():
            left, right = socket.socketpair()
            KEPT.append(await asyncio.open_connection(sock=left))
            KEPT[0][1].transport.pause_reading()
            left.close()
            right.close()
    """)
    # uvloop keeps the socket open as long as its transport is.
    assert words == {"test_it": "PASSED" if on.module == "asyncio" else "FAILED"}
    assert (QUIET not in text) == (on.module == "asyncio")


def test_a_bare_transport_is_open_to_nothing(on):
    """No weak reference can be had of one; `asyncio.Transport` itself is what tests put in a transport's place."""
    words, _ = on("""
        async def test_it():
            KEPT.append(asyncio.Transport())
    """)
    assert words == {"test_it": "PASSED"}


def test_a_users_own_transports_are_not_looked_at(on):
    words, text = on("""
        from unittest import mock

        class Memory(asyncio.Transport):
            def is_closing(self):
                raise LookupError("asked")

        class Bare(asyncio.Transport):
            def __init__(self):
                pass

        async def test_it():
            KEPT.extend([Memory(), Memory({"peername": 1}), Bare(), mock.Mock(spec=asyncio.Transport)])
            assert KEPT[1].get_extra_info("peername") == 1
            with pytest.raises(TypeError):
                Memory(1, 2, 3)
    """)
    assert words == {"test_it": "PASSED"}
    assert QUIET not in text


def test_a_connection_that_fails_raises_what_it_ever_raised(on):
    words, text = on("""
        async def test_it():
            with socket.create_server(("127.0.0.1", 0)) as listening:
                address = listening.getsockname()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)
            loop = asyncio.get_running_loop()
            with pytest.raises(TypeError):
                await loop.create_connection()
            with pytest.raises(FileNotFoundError):
                await asyncio.create_subprocess_exec("/no/such/program")

            def refuse():
                raise LookupError("theirs")

            with socket.create_server(("127.0.0.1", 0)) as listening:
                with pytest.raises(LookupError, match="theirs"):
                    await loop.create_connection(refuse, *listening.getsockname())
    """)
    assert words == {"test_it": "PASSED"}
    assert QUIET not in text


# -- before and after


LOOKS = """
    import asyncio.base_events

    async def test_it():
        wrapped = [
            hasattr(it, "taskleak_patch")
            for it in (
                asyncio.BaseTransport.__init__,
                asyncio.base_events.Server.__init__,
                *([uvloop.Loop.create_connection, uvloop.Loop.start_tls] if MODULE is not asyncio else []),
            )
        ]
        assert set(wrapped) == {EXPECTED}
"""


def test_what_is_chosen_is_wrapped(on):
    """The control of the next one, and of those that look whether all is put back."""
    words, _ = on(LOOKS.replace("EXPECTED", "True"))
    assert words == {"test_it": "PASSED"}


def test_nothing_is_wrapped_for_kinds_that_were_not_chosen(on):
    words, _ = on(LOOKS.replace("EXPECTED", "False"), "--taskleak-kinds=tasks,timers")
    assert words == {"test_it": "PASSED"}


@pytest.mark.parametrize("scope", ["function", "module"])
def test_nothing_is_kept_alive_after_the_verdict(on, scope):
    words, text = on(
        f"""
        import gc
        import weakref

        refs = []

        class Client(asyncio.Protocol):
            transport = None

            def connection_made(self, transport):
                self.transport = transport

        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        async def test_leaks(peer):
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.create_connection(Client, *peer)
            transport.pause_reading()  # so that no selector keeps it
            KEPT.append(transport)
            refs.append(weakref.ref(protocol))
            if "{scope}" == "function":
                refs.append(weakref.ref(loop))

        async def test_drops():
            transport = KEPT.pop()
            if "{scope}" == "module":
                transport.close()
                await asyncio.sleep(0.01)

        async def test_looks():
            gc.collect()
            assert [ref() for ref in refs] == [None] * len(refs)
        """,
        "-W",
        "ignore::ResourceWarning",
        "-W",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    )
    assert words == {"test_leaks": "FAILED", "test_drops": "PASSED", "test_looks": "PASSED"}
    assert "1 transport outlived `test_leaks`: TCP connection to 127.0.0.1:…, still open" in text
