"""The request that starts a kernel before the other libraries are loaded: what its sender may conclude."""

import contextlib
import json
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.kernel.quick_start import QuickStart

from timeouts import within_timeout

KERNEL_ID = "7e6b4a52-8a0f-4e58-93a2-6f3f8c1b0d5e"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", "a-token")
    for name in ("HTTP_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextlib.contextmanager
def gateway(answer):
    """Run an HTTP server that answers each POST with `answer`; give its URL and the requests."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, dict(self.headers), json.loads(body)))
            answer(self)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/base", requests
        finally:
            server.shutdown()
            thread.join()


def created(handler):
    handler.send_response(201)
    handler.end_headers()
    handler.wfile.write(b'{"id": "it"}')


def cut(handler):
    handler.connection.shutdown(socket.SHUT_RDWR)


async def sent_to(url, **options):
    quick = QuickStart(GatewayConfig(url, **options), "custom", KERNEL_ID, {"KERNEL_MEMORY": "1Gi"})
    quick.start()
    await quick.done()
    return quick


async def test_the_answer_is_there_when_it_is_done():
    with gateway(created) as (url, requests):
        quick = await sent_to(url)
    assert (quick.was_sent, quick.status, quick.body) == (True, 201, b'{"id": "it"}')
    [(path, headers, body)] = requests
    assert path == "/base/api/kernels"
    assert headers["Authorization"] == "token a-token"
    assert body == {"name": "custom", "kernel_id": KERNEL_ID, "env": {"KERNEL_MEMORY": "1Gi"}}


async def test_a_lost_answer_leaves_open_whether_the_kernel_starts():
    with gateway(cut) as (url, requests):
        quick = await sent_to(url)
    assert len(requests) == 1
    assert (quick.was_sent, quick.status) == (True, 0)


async def test_nothing_was_sent_to_a_gateway_that_does_not_listen(unused_tcp_port):
    quick = await sent_to(f"http://127.0.0.1:{unused_tcp_port}")
    assert (quick.was_sent, quick.status) == (False, 0)


async def test_nothing_was_sent_without_the_token(tmp_path):
    with gateway(created) as (url, requests):
        quick = await sent_to(url, token_file=str(tmp_path / "missing"))
    assert not quick.was_sent
    assert not requests


async def test_a_proxy_is_left_to_the_regular_way(monkeypatch, unused_tcp_port):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_tcp_port}")
    with gateway(created) as (url, requests):
        assert not (await sent_to(url)).was_sent
        assert not requests
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert (await sent_to(url)).status == 201


async def test_done_returns_at_once_after_the_end():
    with gateway(created) as (url, _):
        quick = await sent_to(url)
        quick.join()
        await within_timeout(quick.done())
