"""The little that strangers can do at the ports of the gateway, without the token."""

import asyncio
import contextlib
import io
import json
import socket

import aiohttp
import pytest

from api.running import TOKEN, running_gateway
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.http import crowd
from gateway_provisioners.gateway.http.door import MAX_BODY_BYTES
from timeouts import within_timeout


@contextlib.asynccontextmanager
async def connection(gateway, port=None):
    reader, writer = await asyncio.open_connection("127.0.0.1", port or gateway.app.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(gateway, request, port=None):
    """Send bytes; return all that is answered until the connection is closed."""
    async with connection(gateway, port) as (reader, writer):
        writer.write(request)
        return await within_timeout(reader.read())


def head(method="POST", *headers, token=TOKEN, path="/api/kernels"):
    """Return the beginning of a request."""
    shown = [f"Authorization: token {token}"] if token else []
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *shown, *headers, "", ""]
    return "\r\n".join(lines).encode()


def message(answer):
    return json.loads(answer.partition(b"\r\n\r\n")[2])["message"]


def status(answer):
    return int(answer.split()[1])


@pytest.mark.attack(1)
async def test_unknown_methods_are_refused_and_make_no_series(gateway):
    before = len((await gateway.probes.request("GET", "/metrics")).splitlines())
    for number in range(100):
        method = f"M{number}".encode() + b"A" * 20_000
        answer = await ask(gateway, method + b" /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status(answer) == 405
        assert "OPTIONS" in message(answer)
    after = (await gateway.probes.request("GET", "/metrics")).splitlines()
    assert len(after) <= before + 50
    assert max(map(len, after)) < 300
    assert any('method="other",status_code="405"' in line for line in after)


async def test_long_path_is_refused(gateway):
    answer = await ask(gateway, b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(answer) == 414


@pytest.mark.attack(2)
@pytest.mark.parametrize("length", ["104857600", "9" * 5000])
async def test_large_body_is_refused_in_words_before_it_is_read(gateway, length, caplog):
    answer = await ask(gateway, head("POST", f"Content-Length: {length}"))
    assert status(answer) == 413
    assert str(MAX_BODY_BYTES) in message(answer)
    assert "Traceback" not in caplog.text


@pytest.mark.attack(2)
@pytest.mark.parametrize("length", ["104857600", "9" * 5000, "1000", "1, 2", "-1"])
async def test_token_is_asked_for_before_the_body_is_read(gateway, length, caplog):
    answer = await ask(gateway, head("POST", f"Content-Length: {length}", token=""))
    assert status(answer) == 401
    assert "token" in message(answer)
    assert "Traceback" not in caplog.text


@pytest.mark.attack(2)
async def test_token_is_asked_for_before_chunks_are_read(gateway):
    answer = await ask(gateway, head("POST", "Transfer-Encoding: chunked", token=""))
    assert status(answer) == 401


@pytest.mark.parametrize("lengths", ["1, 2", "-1", "x"])
async def test_malformed_length_is_refused(gateway, lengths):
    assert status(await ask(gateway, head("POST", f"Content-Length: {lengths}"))) == 400


@pytest.mark.parametrize(("token", "expected"), [("", 401), (TOKEN, 413)])
async def test_client_that_sends_first_and_reads_then_gets_the_refusal(gateway, token, expected):
    size = 20 * 2**20
    async with connection(gateway) as (reader, writer):
        writer.write(head("POST", f"Content-Length: {size}", token=token))
        for _ in range(size // 2**16):
            writer.write(b"x" * 2**16)
            await within_timeout(writer.drain())
        assert status(await within_timeout(reader.read())) == expected


async def test_page_of_an_allowed_origin_can_read_a_refusal():
    origin = "https://lab.example.com"
    async with running_gateway(allowed_origins=[origin]) as gateway:
        request = head("POST", f"Origin: {origin}", "Content-Length: 20000000")
        answer = await ask(gateway, request)
    assert status(answer) == 413
    assert f"Access-Control-Allow-Origin: {origin}".encode() in answer


async def test_large_body_in_chunks_is_refused(gateway):
    chunks = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    request = head("POST", "Transfer-Encoding: chunked") + chunks * 20
    answer = await ask(gateway, request)  # the last chunk never comes
    assert status(answer) == 413
    assert str(MAX_BODY_BYTES) in message(answer)


async def test_small_body_in_chunks_is_taken(gateway):
    body = b'{"name": "nope"}'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    answer = await ask(
        gateway, head("POST", "Transfer-Encoding: chunked", "Connection: close") + chunks
    )
    assert status(answer) == 404
    assert "nope" in message(answer)


async def test_port_for_probes_keeps_no_bodies(gateway):
    for path in ("/healthz", "/metrics", "/nothing"):
        request = head("GET", "Content-Length: 1000000", token="", path=path)
        answer = await ask(gateway, request, gateway.app.health_port)
        assert status(answer) == (404 if path == "/nothing" else 200)
    answer = await ask(gateway, head("B" * 10_000, path="/healthz"), gateway.app.health_port)
    assert status(answer) == 405
    assert "OPTIONS" in message(answer)


async def test_requests_may_follow_each_other_without_waiting(gateway):
    last = head("GET", "Connection: close")
    answers = await ask(gateway, head("GET", path="/api") + head("GET", path="/nope") + last)
    assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200"]


async def test_requests_behind_a_refused_one_are_not_read(gateway):
    first = head("POST", "Content-Length: 5", token="") + b"hello"
    answers = await ask(gateway, first + head("GET"))
    assert answers.count(b"HTTP/1.1 ") == 1
    assert status(answers) == 401


async def test_client_may_ask_before_it_sends_a_body(gateway):
    body = b'{"name": "nope"}'
    headers = ("Expect: 100-continue", f"Content-Length: {len(body)}", "Connection: close")
    async with connection(gateway) as (reader, writer):
        writer.write(head("POST", *headers))
        assert status(await within_timeout(reader.readuntil(b"\r\n\r\n"))) == 100
        writer.write(body)
        assert status(await within_timeout(reader.read())) == 404
    assert status(await ask(gateway, head("POST", *headers, token=""))) == 401
    headers = ("Expect: 100-continue", "Content-Length: 20000000")
    assert status(await ask(gateway, head("POST", *headers))) == 413


async def test_preflight_with_a_body_is_answered_without_it(gateway):
    answer = await ask(gateway, head("OPTIONS", "Content-Length: 1000", token=""))
    assert status(answer) == 200


async def test_connection_that_has_shown_the_token_may_be_idle_longer(monkeypatch):
    monkeypatch.setattr("gateway_provisioners.gateway.http.door.STRANGER_SECONDS", 0.1)
    async with running_gateway() as gateway, connection(gateway) as (reader, writer):
        request = head("GET", path="/api")
        writer.write(request)
        await within_timeout(reader.readuntil(b"}"))
        assert await ask(gateway, b"GET / HTTP/1.1\r\nX: ") == b""
        writer.write(request)
        assert status(await within_timeout(reader.readuntil(b"}"))) == 200


async def test_little_of_what_a_client_does_not_read_waits_in_the_kernel(gateway):
    kernel_id = await gateway.client.start("local")
    async with gateway.client.channels(kernel_id):
        for server_side in gateway.sockets():
            unsent = server_side.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
            assert unsent == 128 * 1024


@pytest.mark.attack(2)
async def test_body_of_a_stranger_is_not_kept(gateway, monkeypatch):
    kept = []
    monkeypatch.setattr(
        "tornado.routing._RoutingDelegate.data_received", lambda _, data: kept.append(data)
    )
    body = b"x" * 100_000
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{gateway.url}/api/kernels", data=body) as response,
    ):
        assert response.status == 401
    assert kept == []


async def test_largest_environment_fits(gateway):
    env = {f"KERNEL_{n}": "x" * 50_000 for n in range(10)}
    body = json.dumps({"name": "nope", "env": env}).encode()
    url = f"{gateway.url}/api/kernels"
    async with gateway.client._session.post(url, data=io.BytesIO(body)) as response:
        assert response.status != 413


@pytest.mark.attack(2)
async def test_silent_connections_make_room_for_others(gateway, monkeypatch):
    async with contextlib.AsyncExitStack() as stack:
        silent = [
            await stack.enter_async_context(connection(gateway))
            for _ in range(crowd.MAX_CONNECTIONS + 100)
        ]
        for _, writer in silent:
            writer.write(b"GET / HTTP/1.1\r\nX: ")
        assert await gateway.client.kernels() == {}
        closed = [asyncio.create_task(reader.read()) for reader, _ in silent]
        done, pending = await asyncio.wait(closed, timeout=1)
        assert len(done) >= 100
        for task in pending:
            task.cancel()


async def test_users_behind_the_proxy_of_an_attacker_are_served(gateway):
    """Behind an ingress controller, all connections come from one address."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(crowd.MAX_CONNECTIONS):
            await stack.enter_async_context(connection(gateway))
        async with gateway.client.kernel("local") as channels:
            answers = await asyncio.gather(*(gateway.client.kernels() for _ in range(200)))
            assert all(len(answer) == 1 for answer in answers)
            for _ in range(crowd.MAX_CONNECTIONS):
                await stack.enter_async_context(connection(gateway))
            assert (await channels.execute("print(1)")).text == "1\n"


async def test_trusted_proxy_names_the_client(caplog):
    async with running_gateway(trusted_proxies=["127.0.0.0/8"]) as gateway:
        headers = {"X-Forwarded-For": "198.51.100.7"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{gateway.url}/api/kernels") as response,
        ):
            assert response.status == 401
    assert "(198.51.100.7)" in caplog.text


@pytest.mark.parametrize(
    ("traits", "words"),
    [
        ({"trusted_proxies": ["10.0.0.1/8"]}, "GP_TRUSTED_PROXIES"),
        ({"trusted_proxies": ["10.0.0.0/8"], "trust_xheaders": True}, "KG_TRUST_XHEADERS"),
    ],
)
async def test_proxies_that_make_no_sense_are_refused(traits, words):
    with pytest.raises(ConfigurationError, match=words):
        async with running_gateway(**traits):
            pass


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # tornado's, of a socket that is not bound
async def test_taken_port_for_probes_is_named(gateway):
    with pytest.raises(ConfigurationError, match="KG_HEALTH_PORT"):
        async with running_gateway(health_port=gateway.app.port):
            pass


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # tornado's, of a socket that is not bound
async def test_port_for_probes_is_closed_when_the_other_one_is_taken(gateway, unused_tcp_port):
    with pytest.raises(
        ConfigurationError, match=f"Port {gateway.app.port} cannot be used.*KG_PORT"
    ):
        async with running_gateway(
            port=gateway.app.port, port_retries=0, health_port=unused_tcp_port
        ):
            pass
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", unused_tcp_port)


async def test_every_address_of_both_families(unused_tcp_port):
    async with running_gateway(ip="*", port=unused_tcp_port, health_port=0) as gateway:
        for host in ("127.0.0.1", "::1"):
            for port in (gateway.app.port, gateway.app.health_port):
                _, writer = await asyncio.open_connection(host, port)
                writer.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # tornado's, of a socket that is not bound
async def test_next_port_is_used_when_one_is_taken(gateway):
    async with running_gateway(port=gateway.app.port) as other:
        assert other.app.port != gateway.app.port
        assert await other.client.kernels() == {}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # tornado's, of a socket that is not bound
@pytest.mark.parametrize(
    ("traits", "words"),
    [
        ({"ip": "192.0.2.1"}, "cannot listen on 192.0.2.1.*KG_IP"),
        ({"ip": "no such host"}, "KG_IP"),
        ({"port": 70_000}, "Port 70000 cannot be used.*KG_PORT"),
        ({"health_port": 70_000}, "KG_HEALTH_PORT"),
    ],
)
async def test_address_that_cannot_be_used_is_named(traits, words):
    with pytest.raises(ConfigurationError, match=words):
        async with running_gateway(**traits):
            pass


async def test_no_answer_names_the_servers_software(gateway):
    kernel_id = await gateway.client.start("local")
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    channels = f"/api/kernels/{kernel_id}/channels"
    close = "Connection: close"
    requests = {
        200: head("GET", close),
        201: head("POST", close, "Content-Length: 2") + b"{}",
        304: head("GET", close, "If-None-Match: *", path="/api/kernelspecs"),
        400: head("POST", close, "Content-Length: 1") + b"{",
        401: head("GET", close, token=""),
        404: head("GET", close, path="/no/such/page"),
        405: head("NONSENSE"),
        413: head("POST", f"Content-Length: {MAX_BODY_BYTES + 1}"),
        414: head("GET", path="/" + "x" * 10_000),
    }
    for expected, request in requests.items():
        answer = await ask(gateway, request)
        assert status(answer) == expected
        assert b"\r\nserver:" not in answer.lower()
    for path in ("/healthz", "/readyz", "/metrics", "/no/such/page"):
        answer = await ask(gateway, head("GET", close, path=path), gateway.app.health_port)
        assert b"\r\nserver:" not in answer.lower()
    async with connection(gateway) as (reader, writer):
        writer.write(head("GET", *upgrade, key, path=channels))
        answer = await within_timeout(reader.readuntil(b"\r\n\r\n"))
        assert status(answer) == 101
        assert b"\r\nserver:" not in answer.lower()
