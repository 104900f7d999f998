"""What strangers can do at the gateway's port, without the token: little."""

import asyncio
import contextlib
import io
import json

import aiohttp
import pytest

from api.running import TOKEN, running_gateway
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.http import crowd
from gateway_provisioners.gateway.http.door import MAX_BODY_BYTES
from timeouts import within_timeout


@contextlib.asynccontextmanager
async def connection(gateway):
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.app.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(gateway, request):
    """Send bytes; return all that is answered until the connection is closed."""
    async with connection(gateway) as (reader, writer):
        writer.write(request)
        return await within_timeout(reader.read())


def status(answer):
    return int(answer.split()[1])


async def test_unknown_methods_are_refused_and_make_no_series(gateway):
    before = len((await gateway.probes.request("GET", "/metrics")).splitlines())
    for number in range(100):
        method = f"M{number}".encode() + b"A" * 20_000
        answer = await ask(gateway, method + b" /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status(answer) == 405
    after = (await gateway.probes.request("GET", "/metrics")).splitlines()
    assert len(after) <= before + 50
    assert max(map(len, after)) < 300


async def test_long_path_is_refused(gateway):
    answer = await ask(gateway, b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(answer) == 414


@pytest.mark.parametrize("token", ["", TOKEN])
async def test_large_body_is_refused_in_words_before_it_is_read(gateway, token):
    head = f"POST /api/kernels HTTP/1.1\r\nHost: x\r\nAuthorization: token {token}\r\n"
    answer = await ask(gateway, f"{head}Content-Length: 104857600\r\n\r\n".encode())
    assert status(answer) == 413
    assert str(MAX_BODY_BYTES) in json.loads(answer.partition(b"\r\n\r\n")[2])["message"]


async def test_large_body_in_chunks_is_refused(gateway):
    head = f"POST /api/kernels HTTP/1.1\r\nHost: x\r\nAuthorization: token {TOKEN}\r\n"
    chunks = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    request = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks * 20 + b"0\r\n\r\n"
    assert status(await ask(gateway, request)) == 413


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
